"""Exact time: frames of hours of stream, and stamps that follow a wrong device clock."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dualtalker.errors import DualtalkerError
from dualtalker.stream import FrameClock
from dualtalker.stream.clock import StampClock, _to_ns
from dualtalker.stream.intake import AudioAccumulator

TEN_HOURS_S = 36000


@pytest.mark.parametrize("fps", [1, 23.976, 24, 25, 29.97, 30, 50, 59.94, 60, 100.5, 120])
def test_ten_hours_do_not_drift(fps):
    clock = FrameClock(fps)
    frames = clock.count_before(Fraction(TEN_HOURS_S))
    assert frames == pytest.approx(TEN_HOURS_S * fps, abs=1.001)
    assert clock.time_of(frames - 1) < TEN_HOURS_S <= clock.time_of(frames)
    exact = Fraction(fps).limit_denominator(1_000_000)
    assert abs(float(clock.time_of(frames)) - float(frames / exact)) < 1e-9


def test_broadcast_rates_are_kept_exactly():
    assert FrameClock(30000 / 1001).fps == Fraction(30000, 1001)


@given(fps=st.floats(1, 120), index=st.integers(0, 5_000_000))
def test_counting_agrees_with_times(fps, index):
    clock = FrameClock(fps)
    assert clock.count_before(clock.time_of(index)) == index
    assert clock.count_through(clock.time_of(index)) == index + 1


@pytest.mark.parametrize("fps", [0, 0.5, 121, -30, float("nan"), float("inf"), "30", None])
def test_impossible_rates_are_refused(fps):
    with pytest.raises(DualtalkerError, match="expected 1 to 120"):
        FrameClock(fps)


@pytest.mark.parametrize("rate_hz", [16000, 44100, 48000])
def test_ten_hours_of_samples_are_counted_exactly(rate_hz):
    """The count, not the audio: the accumulator's arithmetic after ten hours of chunks."""
    audio = AudioAccumulator(16000, 320)
    audio._before_s = Fraction(TEN_HOURS_S)
    audio._ready_total = TEN_HOURS_S * 16000
    for _ in range(7):  # seven odd chunks, and a change of rate after each
        audio.push(np.zeros(441, np.float32), rate_hz)
        audio.push(np.zeros(1, np.float32), 11025)
    expected_s = TEN_HOURS_S + 7 * (Fraction(441, rate_hz) + Fraction(1, 11025))
    assert audio.duration_s == expected_s
    audio.finish()
    assert len(audio.ready) == round(expected_s * 16000) - TEN_HOURS_S * 16000


def test_exact_stamps_map_exactly_both_ways_after_ten_hours():
    clock = StampClock()
    assert clock.stamp_of(Fraction(1)) is None and clock.time_of(5) is None
    clock.anchor(Fraction(0), 10**18)
    time_s = Fraction(TEN_HOURS_S) + Fraction(1, 44100)
    clock.track(clock.error_s(time_s, 10**18 + round(time_s * 10**9)), 0.02)
    stamp = clock.stamp_of(time_s)
    assert stamp == 10**18 + round(time_s * 10**9)
    assert abs(clock.time_of(stamp) - time_s) < Fraction(1, 10**9)


@pytest.mark.parametrize(("ppm", "chunk_s"), [(500, 0.01), (-200, 0.1), (200, 1.0)])
def test_a_wrong_device_clock_is_followed_for_hours(ppm, chunk_s):
    """3 hours at 200 ppm are 2.2 s of drift; the stamps stay within 2.5 ms of the audio's."""
    clock = StampClock()
    clock.anchor(Fraction(0), 0)
    chunk = Fraction(str(chunk_s)) * 10
    worst_ns = 0
    for i in range(1, int(10800 / chunk)):
        time_s = i * chunk
        stamp_ns = round(time_s * 10**9 * (1 + Fraction(ppm, 10**6)))
        worst_ns = max(worst_ns, abs(clock.stamp_of(time_s) - stamp_ns))
        clock.track(clock.error_s(time_s, stamp_ns), float(chunk))
    bound_s = abs(ppm) * 1e-6 * (StampClock.TRACKING_S + float(chunk)) * 1.2
    assert worst_ns < bound_s * 1e9


def test_jitter_is_averaged_out():
    rng = random.Random(0)
    clock = StampClock()
    clock.anchor(Fraction(0), 0)
    worst_ns = 0
    for i in range(1, 20000):
        time_s = Fraction(i, 50)
        stamp_ns = round(time_s * 10**9) + rng.randint(-20_000_000, 20_000_000)
        clock.track(clock.error_s(time_s, stamp_ns), 0.02)
        worst_ns = max(worst_ns, abs(clock.stamp_of(time_s) - round(time_s * 10**9)))
    assert worst_ns < 2_500_000


def test_each_stretch_keeps_its_own_mapping():
    clock = StampClock()
    clock.anchor(Fraction(0), 1000 * 10**9)
    clock.anchor(Fraction(10), 5000 * 10**9)
    assert clock.stamp_of(Fraction(9)) == 1009 * 10**9
    assert clock.stamp_of(Fraction(11)) == 5001 * 10**9
    assert clock.time_of(1009 * 10**9) == 9
    assert clock.time_of(5001 * 10**9) == 11
    for i in range(1000):
        clock.anchor(Fraction(20 + i), i)
    assert len(clock._pieces) <= 16


@given(st.fractions(max_denominator=10**12))
@example(Fraction(1, 2 * 10**9))
@example(Fraction(-3, 2 * 10**9))
def test_whole_nanoseconds_are_rounded_as_python_rounds(time_s):
    assert _to_ns(time_s) == round(time_s * 10**9)
