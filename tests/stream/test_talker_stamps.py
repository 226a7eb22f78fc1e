"""Stamps against the sample clock: holes, overlaps, jumps, drift, and stamps that stray."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker import Talker
from dualtalker.model import load_bundle
from stamped_speech import CHUNK, FPS, RATE_HZ, check_order, largest_step, push_seconds, stamp_at
from streamed_speech import speech, weights_of


@pytest.fixture(scope="module")
def bundle(tiny):
    return load_bundle(tiny)


@pytest.fixture
def talker(bundle):
    return Talker(bundle, fps=FPS, idle_motion=False)


def test_a_lost_chunk_is_heard_as_silence(bundle, talker):
    lost = set(range(30, 40))  # 200 ms
    frames = push_seconds(talker, 0, 2, skip=lost) + talker.flush()
    reference = Talker(bundle, fps=FPS, idle_motion=False)
    samples = speech(20, RATE_HZ)[: 2 * RATE_HZ].copy()
    samples[30 * CHUNK : 40 * CHUNK] = 0
    reference.push(samples, RATE_HZ)
    np.testing.assert_allclose(weights_of(frames), weights_of(reference.flush()), atol=1e-5)
    check_order(frames)
    assert all(f.stamp_ns == pytest.approx(stamp_at(f.time_s), abs=2) for f in frames)
    assert talker.counters["gaps"] == 1
    assert talker.counters["gap_samples"] == 10 * CHUNK


def test_jitter_below_the_tolerance_moves_no_sample(bundle, talker):
    rng = np.random.default_rng(0)
    samples = speech(4, RATE_HZ)
    frames = []
    for i in range(200):
        stamp = stamp_at(i * 0.02 + rng.uniform(-0.012, 0.012) * (i > 0))
        talker.push(samples[i * CHUNK : (i + 1) * CHUNK], RATE_HZ, stamp)
        frames += talker.frames()
    frames += talker.flush()
    reference = Talker(bundle, fps=FPS, idle_motion=False)
    reference.push(samples, RATE_HZ)
    np.testing.assert_allclose(weights_of(frames), weights_of(reference.flush()), atol=1e-5)
    assert not any(talker.counters.values())
    errors_s = [(f.stamp_ns - stamp_at(f.time_s)) / 1e9 for f in frames]
    assert max(map(abs, errors_s)) < 0.003
    assert (np.diff([f.stamp_ns for f in frames]) > 0).all()


@pytest.mark.parametrize("ppm", [-300, 300])
def test_a_wrong_device_clock_makes_no_gaps(bundle, ppm):
    """Two minutes at 300 ppm are 36 ms off: more than the tolerance, if it were not followed."""
    talker = Talker(bundle, fps=1)
    frames = []
    for i in range(1200):
        stamp = stamp_at(i * 0.1 * (1 + ppm * 1e-6))
        talker.push(np.zeros(800, np.float32), 8000, stamp)
        frames += talker.frames()
    assert not any(talker.counters.values())
    for frame in frames:
        true = stamp_at(frame.time_s * (1 + ppm * 1e-6))
        assert abs(frame.stamp_ns - true) < 2_000_000


def test_rare_stamps_tolerate_the_drift_since_the_last(talker):
    """A minute without stamps at 300 ppm is 18 ms + 25 ms jitter: no gap."""
    talker.push(np.zeros(60 * RATE_HZ, np.float32), RATE_HZ, stamp_at(0))
    talker.push(np.zeros(CHUNK, np.float32), RATE_HZ, stamp_at(60 + 0.018 + 0.025))
    assert not any(talker.counters.values())


def test_a_long_hole_gets_idle_frames_and_the_model_starts_anew(bundle, talker):
    frames = push_seconds(talker, 0, 1)
    frames += push_seconds(talker, 4, 5) + talker.flush()
    check_order(frames)
    assert len(frames) == 250
    assert [f.index for f in frames if f.idle] == list(range(50, 200))
    assert all(f.stamp_ns == pytest.approx(stamp_at(f.time_s), abs=2) for f in frames)
    assert not weights_of(frames)[60:200].any()  # at rest 200 ms into the hole
    fresh = Talker(bundle, fps=FPS, idle_motion=False)
    samples = speech(20, RATE_HZ)
    fresh.push(samples[4 * RATE_HZ : 5 * RATE_HZ], RATE_HZ)
    np.testing.assert_allclose(weights_of(frames)[205:], weights_of(fresh.flush())[5:], atol=1e-5)
    assert talker.counters["gaps"] == 1 and talker.counters["gap_samples"] == 0


@pytest.mark.parametrize("jump_s", [11, 3600, 1e8])
def test_a_jump_ahead_too_long_to_fill_moves_only_the_stamps(talker, jump_s):
    frames = push_seconds(talker, 0, 1)
    frames += push_seconds(talker, 1, 2, shift_s=jump_s) + talker.flush()
    check_order(frames)
    assert len(frames) == 100
    assert frames[49].stamp_ns == pytest.approx(stamp_at(0.98), abs=2)
    assert frames[50].stamp_ns == pytest.approx(stamp_at(1 + jump_s), abs=2)
    assert talker.counters["reanchors"] == 1 and talker.counters["gaps"] == 0


@pytest.mark.parametrize("jump_s", [-1.5, -3600, -1e9])
def test_time_going_backwards_is_followed_by_the_stamps_only(talker, jump_s):
    frames = push_seconds(talker, 0, 1)
    frames += push_seconds(talker, 1, 2, shift_s=jump_s) + talker.flush()
    check_order(frames)
    assert len(frames) == 100
    assert frames[-1].stamp_ns == pytest.approx(stamp_at(1.98 + jump_s), abs=2)
    assert talker.counters["reanchors"] == 1
    assert largest_step(frames) < 0.6


def test_overlaps_are_cut_and_late_chunks_dropped(bundle, talker):
    samples = speech(20, RATE_HZ)
    frames = push_seconds(talker, 0, 1)
    talker.push(samples[40 * CHUNK : 45 * CHUNK], RATE_HZ, stamp_at(0.8))  # all heard already
    start = RATE_HZ - 5 * CHUNK
    talker.push(samples[start : start + 10 * CHUNK], RATE_HZ, stamp_at(0.9))  # half heard
    frames += push_seconds(talker, 1.1, 2) + talker.flush()
    reference = Talker(bundle, fps=FPS, idle_motion=False)
    reference.push(samples[: 2 * RATE_HZ], RATE_HZ)
    np.testing.assert_allclose(weights_of(frames), weights_of(reference.flush()), atol=1e-5)
    counters = talker.counters
    assert counters["overlaps"] == 2 and counters["late_chunks"] == 1
    assert counters["overlap_samples"] == 10 * CHUNK


# --- stamps that stray ---------------------------------------------------------------------------


def push_jittered(talker, shifts_s, count=100, chunk=CHUNK):
    """Push `count` chunks whose stamps are off by `shifts_s` (by index); return the frames."""
    samples, frames = speech(20, RATE_HZ), []
    for i in range(count):
        stamp = stamp_at(i * chunk / RATE_HZ + shifts_s.get(i, 0.0))
        talker.push(samples[i * chunk : (i + 1) * chunk], RATE_HZ, stamp)
        frames += talker.frames()
    return frames + talker.flush()


def seamless(bundle, seconds):
    talker = Talker(bundle, fps=FPS, idle_motion=False)
    talker.push(speech(20, RATE_HZ)[: round(seconds * RATE_HZ)], RATE_HZ)
    return weights_of(talker.flush())


@settings(max_examples=25, deadline=None)
@given(
    shift_s=st.floats(0.031, 0.149).flatmap(lambda size: st.sampled_from([size, -size])),
    at=st.integers(1, 39),
    chunk=st.sampled_from([160, 320, 1024, 8000]),
)
def test_a_single_stray_stamp_moves_no_sample(bundle, shift_s, at, chunk):
    talker = Talker(bundle, fps=FPS, idle_motion=False)
    frames = push_jittered(talker, {at: shift_s}, 40, chunk)
    expected = seamless(bundle, 40 * chunk / RATE_HZ)
    np.testing.assert_allclose(weights_of(frames), expected, atol=1e-5)
    assert all(f.stamp_ns == pytest.approx(stamp_at(f.time_s), abs=2e6) for f in frames)
    found = {name: n for name, n in talker.counters.items() if n}
    assert found == ({"stray_stamps": 1} if at < 39 else {})


@settings(max_examples=15, deadline=None)
@given(lost=st.integers(2, 7), at=st.integers(1, 80), chunk_count=st.integers(2, 30))
def test_a_small_hole_is_healed_exactly_where_it_is(bundle, lost, at, chunk_count):
    """Holes of 40 to 140 ms: believed by the second stamp, with the silence before the first."""
    talker = Talker(bundle, fps=FPS, idle_motion=False)
    end = at + lost + chunk_count
    frames = push_seconds(talker, 0, end / 50, skip=range(at, at + lost)) + talker.flush()
    reference = Talker(bundle, fps=FPS, idle_motion=False)
    samples = speech(20, RATE_HZ)[: end * CHUNK].copy()
    samples[at * CHUNK : (at + lost) * CHUNK] = 0
    reference.push(samples, RATE_HZ)
    np.testing.assert_allclose(weights_of(frames), weights_of(reference.flush()), atol=1e-5)
    assert talker.counters["gap_samples"] == lost * CHUNK and talker.counters["gaps"] == 1
    assert not talker.counters["stray_stamps"]


@pytest.mark.parametrize("back", [2, 3, 7])
def test_a_chunk_that_comes_twice_is_heard_once(bundle, talker, back):
    samples = speech(20, RATE_HZ)
    push_seconds(talker, 0, 1)
    again = 50 - back
    talker.push(samples[again * CHUNK : (again + 1) * CHUNK], RATE_HZ, stamp_at(again * 0.02))
    push_seconds(talker, 1, 2)
    assert talker.audio_end_s == 2.0 and talker.counters["late_chunks"] == 1


def test_heavy_jitter_loses_little(bundle):
    """Normal jitter of 20 ms, half of it beyond the tolerance: nearly all is heard as it was."""
    lost = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        talker = Talker(bundle, fps=1)
        push_jittered(talker, {i: rng.normal(0, 0.02) for i in range(1, 100)})
        lost.append(talker.counters["late_chunks"])
        assert talker.audio_end_s == pytest.approx(2.0, abs=0.1)
    assert np.mean(lost) < 3


@pytest.mark.parametrize("end", ["flush", "advance", "unstamped"])
def test_a_doubted_chunk_does_not_wait_for_ever(talker, end):
    samples = speech(20, RATE_HZ)
    push_seconds(talker, 0, 1)
    talker.push(samples[:CHUNK], RATE_HZ, stamp_at(1.1))
    assert talker.audio_end_s == pytest.approx(1.02)
    if end == "flush":
        talker.flush()
    elif end == "advance":
        talker.advance_to(1.05)
    else:
        talker.push(samples[CHUNK : 2 * CHUNK], RATE_HZ)
        assert talker.audio_end_s == pytest.approx(1.04)
    assert talker.counters["gaps"] == 0
    # The next stamp still confirms it.
    start_s = talker.audio_end_s + 0.1
    talker.push(samples[:CHUNK], RATE_HZ, stamp_at(start_s))
    assert talker.counters["gaps"] == 1 and talker.stamp_of(start_s) == stamp_at(start_s)


def test_the_callers_buffer_may_be_used_again(bundle, talker):
    """A doubted chunk is kept: as a copy."""
    buffer, samples, frames = np.zeros(CHUNK, np.float32), speech(20, RATE_HZ), []
    for i in range(50):
        buffer[:] = samples[i * CHUNK : (i + 1) * CHUNK]
        talker.push(buffer, RATE_HZ, stamp_at(i * 0.02 + 0.06 * (i == 20)))
        buffer[:] = 0
    frames = talker.flush()
    np.testing.assert_allclose(weights_of(frames), seamless(bundle, 1.0), atol=1e-5)
