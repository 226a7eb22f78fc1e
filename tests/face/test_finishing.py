"""Idle life is a function of time with a person's statistics; it never touches the mouth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.arkit import ARKIT_INDEX, MOUTH_INDICES
from dualtalker.face import FaceFinisher, Smoother, finishing, idle
from dualtalker.face.finishing import Life, smoothstep
from dualtalker.face.idle import IdleLife

MOUTH = list(MOUTH_INDICES)
BLINK = ARKIT_INDEX["eyeBlinkLeft"]


def blink_starts(seed, end_s):
    life, step_s = IdleLife(seed), 0.005
    closed = np.array([life.blink(t) for t in np.arange(0, end_s, step_s)]) > 0.5
    return np.flatnonzero(closed[1:] & ~closed[:-1]) * step_s


def test_blinks_come_two_to_six_seconds_apart_and_sometimes_double():
    gaps_s = np.concatenate([np.diff(blink_starts(seed, 120)) for seed in range(8)])
    single, double = gaps_s[gaps_s > 1], gaps_s[gaps_s <= 1]
    # After a double blink the next is counted from its second half: 0.35 s less.
    assert single.min() >= 1.6 and single.max() <= 6.02
    assert 3.6 < single.mean() < 4.4 and single.std() > 0.5
    assert 0.04 < len(double) / len(gaps_s) < 0.25
    np.testing.assert_allclose(double, 0.35, atol=0.01)


def test_a_blink_closes_in_100_ms_and_opens_in_150():
    life, times_s = IdleLife(0), np.arange(0, 4, 0.001)
    lids = np.array([life.blink(t) for t in times_s])
    moving = np.flatnonzero(lids > 0)
    closing = np.argmax(lids) - moving[0]
    assert lids.max() == pytest.approx(1.0, abs=1e-3)
    assert 90 <= closing <= 110
    first_end = moving[0] + np.flatnonzero(lids[moving[0] :] == 0)[0]
    assert 140 <= first_end - np.argmax(lids) <= 160
    assert np.abs(np.diff(lids)).max() < 0.02  # it moves, it does not jump


@settings(max_examples=50, deadline=None)
@given(times=st.lists(st.floats(0, 50_000), min_size=1, max_size=20), seed=st.integers(0, 9))
def test_life_is_a_function_of_time_alone(times, seed):
    """Any order of asking, any frame rate: the same instant looks the same."""
    rest = np.zeros(52, np.float32)
    forth = [IdleLife(seed).add(t, rest) for t in times]
    life = IdleLife(seed)
    back = [life.add(t, rest) for t in reversed(times)][::-1]
    np.testing.assert_array_equal(forth, back)


@settings(max_examples=100, deadline=None)
@given(time_s=st.floats(0, 100_000), seed=st.integers(0, 50))
def test_life_keeps_off_the_mouth_and_in_range(time_s, seed):
    weights = np.random.default_rng(seed).uniform(0, 1, 52).astype(np.float32)
    before = weights.copy()
    lively = IdleLife(seed).add(time_s, weights)
    np.testing.assert_array_equal(lively[MOUTH], before[MOUTH])
    np.testing.assert_array_equal(weights, before)
    assert lively.min() >= 0 and lively.max() <= 1


def test_gaze_moves_in_quick_steps_between_rests():
    life, times_s = IdleLife(1), np.arange(0, 120, 0.01)
    gaze = np.array([life.gaze(t) for t in times_s])
    speed = np.abs(np.diff(gaze, axis=0)).max(axis=1)
    assert (speed == 0).mean() > 0.85  # at rest most of the time
    assert np.abs(gaze).max() <= idle.GAZE_REACH
    assert 20 < np.count_nonzero(np.diff((speed > 0).astype(int)) == 1) < 80
    assert speed.max() < 0.2


def test_both_eyes_look_the_same_way():
    life, rest = IdleLife(2), np.zeros(52, np.float32)
    for t in np.arange(0, 20, 0.3):
        w = life.add(t, rest)
        for left, right in (
            ("eyeLookInLeft", "eyeLookOutRight"),
            ("eyeLookOutLeft", "eyeLookInRight"),
            ("eyeLookUpLeft", "eyeLookUpRight"),
            ("eyeLookDownLeft", "eyeLookDownRight"),
            ("eyeBlinkLeft", "eyeBlinkRight"),
        ):
            assert w[ARKIT_INDEX[left]] == w[ARKIT_INDEX[right]]
        assert w[ARKIT_INDEX["eyeLookInLeft"]] * w[ARKIT_INDEX["eyeLookOutLeft"]] == 0


def test_life_never_stands_still():
    life, rest = IdleLife(0), np.zeros(52, np.float32)
    faces = np.array([life.add(t, rest) for t in np.arange(0, 60, 1 / 30)])
    assert (np.abs(np.diff(faces, axis=0)).max(axis=1) > 0).all()


def test_a_model_that_blinks_keeps_its_blinks():
    closed = np.zeros(52, np.float32)
    closed[BLINK] = 0.9
    assert IdleLife(0).add(0.1, closed)[BLINK] >= closed[BLINK]


def test_off_switch():
    finisher, face = FaceFinisher(52, Life()), np.full(52, 0.25, np.float32)
    for i in range(300):
        np.testing.assert_array_equal(finisher.speak(i / 30, face), face)


@settings(max_examples=40, deadline=None)
@given(
    fps=st.sampled_from([24.0, 30.0, 60.0, 120.0]),
    plan=st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=8),
)
def test_any_plan_of_speech_and_rest_moves_smoothly(fps, plan):
    """The model holds one face; all motion is then the finisher's: bounded speed, in range."""
    finisher, face = FaceFinisher(52, Life()), np.full(52, 0.8, np.float32)
    index, faces = 0, [np.zeros(52, np.float32)]
    finisher.cut()
    for speaks, count in plan:
        for _ in range(count):
            faces.append(
                finisher.speak(index / fps, face) if speaks else finisher.rest(index / fps)
            )
            index += 1
    speed = np.abs(np.diff(faces, axis=0)).max(initial=0) * fps
    # smoothstep's steepest slope is 1.5 / its length; at low rates a frame may be the whole fade.
    assert speed <= max(1.5 * 0.8 / finishing.FADE_S, 0) + 1e-3
    assert np.min(faces) >= 0 and np.max(faces) <= 0.8 + 1e-6


def test_values_beyond_the_limits_are_clipped():
    face = np.linspace(-1, 2, 52).astype(np.float32)
    shown = FaceFinisher(52, Life()).speak(0.0, face)
    np.testing.assert_array_equal(shown, np.clip(face, 0, 1))


def test_frames_do_not_share_memory():
    finisher, face = FaceFinisher(52, Life()), np.full(52, 0.5, np.float32)
    first, second = finisher.speak(0.0, face), finisher.speak(0.1, face)
    first[:] = 9
    assert second.max() == 0.5 and face.max() == 0.5
    assert finisher.rest(0.12).max() <= 0.5


def test_smoothing_is_a_one_pole():
    smooth, step = Smoother(0.1, 0.02), np.ones(3, np.float32)
    smooth(np.zeros(3, np.float32))
    answers = [smooth(step)[0] for _ in range(10)]
    expected = 1 - np.exp(-0.02 * np.arange(1, 11) / 0.1)
    np.testing.assert_allclose(answers, expected, atol=1e-6)
    smooth.reset()
    assert smooth(step)[0] == 1.0
    off = Smoother(0.0, 0.02)
    off(np.zeros(3))
    assert off(step) is step


def test_smoothstep_leaves_and_arrives_at_rest():
    assert smoothstep(-1) == 0 and smoothstep(2) == 1 and smoothstep(0.5) == 0.5
    assert smoothstep(0.001) < 1e-5 and 1 - smoothstep(0.999) < 1e-5
