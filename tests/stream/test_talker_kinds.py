"""The laws of a stream for models of every kind: lookahead, frames in a step, windowed graphs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker import Talker, animate
from dualtalker.model import load_bundle
from streamed_speech import speech, stream, weights_of
from tiny_bundle import make_tiny_bundle, make_tiny_windowed_bundle

KINDS = {
    "no lookahead": {"lookahead_samples": 0},
    "one hop": {"lookahead_samples": 320},
    "no multiple of a hop": {"lookahead_samples": 500},
    "four frames in a step": {"frames_per_step": 4},
    "three frames, no lookahead": {"frames_per_step": 3, "lookahead_samples": 0},
    "windowed": None,
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    made = {}
    for i, (kind, options) in enumerate(KINDS.items()):
        if options is None:
            path = make_tiny_windowed_bundle(folder / str(i))
        else:
            path = make_tiny_bundle(folder / str(i), **options)
        made[kind] = load_bundle(path)
    return made


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(
    rate_hz=st.sampled_from([8000, 16000, 44100, 48000]),
    fps=st.sampled_from([1, 24, 25, 50, 59.94, 100, 120]),
    hops=st.integers(1, 40),
    odd=st.integers(-3, 3),
    cuts=st.lists(st.integers(1, 30000), max_size=30),
)
def test_streaming_equals_offline(bundles, kind, rate_hz, fps, hops, odd, cuts):
    """Audio that ends on a hop, or a few samples off it: where a frame could be one too many."""
    samples = speech(1.0, rate_hz, seed=len(cuts))[: max(hops * rate_hz // 50 + odd, 1)]
    cuts += [cut // (rate_hz // 50) * (rate_hz // 50) for cut in cuts if cut >= rate_hz // 50]
    whole = animate(samples, rate_hz, model=bundles[kind], fps=fps)
    frames = stream(Talker(bundles[kind], fps=fps), samples, rate_hz, set(cuts))
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert all(frame.time_s < len(samples) / rate_hz for frame in frames)
    np.testing.assert_allclose(weights_of(frames), whole.weights, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_do_not_outrun_the_audio_nor_lag_behind(bundles, kind):
    talker = Talker(bundles[kind], fps=50)
    samples, due = speech(1.0, 16000), 0
    for start in range(0, len(samples), 160):
        talker.push(samples[start : start + 160], 16000)
        heard_s = (start + 160) / 16000
        for frame in talker.frames():
            assert frame.time_s < heard_s
            due = frame.index + 1
        assert due / 50 >= heard_s - talker.latency_s - 1e-9
    assert due + len(talker.flush()) == 50


@pytest.mark.parametrize("kind", KINDS)
def test_two_sentences_meet_without_a_frame_lost_or_doubled(bundles, kind):
    talker, frames = Talker(bundles[kind], fps=50), []
    for seed in (1, 2):
        frames += stream(talker, speech(0.4, 16000, seed), 16000, range(320, 6400, 320))
    assert [frame.index for frame in frames] == list(range(40))
    assert not talker.counters["late_frames"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fps", [30, 50, 120])
def test_the_future_beyond_the_lookahead_is_not_heard(bundles, kind, fps):
    samples = speech(1.2, 16000)
    changed = samples.copy()
    changed[12800:] = 2 * speech(1.2, 16000, seed=9)[12800:]
    bundle = bundles[kind]
    one = animate(samples, 16000, model=bundle, fps=fps)
    two = animate(changed, 16000, model=bundle, fps=fps)
    moved = np.abs(one.weights - two.weights).max(axis=1) > 2e-4
    assert moved.any()
    reach_s = bundle.sidecar.lookahead_s + bundle.sidecar.hop_s
    assert one.times_s[np.argmax(moved)] >= 0.8 - reach_s - 1e-9
