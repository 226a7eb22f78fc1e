"""Where the face looks: eyes first, then the head, never further than they go."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker import Talker
from dualtalker.arkit import ARKIT_INDEX, MOUTH_INDICES
from dualtalker.errors import DualtalkerError
from dualtalker.face import GazeLayer, direction_of
from streamed_speech import speech, stream, weights_of

FRAME_S = 1 / 60
RATE_HZ = 16000
LEFT = [ARKIT_INDEX["eyeLookOutLeft"], ARKIT_INDEX["eyeLookInRight"]]
RIGHT = [ARKIT_INDEX["eyeLookInLeft"], ARKIT_INDEX["eyeLookOutRight"]]
DOWN = [ARKIT_INDEX["eyeLookDownLeft"], ARKIT_INDEX["eyeLookDownRight"]]
LIDS = [ARKIT_INDEX["eyeBlinkLeft"], ARKIT_INDEX["eyeBlinkRight"]]
ANGLES = st.floats(-math.pi, math.pi)


def show(layer, times_s):
    still = np.zeros(52, np.float32)
    return np.stack([layer.add(t, still, still) for t in times_s])


def test_a_point_has_a_direction():
    assert direction_of(1, 0, 0) == pytest.approx((0, 0))
    assert direction_of(1, 1, 0) == pytest.approx((math.pi / 4, 0))  # to its own left
    assert direction_of(1, 0, -1) == pytest.approx((0, math.pi / 4))  # down
    for point in ((0, 0, 0), (math.nan, 0, 1), (math.inf, 0, 0)):
        with pytest.raises(DualtalkerError, match="cannot look at"):
            direction_of(*point)


def test_eyes_arrive_within_a_tenth_of_a_second_and_stay():
    layer = GazeLayer()
    layer.look(1.0, (0.26, 0.13), False)
    times_s = np.arange(0, 3, FRAME_S)
    shown = show(layer, times_s)
    assert not shown[times_s < 1.0].any()
    arrived = shown[times_s > 1.12]
    np.testing.assert_allclose(arrived[:, LEFT], 0.5, atol=0.07)
    np.testing.assert_allclose(arrived[-1, LEFT], 0.5, atol=1e-3)
    np.testing.assert_allclose(arrived[-1, DOWN], 0.25, atol=1e-3)
    assert not arrived[:, RIGHT].any()
    assert not shown[:, MOUTH_INDICES].any()


@settings(max_examples=40)
@given(st.lists(st.tuples(ANGLES, ANGLES, st.booleans(), st.floats(0.05, 2)), max_size=6))
def test_nothing_goes_further_than_it_can(looks):
    layer, now_s = GazeLayer(), 0.0
    for yaw, pitch, has_head, wait_s in looks:
        layer.look(now_s, (yaw, pitch), has_head)
        for _ in range(int(wait_s / FRAME_S)):
            shown = show(layer, [now_s])[0]
            assert shown.min() >= 0 and shown.max() <= 1
            head = layer.head(now_s)
            assert abs(head[1]) <= 0.61 and abs(head[0]) <= 0.36 and head[2] == 0
            now_s += FRAME_S


def test_the_head_follows_and_the_eyes_give_back_what_it_takes():
    layer = GazeLayer()
    layer.look(0.0, (0.6, 0.0), True)
    times_s = np.arange(0, 2, FRAME_S)
    eyes = show(layer, times_s)[:, LEFT[0]]
    fresh = GazeLayer()
    fresh.look(0.0, (0.6, 0.0), True)
    heads = np.array([fresh.head(t)[1] for t in times_s])
    early = int(0.12 / FRAME_S)
    assert eyes[early] > 0.9 and heads[early] < 0.15  # eyes first
    assert heads[-1] == pytest.approx(0.75 * 0.48, abs=1e-2)
    assert eyes[-1] == pytest.approx((0.6 - heads[-1]) / 0.52, abs=1e-2)
    assert (np.diff(heads) > -1e-6).all()


def test_large_shifts_are_hidden_by_a_blink_and_small_ones_are_not():
    for yaw, blinks in ((0.5, True), (0.2, False)):
        layer = GazeLayer()
        layer.look(1.0, (yaw, 0.0), False)
        closed = show(layer, np.arange(0.9, 1.5, FRAME_S))[:, LIDS].max()
        assert bool(closed > 0.8) is blinks


def test_without_a_target_the_glances_come_back():
    layer = GazeLayer()
    glance = np.zeros(52, np.float32)
    glance[RIGHT] = 0.16
    assert layer.add(0.0, glance, glance) is glance
    layer.look(0.0, (0.0, 0.0), False)
    held = layer.add(1.0, glance, glance)
    np.testing.assert_allclose(held[RIGHT], 0.04, atol=1e-3)  # around the target they are small
    layer.look(1.0, None, False)
    assert np.array_equal(layer.add(2.0, glance, glance), glance)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, RATE_HZ), max_size=5))
def test_chunks_make_no_difference(tiny, cuts):
    samples = speech(1.0, RATE_HZ)

    def play(cuts):
        talker = Talker(tiny, fps=60, head_motion=True)
        talker.look_at(1.0, 0.5, -0.2)
        frames = stream(talker, samples, RATE_HZ, cuts)
        return weights_of(frames), np.stack([frame.head for frame in frames])

    for one, other in zip(play(cuts), play([]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_talker_looks_and_says_what_it_cannot(tiny):
    talker = Talker(tiny, fps=60, head_motion=True)
    talker.look(0.4)
    frames = talker.advance_to(1.5)
    assert frames[-1].weights[LEFT[0]] > 0.2
    assert frames[-1].head[1] > 0.1
    for bad in ((math.nan, 0.0), (0.0, math.inf)):
        with pytest.raises(DualtalkerError, match="cannot look along"):
            talker.look(*bad)
    talker.look(None)
    after = talker.advance_to(4.0)[-1]
    assert after.weights[LEFT[0]] < 0.2
