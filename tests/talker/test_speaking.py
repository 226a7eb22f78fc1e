"""Whether the face speaks: decided by the mouth's motion, in the frames' own time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="the watch is imported with the talker node's parts")

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, MOUTH_NAMES
from dualtalker_ros.talker.speaking import MOVING_PER_S, SpeechWatch

HOLD_S = 0.3


def answers(watch, weights, fps=60.0, begin_s=0.0, idle=False):
    """Feed jaw openings, one for each frame."""
    said = []
    for index, weight in enumerate(weights):
        face = np.zeros(52, np.float32)
        face[ARKIT_INDEX["jawOpen"]] = weight
        said.append(watch.update(face, begin_s + index / fps, idle))
    return said


@given(st.floats(10, 120), st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
def test_idle_frames_never_speak(fps, weights):
    assert not any(answers(SpeechWatch(HOLD_S), weights, fps, idle=True))


@given(st.floats(0, 1, width=32), st.floats(20, 120))
def test_a_still_or_slow_mouth_does_not_speak(level, fps):
    slow = level + 0.9 * MOVING_PER_S / fps * np.arange(10) * np.sign(0.5 - level)
    assert not any(answers(SpeechWatch(HOLD_S), np.full(20, level), fps))
    assert not any(answers(SpeechWatch(HOLD_S), slow, fps))


@given(st.sampled_from(ARKIT_NAMES))
def test_shapes_of_the_mouth_speak_and_those_of_eyes_and_brows_do_not(name):
    watch = SpeechWatch(HOLD_S)
    face = np.zeros(52, np.float32)
    watch.update(face.copy(), 0.0, False)
    face[ARKIT_INDEX[name]] = 0.5
    assert watch.update(face, 1 / 60, False) == (name in MOUTH_NAMES)


def test_it_holds_through_pauses_and_ends_after_them():
    watch = SpeechWatch(HOLD_S)
    moving = [0.0, 0.2, 0.0, 0.2]
    pause = [0.2] * 15  # 0.25 s
    said = answers(watch, [*moving, *pause, *moving, *[0.2] * 60])
    first = said.index(True)
    last = len(said) - 1 - said[::-1].index(True)
    assert first == 1, "with the first frame that moved"
    assert all(said[first : last + 1]), "without a flicker"
    moved_last = len(moving) + len(pause) + len(moving) - 1
    assert abs(last - moved_last - HOLD_S * 60) <= 1


def test_a_clock_that_goes_back_starts_it_over():
    watch = SpeechWatch(HOLD_S)
    assert answers(watch, [0.0, 0.5], begin_s=1000.0)[-1]
    assert not watch.update(np.zeros(52, np.float32), 10.0, False)


def test_the_frame_rate_makes_no_difference():
    def spans(fps):
        times_s = np.arange(round(4 * fps)) / fps
        jaw = 0.5 * np.abs(np.sin(2 * np.pi * 2 * times_s)) * ((times_s > 1) & (times_s < 2))
        said = np.array(answers(SpeechWatch(HOLD_S), jaw, fps))
        return times_s[said].min(), times_s[said].max()

    for fps in (25.0, 60.0, 120.0):
        np.testing.assert_allclose(spans(fps), (1.02, 2.3), atol=0.08)
