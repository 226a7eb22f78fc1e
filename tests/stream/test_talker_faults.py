"""What goes wrong in a stream is counted, said once and healed, and the clock stays right."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker import Talker
from dualtalker.arkit import ARKIT_INDEX
from dualtalker.errors import AudioError, DualtalkerError
from dualtalker.model import load_bundle
from stamped_speech import (
    CHUNK,
    FPS,
    MOUTH,
    RATE_HZ,
    check_order,
    largest_step,
    push_seconds,
    stamp_at,
)
from streamed_speech import STAMP_NS, speech, weights_of


@pytest.fixture(scope="module")
def bundle(tiny):
    return load_bundle(tiny)


@pytest.fixture
def talker(bundle):
    return Talker(bundle, fps=FPS, idle_motion=False)


# --- bad input -----------------------------------------------------------------------------------

BAD_CHUNKS = [
    (np.array([0.0, np.nan]), RATE_HZ, "nan_chunks"),
    (np.array([0.0, np.inf], np.float32), RATE_HZ, "nan_chunks"),
    (np.full((10, 6), -np.inf), RATE_HZ, "nan_chunks"),
    (np.zeros(10, complex), RATE_HZ, "bad_chunks"),
    (np.zeros(10, np.int64), RATE_HZ, "bad_chunks"),
    (np.zeros((2, 2, 2)), RATE_HZ, "bad_chunks"),
    (np.zeros((2, 4800)), RATE_HZ, "bad_chunks"),
    (np.array(["speech"]), RATE_HZ, "bad_chunks"),
    (None, RATE_HZ, "bad_chunks"),
    (bytes(640), RATE_HZ, "bad_chunks"),
    (bytearray(640), RATE_HZ, "bad_chunks"),
    (memoryview(bytes(640)), RATE_HZ, "bad_chunks"),
    (np.zeros(10), 4000, "bad_chunks"),
    (np.zeros(10), 384000, "bad_chunks"),
    (np.zeros(10), 0, "bad_chunks"),
    (np.zeros(10), float("nan"), "bad_chunks"),
    (np.zeros(10), "16000", "bad_chunks"),
]


@pytest.mark.parametrize("samples, rate_hz, kind", BAD_CHUNKS, ids=range(len(BAD_CHUNKS)))
def test_bad_chunks_change_nothing(bundle, samples, rate_hz, kind):
    clean, tried = Talker(bundle, fps=FPS), Talker(bundle, fps=FPS)
    expected = push_seconds(clean, 0, 0.5) + push_seconds(clean, 0.5, 1) + clean.flush()
    frames = push_seconds(tried, 0, 0.5)
    with pytest.raises(AudioError):
        tried.push(samples, rate_hz, stamp_at(77))
    frames += push_seconds(tried, 0.5, 1) + tried.flush()
    np.testing.assert_array_equal(weights_of(frames), weights_of(expected))
    assert [f.stamp_ns for f in frames] == [f.stamp_ns for f in expected]
    assert {name: n for name, n in tried.counters.items() if n} == {kind: 1}


@pytest.mark.parametrize("samples", [[], np.zeros(0, np.float32), np.zeros((0, 2), np.int16)])
def test_empty_chunks_are_counted_and_ignored(talker, samples):
    talker.push(samples, RATE_HZ, stamp_at(9))
    assert talker.frames() == [] and talker.stamp_of(0.0) is None
    assert talker.counters["empty_chunks"] == 1


def test_a_stamp_that_is_no_integer_is_a_programming_error(talker):
    with pytest.raises(TypeError, match="int nanoseconds"):
        talker.push(np.zeros(10), RATE_HZ, 1.5)


def test_each_kind_is_logged_once(talker, caplog):
    with caplog.at_level(logging.WARNING, logger="dualtalker"):
        for _ in range(50):
            talker.push(np.full(CHUNK, 2.0), RATE_HZ)
            with pytest.raises(AudioError):
                talker.push(np.array([np.nan]), RATE_HZ)
    assert talker.counters["clipped"] == 50 * CHUNK and talker.counters["nan_chunks"] == 50
    assert sorted(r.getMessage().split(":")[0] for r in caplog.records) == [
        "clipped",
        "nan_chunks",
    ]


def test_counters_cannot_be_changed_from_outside(talker):
    with pytest.raises(TypeError):
        talker.counters["gaps"] = 5


BAD_SETTINGS = [
    ("smoothing_s", [float("nan"), float("inf"), -0.1, "0.1", 1e9]),
    ("max_gap_s", [float("nan"), float("inf"), -1.0, None]),
    ("gap_tolerance_s", [float("nan"), float("inf"), -0.01]),
    ("seed", [-1, 0.5, "1", None]),
    ("fps", [float("nan"), 0, 121, "30"]),
]


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in BAD_SETTINGS for value in values]
)
def test_impossible_settings_are_refused_by_name(bundle, name, value):
    with pytest.raises(DualtalkerError, match=rf"{name}.*expected"):
        Talker(bundle, **{name: value})


@pytest.mark.parametrize("time_s", [float("nan"), float("inf"), -float("inf")])
def test_advancing_to_no_time_is_refused(talker, time_s):
    with pytest.raises(DualtalkerError, match="advance_to"):
        talker.advance_to(time_s)
    assert talker.advance_to(0.0)[0].index == 0


def test_channels_that_cancel_are_told(talker, caplog):
    sound = speech(1, RATE_HZ)
    talker.push(np.stack([sound, sound], axis=1), RATE_HZ)
    talker.push(np.stack([sound, 0 * sound], axis=1), RATE_HZ)
    talker.push(np.stack([sound, np.roll(sound, 500)], axis=1), RATE_HZ)
    talker.push(np.zeros((CHUNK, 2)), RATE_HZ)
    assert not talker.counters["cancelled_audio"]
    for _ in range(2):
        talker.push((np.stack([sound, -sound], axis=1) * 32767).astype(np.int16), RATE_HZ)
    assert talker.counters["cancelled_audio"] == 2 * RATE_HZ
    assert [r.getMessage().split(":")[0] for r in caplog.records] == ["cancelled_audio"]
    assert "inverted" in caplog.text


def test_a_model_that_goes_mad_is_held_and_restarted(talker):
    healthy = talker._backend.step
    calls = []

    def step(audio, state, style):
        calls.append(1)
        motion, state = healthy(audio, state, style)
        if 20 <= len(calls) < 23:
            for array in (array for arrays in state._sets for array in arrays):
                array[:] = np.nan
            return motion * np.nan, state
        return motion, state

    talker._backend.step = step
    frames = push_seconds(talker, 0, 2) + talker.flush()
    check_order(frames)
    weights = weights_of(frames)
    assert np.isfinite(weights).all() and talker.counters["bad_steps"] == 3
    assert np.ptp(weights[60:]) > 0.2


# --- starvation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [10, 24, 30, 60, 120])
def test_the_mouth_closes_within_200_ms_when_audio_stops(bundle, fps):
    talker = Talker(bundle, fps=fps)
    talker.push(speech(1.0, RATE_HZ)[: int(0.9 * RATE_HZ)], RATE_HZ)
    spoken = talker.frames()
    assert spoken[-1].weights[MOUTH].max() > 0.1
    idle = talker.advance_to(6.0)
    assert all(frame.idle for frame in idle)
    for frame in idle:
        if frame.time_s >= spoken[-1].time_s + 0.2 - 1e-9:
            assert not frame.weights[MOUTH].any()
    assert idle[-1].time_s == pytest.approx(6.0, abs=1 / fps)
    assert max(f.weights[ARKIT_INDEX["eyeBlinkLeft"]] for f in idle) > 0.5  # never frozen
    mouth = weights_of([spoken[-1], *idle])[:, MOUTH]
    assert (np.diff(mouth, axis=0) <= 1e-6).all()  # it only closes
    if fps >= 60:
        assert np.abs(np.diff(mouth, axis=0)).max() < 0.2


def test_audio_that_comes_back_fades_in(bundle):
    talker = Talker(bundle, fps=60, idle_motion=False)
    talker.push(speech(1, RATE_HZ), RATE_HZ, stamp_at(0))
    frames = talker.frames() + talker.advance_to(3.0)
    talker.push(speech(1, RATE_HZ, seed=5), RATE_HZ, stamp_at(3.2))
    frames += talker.flush()
    check = [frame.index for frame in frames]
    assert check == list(range(len(frames))) and len(frames) == 252
    assert frames[-1].stamp_ns == pytest.approx(stamp_at(frames[-1].time_s), abs=2)
    assert largest_step(frames) < 0.3
    back = [f for f in frames if f.time_s >= 3.2]
    assert not any(f.idle for f in back)


def test_late_audio_is_heard_but_its_frames_are_not_shown_again(bundle, talker):
    frames = push_seconds(talker, 0, 1)
    frames += talker.advance_to(1.2)
    shown = len(frames)
    frames += push_seconds(talker, 1, 2) + talker.flush()
    check_order(frames)
    assert len(frames) == 100 and shown == 61
    assert talker.counters["late_frames"] == sum(frame.idle for frame in frames) > 0
    reference = Talker(bundle, fps=FPS, idle_motion=False)
    expected = push_seconds(reference, 0, 2) + reference.flush()
    np.testing.assert_allclose(weights_of(frames)[66:], weights_of(expected)[66:], atol=1e-5)


def test_unstamped_audio_after_a_long_pause_begins_where_time_stands(talker):
    talker.push(speech(1, RATE_HZ), RATE_HZ)
    frames = talker.frames() + talker.advance_to(5.0)
    talker.push(speech(1, RATE_HZ), RATE_HZ)
    frames += talker.flush()
    check_order(frames)
    assert frames[-1].time_s == pytest.approx(6.0, abs=0.021)
    assert talker.counters["gaps"] == 1
    assert talker.counters["late_frames"] == 3  # of the first second: they waited for lookahead


@pytest.mark.parametrize("stamp_ns", [None, STAMP_NS])
def test_idle_life_before_any_audio(talker, stamp_ns):
    frames = talker.advance_to(0.5)
    assert [f.idle for f in frames] == [True] * 26 and frames[0].stamp_ns is None
    talker.push(speech(1, RATE_HZ), RATE_HZ, stamp_ns)
    frames += talker.flush()
    check_order(frames)
    assert sum(not f.idle for f in frames) == 50
    assert not any(talker.counters.values())
    if stamp_ns is not None:
        assert talker.stamp_of(0.52) == stamp_ns
        assert frames[26].stamp_ns == stamp_ns


def test_a_minute_of_silence_by_advance_then_audio(talker):
    """The usual robot: idle at frame rate all the time, speech now and then, stamps all along."""
    frames = push_seconds(talker, 0, 1)
    for second in range(2, 62):
        frames += talker.advance_to(float(second))
    frames += push_seconds(talker, 0, 1, shift_s=62.0) + talker.flush()
    check_order(frames)
    assert frames[-1].stamp_ns == pytest.approx(stamp_at(62.98), abs=2)
    assert talker.counters["reanchors"] == 0 and talker.counters["gaps"] == 1
    assert talker.counters["late_frames"] == 3  # of the first second: they waited for lookahead


def test_speech_that_was_flushed_loses_no_frame_to_idling(talker):
    frames = push_seconds(talker, 0, 1) + talker.flush() + talker.advance_to(3.0)
    frames += push_seconds(talker, 3, 4) + talker.flush()
    check_order(frames)
    assert [f.index for f in frames if f.idle] == list(range(50, 151))
    assert talker.counters["late_frames"] == 1  # frame 150 depicts 3.0 s: shown idle already


def test_a_leap_of_advance_is_bounded(talker):
    frames = talker.advance_to(1e6)
    assert len(frames) <= 10 * FPS + 1
    assert frames[-1].time_s == 1e6
    assert talker.counters["skipped_frames"] == 1e6 * FPS + 1 - len(frames)


def test_advancing_backwards_gives_nothing(talker):
    talker.advance_to(2.0)
    assert talker.advance_to(1.0) == [] and talker.advance_to(-5.0) == []


# --- changes of format ---------------------------------------------------------------------------


def test_rate_changes_keep_the_clock_and_the_sound(bundle, talker):
    """A tone that changes its sample rate every 37 ms is still the same tone."""
    position, rates, i = 0.0, [16000, 48000, 22050, 8000, 44100], 0
    while position < 2.0:
        rate_hz = rates[i % len(rates)]
        count = round(0.037 * rate_hz)
        times = position + np.arange(count) / rate_hz
        talker.push(np.sin(2 * np.pi * 250 * times) * 0.3, rate_hz, stamp_at(position))
        position += count / rate_hz
        i += 1
    frames = talker.flush()
    check_order(frames)
    assert talker.audio_end_s == pytest.approx(position, abs=1e-9)
    assert len(frames) == int(np.ceil(position * FPS - 1e-9))
    assert talker.counters["rate_changes"] == i - 1 and talker.counters["gaps"] == 0
    reference = Talker(bundle, fps=FPS, idle_motion=False)
    reference.push(np.sin(2 * np.pi * 250 * np.arange(32000) / 16000) * 0.3, 16000)
    # The filter starts and ends in silence at each of the 54 seams: small, short ripples.
    difference = np.abs(weights_of(frames)[5:90] - weights_of(reference.flush())[5:90])
    assert difference.mean() < 0.02 and difference.max() < 0.2


def test_channel_changes_are_counted_and_harmless(bundle, talker):
    samples = speech(1, RATE_HZ)
    for i in range(50):
        chunk = samples[i * CHUNK : (i + 1) * CHUNK]
        talker.push(np.tile(chunk[:, None], 1 + i % 8) if i % 2 else chunk, RATE_HZ)
    reference = Talker(bundle, fps=FPS, idle_motion=False)
    reference.push(samples, RATE_HZ)
    np.testing.assert_allclose(
        weights_of(talker.flush()), weights_of(reference.flush()), atol=1e-5
    )
    assert talker.counters["channel_changes"] > 30


# --- everything at once --------------------------------------------------------------------------

EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("push"),
            st.integers(0, 6000),
            st.sampled_from([8000, 16000, 44100, 48000]),
            st.none()
            | st.sampled_from([-5, -0.5, -0.1, -0.04, 0, 0.01, 0.04, 0.1, 0.7, 3, 9, 50, 1e7]),
        ),
        st.tuples(st.just("advance"), st.sampled_from([-1.0, 0.0, 0.05, 0.3, 2.0, 40.0])),
        st.tuples(st.just("flush")),
        st.tuples(st.just("bad")),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(events=EVENTS, fps=st.sampled_from([1, 24, 30, 59.94, 120]))
def test_no_storm_breaks_the_frames(bundle, events, fps):
    talker, rng = Talker(bundle, fps=fps), np.random.default_rng(len(events))
    frames, stamp_ns = [], STAMP_NS
    for name, *details in events:
        if name == "push":
            count, rate_hz, shift_s = details
            if shift_s is not None:
                stamp_ns += round(shift_s * 1e9)
            chunk = rng.uniform(-0.5, 0.5, count)
            talker.push(chunk, rate_hz, None if shift_s is None else stamp_ns)
            stamp_ns += count * 10**9 // rate_hz
        elif name == "advance":
            last_s = frames[-1].time_s if frames else 0.0
            frames += talker.advance_to(last_s + details[0])
        elif name == "flush":
            frames += talker.flush()
        else:
            with pytest.raises(AudioError):
                talker.push(np.array([np.nan]), 16000, 0)
    frames += talker.flush()
    assert len(frames) <= (len(events) * 10.5 + 10) * fps + 2 * len(events) + 2
    steps = np.diff([frame.index for frame in frames])
    assert (steps >= 1).all()
    first = frames[0].index if frames else 0
    assert first + (steps - 1).sum() == talker.counters["skipped_frames"]
    for frame in frames:
        assert frame.time_s == pytest.approx(frame.index / fps, rel=1e-9)
        assert np.isfinite(frame.weights).all()
        assert frame.weights.min() >= 0 and frame.weights.max() <= 1
