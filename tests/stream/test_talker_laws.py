"""Laws of a stream: chunking never matters, time never drifts, the future is not heard."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dualtalker
from dualtalker import Talker, animate
from dualtalker.errors import AudioError
from dualtalker.model import load_bundle
from streamed_speech import STAMP_NS, speech, stream, weights_of


@pytest.fixture(scope="module")
def bundle(tiny):
    return load_bundle(tiny)


@settings(max_examples=25, deadline=None)
@given(
    rate_hz=st.sampled_from([8000, 16000, 22050, 44100, 48000, 192000]),
    fps=st.sampled_from([1, 23.976, 24, 25, 30, 50, 59.94, 60, 97.3, 120]),
    seconds=st.floats(0.01, 1.5),
    cuts=st.lists(st.integers(1, 60000), max_size=40),
    smoothing_s=st.sampled_from([0.0, 0.03]),
    stamped=st.booleans(),
)
def test_streaming_equals_offline(bundle, rate_hz, fps, seconds, cuts, smoothing_s, stamped):
    samples = speech(seconds, rate_hz, seed=len(cuts))
    options = {"fps": fps, "smoothing_s": smoothing_s}
    whole = animate(samples, rate_hz, model=bundle, **options)
    frames = stream(Talker(bundle, **options), samples, rate_hz, cuts, stamped)
    np.testing.assert_allclose(weights_of(frames), whole.weights, atol=1e-5)
    assert [frame.time_s for frame in frames] == list(whole.times_s)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert not any(frame.idle for frame in frames)


@pytest.mark.parametrize("chunk_ms", [1, 10, 20, 64, 1000])
def test_chunks_of_usual_sizes_with_a_fetch_now_and_then(bundle, chunk_ms):
    rate_hz, samples = 48000, speech(2.0, 48000)
    talker, frames = Talker(bundle), []
    step = rate_hz * chunk_ms // 1000
    for i, start in enumerate(range(0, len(samples), step)):
        talker.push(samples[start : start + step], rate_hz)
        if i % 7 == 0:
            frames += talker.frames()
    frames += talker.flush()
    np.testing.assert_allclose(
        weights_of(frames), animate(samples, rate_hz, model=bundle).weights, atol=1e-5
    )


@pytest.mark.parametrize("fps", [1, 24, 25, 29.97, 30, 60, 120])
def test_frames_cover_the_audio_and_no_more(bundle, fps):
    clock = Fraction(fps).limit_denominator(1000)
    animation = animate(speech(2.5, 16000), 16000, model=bundle, fps=fps)
    assert len(animation.weights) == -(-Fraction(5, 2) * clock // 1)
    expected = [float(k / clock) for k in range(len(animation.weights))]
    np.testing.assert_allclose(animation.times_s, expected, rtol=0, atol=1e-12)


def test_output_depends_on_the_audio(bundle):
    loud = animate(speech(1, 16000), 16000, model=bundle, idle_motion=False).weights
    silent = animate(np.zeros(16000), 16000, model=bundle, idle_motion=False).weights
    assert np.abs(loud - silent).max() > 0.3
    assert np.ptp(loud[:, 17]) > 0.1


@pytest.mark.parametrize("fps", [25, 30, 50, 60, 120])
@pytest.mark.parametrize("rate_hz", [16000, 48000])
def test_the_future_beyond_the_lookahead_is_not_heard(bundle, fps, rate_hz):
    """Change the audio from an instant on: no frame earlier than lookahead + hop may move.

    Away from 16 kHz the resampling filter reaches a few ms further.
    """
    samples = speech(1.5, rate_hz)
    changed = samples.copy()
    at_s = 0.8
    changed[int(at_s * rate_hz) :] = speech(1.5, rate_hz, seed=9)[int(at_s * rate_hz) :] * 2
    one = animate(samples, rate_hz, model=bundle, fps=fps)
    two = animate(changed, rate_hz, model=bundle, fps=fps)
    moved = np.abs(one.weights - two.weights).max(axis=1) > 2e-4
    first_s = one.times_s[np.argmax(moved)]
    assert moved.any()
    filter_s = 0.0 if rate_hz == 16000 else 0.012
    assert at_s - first_s <= 0.08 + 0.02 + filter_s + 1e-9


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100, 48000, 96000])
@pytest.mark.parametrize("fps", [30, 60])
def test_a_frame_comes_within_the_stated_latency(bundle, rate_hz, fps):
    samples, talker = speech(1.5, rate_hz), Talker(bundle, fps=fps)
    due, step = 0, rate_hz // 500
    for start in range(0, len(samples), step):
        talker.push(samples[start : start + step], rate_hz)
        heard_s = min(start + step, len(samples)) / rate_hz
        for frame in talker.frames():
            assert frame.time_s <= heard_s
            due = frame.index + 1
        assert due / fps >= heard_s - talker.latency_s - 1e-4
    assert 0.1 <= talker.latency_s <= 0.135


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), gain=st.floats(0, 50), smoothing_s=st.sampled_from([0, 0.1]))
def test_weights_stay_in_range(bundle, seed, gain, smoothing_s):
    samples = speech(0.7, 16000, seed) * np.float32(gain)
    animation = animate(samples, 16000, model=bundle, fps=60, smoothing_s=smoothing_s)
    assert animation.weights.dtype == np.float32
    assert animation.weights.min() >= 0 and animation.weights.max() <= 1
    assert np.isfinite(animation.weights).all()


def test_reset_equals_fresh(bundle):
    talker = Talker(bundle, fps=60)
    stream(talker, speech(1, 48000, seed=3), 48000, range(777, 48000, 777), stamped=True)
    talker.advance_to(4.0)
    talker.push(speech(0.1, 22050), 22050)
    talker.reset()
    again = stream(talker, speech(1, 44100), 44100, [5000], stamped=True)
    fresh = stream(Talker(bundle, fps=60), speech(1, 44100), 44100, [5000], stamped=True)
    np.testing.assert_array_equal(weights_of(again), weights_of(fresh))
    assert [f.stamp_ns for f in again] == [f.stamp_ns for f in fresh]


def test_same_seed_same_frames_other_seed_other_life(bundle):
    samples = speech(3, 16000)
    one, two = (animate(samples, 16000, model=bundle, seed=4).weights for _ in range(2))
    other = animate(samples, 16000, model=bundle, seed=5).weights
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 0.01


def test_stamps_are_those_of_the_audio(bundle):
    samples, talker = speech(1, 44100), Talker(bundle, fps=30)
    frames = stream(talker, samples, 44100, range(441, 44100, 441), stamped=True)
    for frame in frames:
        assert abs(frame.stamp_ns - STAMP_NS - frame.index * 10**9 / 30) <= 1
        assert talker.stamp_of(frame.time_s) == pytest.approx(frame.stamp_ns, abs=1)
        assert talker.time_of(frame.stamp_ns) == pytest.approx(frame.time_s, abs=1e-8)
    assert not any(talker.counters.values())


def test_without_stamps_frames_have_none(bundle):
    talker = Talker(bundle)
    frames = stream(talker, speech(0.5, 16000), 16000, [])
    assert {frame.stamp_ns for frame in frames} == {None}
    assert talker.stamp_of(0.1) is None and talker.time_of(5) is None


def test_frames_after_flush_go_on_in_time(bundle):
    """Two sentences with a flush between: indices and times go on, without a jump of the face."""
    talker = Talker(bundle, fps=60, idle_motion=False)
    frames = stream(talker, speech(0.61, 16000), 16000, [])
    assert talker.flush() == []
    more = stream(talker, speech(0.5, 16000, seed=2), 16000, [])
    assert more[0].index == len(frames)
    assert more[-1].index == -(-(0.61 + 0.5) * 60 // 1) - 1
    assert np.abs(more[0].weights - frames[-1].weights).max() < 0.05


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float64])
@pytest.mark.parametrize("channels", [1, 2, 6, 8])
def test_dtypes_and_channels_do_not_matter(bundle, kind, channels):
    samples = speech(0.5, 16000)
    full = 1.0 if kind == np.float64 else float(np.iinfo(kind).max)
    stored = np.tile((samples * full).astype(kind)[:, None], channels)
    np.testing.assert_allclose(
        animate(stored, 16000, model=bundle).weights,
        animate(samples, 16000, model=bundle).weights,
        atol=2e-3,
    )


def test_input_rates_agree_with_each_other(bundle):
    """The same low tone burst at all rates moves the face alike, at the same time."""
    faces = []
    for rate_hz in (8000, 16000, 44100, 48000, 192000):
        times = np.arange(rate_hz) / rate_hz
        burst = 0.5 * np.sin(2 * np.pi * 300 * times) * np.exp(-(((times - 0.5) / 0.1) ** 2))
        faces.append(animate(burst, rate_hz, model=bundle, fps=60).weights)
    for face in faces[1:]:
        np.testing.assert_allclose(face, faces[0], atol=0.02)


def test_memory_is_constant(bundle):
    """More of a stream, in live chunks, leaves nothing behind."""
    talker, chunk = Talker(bundle, fps=60), speech(1.0, 48000)

    def run(seconds):
        for _ in range(seconds):
            for start in range(0, 48000, 960):
                talker.push(chunk[start : start + 960], 48000)
                talker.frames()

    run(5)
    tracemalloc.start()
    run(2)
    before, _ = tracemalloc.get_traced_memory()
    run(12)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 30_000


def test_a_long_push_needs_no_more_memory_than_its_frames(bundle):
    talker = Talker(bundle, fps=1)
    samples = np.tile(speech(1.0, 48000), 40)
    talker.push(samples[:48000], 48000)
    tracemalloc.start()
    talker.push(samples, 48000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # One byte a sample is the check for NaN (1.9 MB); a copy would be 7.7 MB.
    assert peak < len(samples) * 1.0 + 2_000_000


def test_arrays_need_a_rate_and_content(bundle):
    with pytest.raises(AudioError, match="sample_rate_hz"):
        animate(np.zeros(100), model=bundle)
    with pytest.raises(AudioError, match="no samples"):
        animate(np.zeros(0), 16000, model=bundle)


def test_a_single_sample_makes_a_single_frame(bundle):
    assert animate(np.ones(1), 48000, model=bundle).weights.shape == (1, 52)


def test_public_names_exist():
    assert all(hasattr(dualtalker, name) for name in dualtalker.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        dualtalker.nothing  # noqa: B018


def test_import_is_light():
    import subprocess
    import sys

    heavy = ["onnxruntime", "soxr", "soundfile", "tyro", "tqdm", "torch", "rclpy", "matplotlib"]
    code = f"import sys, dualtalker; print([m for m in sys.modules if m in {heavy}])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
