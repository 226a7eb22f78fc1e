"""Laws of taking speech back: the shown frames stay, the mouth closes, time and life go on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.arkit import MOUTH_INDICES
from dualtalker.stream import Talker

RATE_HZ = 16000
MOUTH = np.array(MOUTH_INDICES)


def speak(duration_s, seed=0):
    n = round(duration_s * RATE_HZ)
    noise = np.random.default_rng(seed).uniform(-0.8, 0.8, n)
    return (noise * np.sin(np.arange(n) * 2 * np.pi * 2 / RATE_HZ) ** 2).astype(np.float32)


@settings(max_examples=8, deadline=None)
@given(st.floats(0.05, 1.6), st.sampled_from([25.0, 30.0, 60.0]), st.booleans())
def test_an_interruption_is_a_pause_from_there_on(tiny, at_s, fps, stamped):
    """Frames before it are those of the speech, frames after it close the mouth and stay shut."""
    start_ns = 10**18 if stamped else None
    whole, cut = Talker(tiny, fps=fps), Talker(tiny, fps=fps)
    for talker in (whole, cut):
        talker.push(speak(2.0), RATE_HZ, start_ns)
    made = cut.frames()
    index = cut.interrupt(at_s)
    shown = [frame for frame in made if frame.index < index]
    after = cut.advance_to(at_s + 1.5)
    straight = whole.frames()
    assert [f.index for f in shown + after] == list(range(len(shown) + len(after)))
    for frame, other in zip(shown, straight, strict=False):
        np.testing.assert_array_equal(frame.weights, other.weights)
    if stamped:
        stamps_ns = np.array([f.stamp_ns for f in shown + after])
        times_s = np.array([f.time_s for f in shown + after])
        np.testing.assert_allclose(stamps_ns - 10**18, times_s * 1e9, atol=1)
    before = shown[-1].weights[MOUTH] if shown else np.zeros(len(MOUTH))
    assert all(f.idle for f in after)
    for frame in after:
        assert (frame.weights[MOUTH] <= before + 1e-6).all(), "nothing opens any more"
        before = frame.weights[MOUTH]
    assert max(f.weights[MOUTH].max() for f in after if f.time_s > at_s + 0.2) < 1e-3


def test_what_is_said_next_is_heard_in_full_where_it_is_said(tiny):
    talker, other = Talker(tiny, idle_motion=False), Talker(tiny, idle_motion=False)
    talker.push(speak(3.0), RATE_HZ, 10**18)
    talker.frames()
    talker.interrupt(1.0)
    talker.push(speak(1.0, seed=1), RATE_HZ, 10**18 + 1_500_000_000)
    frames = talker.frames() + talker.flush()
    other.push(speak(1.0, seed=1), RATE_HZ)
    alone = other.frames() + other.flush()
    spoken = [f for f in frames if f.time_s >= 1.5 - 1e-9 and not f.idle]
    assert [f.time_s for f in spoken] == pytest.approx([1.5 + f.time_s for f in alone])
    late = [(a, b) for a, b in zip(spoken, alone, strict=True) if b.time_s > 0.2]
    # Before that, the silence that led up to it is still in the model's memory.
    for one, two in late:
        assert np.abs(one.weights - two.weights).max() < 0.2
    assert talker.counters["overlaps"] == talker.counters["late_frames"] == 0


def test_life_goes_on_as_if_nothing_had_happened(tiny):
    """Brows, lids and eyes of the frames that take the place of others are theirs."""
    talker = Talker(tiny, fps=60, seed=3)
    talker.push(np.zeros(8 * RATE_HZ, np.float32), RATE_HZ, 10**18)
    made = {f.index: f.weights for f in talker.frames()}
    index = talker.interrupt(6.5)
    upper = np.setdiff1d(np.arange(52), MOUTH)
    for frame in talker.advance_to(7.5):
        assert frame.index >= index
        if frame.index in made:
            np.testing.assert_allclose(  # the model's own brows are gone, blinks are not
                frame.weights[upper], made[frame.index][upper], atol=0.12
            )


@pytest.mark.parametrize("first", [True, False])
def test_idle_motion_comes_and_goes_without_a_jump(tiny, first):
    talker, steady = Talker(tiny, fps=60, idle_motion=first), Talker(tiny, fps=60)
    frames, on = [], first
    for step in range(1, 61):
        frames += talker.advance_to(step * 0.5)
        if step % 3 == 0:
            on = not on
            talker.set_idle_motion(on)
    weights = np.array([f.weights for f in frames])
    usual = np.abs(np.diff([f.weights for f in steady.advance_to(10.0)], axis=0)).max()
    assert np.abs(np.diff(weights, axis=0)).max() <= 1.3 * usual + 0.05
    off = [f for f in frames if ((f.time_s - 0.3) % 3.0 > 1.5) == first and f.time_s % 1.5 > 0.35]
    assert off and max(f.weights.max() for f in off) == 0.0


def test_smoothing_changes_without_a_jump(tiny):
    talker, raw = Talker(tiny, idle_motion=False), Talker(tiny, idle_motion=False)
    samples = speak(8.0)
    frames = []
    for second, smoothing_s in enumerate([0.0, 0.3, 0.0, 0.1, 0.5, 0.0, 0.2, 0.0]):
        talker.set_smoothing(smoothing_s)
        talker.push(samples[second * RATE_HZ : (second + 1) * RATE_HZ], RATE_HZ)
        frames += talker.frames()
    raw.push(samples, RATE_HZ)
    usual = np.abs(np.diff([f.weights for f in raw.frames()], axis=0)).max()
    changed = np.array([f.weights for f in frames])
    assert np.abs(np.diff(changed, axis=0)).max() <= usual + 1e-6
