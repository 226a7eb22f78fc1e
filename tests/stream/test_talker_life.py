"""What moves beside speech is changed while it goes on: brows, glances and the head."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.errors import DualtalkerError
from dualtalker.face.finishing import SWITCH_S, Life, LifeMixture
from dualtalker.stream import Talker
from spoken_phrases import RATE_HZ, speak_phrases

FPS = 60


def speak_through(talker, samples, changes):
    """Frames of speech in 20 ms pushes; `changes` are calls by their second."""
    frames, waiting = [], sorted(changes.items())
    for first in range(0, len(samples), 320):
        while waiting and waiting[0][0] * RATE_HZ <= first:
            waiting.pop(0)[1](talker)
        talker.push(samples[first : first + 320], RATE_HZ)
        frames += talker.frames()
    return frames


def steps_of(frames):
    return np.abs(np.diff([frame.weights for frame in frames], axis=0)).max()


def test_prosody_and_the_head_come_and_go_without_a_jump(tiny):
    samples = speak_phrases(14.0).samples
    changes = {
        float(second): (lambda talker, on=second % 4 < 2: talker.set_life(prosody=on))
        for second in range(1, 14)
    }
    for second in (3.5, 7.5):
        changes[second] = lambda talker: talker.set_life(head_motion=True)
        changes[second + 2.0] = lambda talker: talker.set_life(head_motion=False)
    frames = speak_through(Talker(tiny, fps=FPS, prosody=False), samples, changes)
    steady = speak_through(Talker(tiny, fps=FPS, head_motion=True), samples, {})
    assert steps_of(frames) <= 1.3 * steps_of(steady) + 0.05
    turned = [frame.time_s for frame in frames if frame.head is not None]
    gaps = np.flatnonzero(np.diff(turned) > 0.5)
    assert len(gaps) == 1  # it moved twice, each time for 2 s and the fade
    for first, last in ((turned[0], turned[gaps[0]]), (turned[gaps[0] + 1], turned[-1])):
        assert last - first == pytest.approx(2.0 + SWITCH_S, abs=0.1)
    heads = np.array([np.zeros(3) if f.head is None else f.head for f in frames])
    usual = np.abs(np.diff([frame.head for frame in steady], axis=0)).max()
    assert np.abs(heads).max() > 0.005
    assert np.abs(np.diff(heads, axis=0)).max() <= 1.3 * usual + 0.005


def test_brows_follow_the_voice_once_they_are_to(tiny):
    """Until then the face is that of idle life to the bit; soon after it is another."""
    samples = speak_phrases(12.0).samples
    turned_on = {6.0: lambda talker: talker.set_life(prosody=True)}
    changed, plain = (
        speak_through(Talker(tiny, fps=FPS, prosody=False), samples, changes)
        for changes in (turned_on, {})
    )
    before = [a for a, b in zip(changed, plain, strict=True) if (a.weights == b.weights).all()]
    assert 5.7 < before[-1].time_s < 6.1
    assert len(before) == round(before[-1].time_s * FPS) + 1


def test_the_head_takes_its_part_of_a_target_once_it_may_move(tiny):
    talker = Talker(tiny, fps=FPS)
    talker.look(0.8)
    eyes = talker.advance_to(2.0)[-1]
    talker.set_life(head_motion=True)
    both = talker.advance_to(4.0)[-1]
    talker.set_life(head_motion=False)
    again = talker.advance_to(6.0)[-1]
    assert eyes.head is None and again.head is None
    assert both.head[1] > 0.3
    look = 3  # eyeLookOutLeft
    assert both.weights[look] < eyes.weights[look] - 0.2
    assert again.weights[look] == pytest.approx(eyes.weights[look], abs=0.1)


def test_a_head_without_idle_life_is_refused_and_nothing_changes(tiny):
    talker = Talker(tiny, idle_motion=False)
    with pytest.raises(DualtalkerError, match="idle_motion"):
        talker.set_life(head_motion=True)
    talker.set_life(idle_motion=True, head_motion=True)
    assert talker.advance_to(1.0)[-1].head is not None
    with pytest.raises(DualtalkerError, match="idle_motion"):
        talker.set_idle_motion(False)
    talker.set_life(idle_motion=False, head_motion=False)
    assert talker.advance_to(2.0)[-1].head is None


def test_switches_in_one_instant_keep_no_lives():
    class Lifted(Life):
        def add(self, time_s, weights):
            return weights + np.float32(1.0)

    mixture = LifeMixture(Life())
    for _ in range(1000):
        mixture.switch(1.0, Lifted())
    assert len(mixture._parts) == 2
    rest = np.zeros(52, np.float32)
    shown = [mixture.add(1.0 + k * SWITCH_S / 10, rest)[0] for k in range(12)]
    assert shown[0] == 0.0 and shown[-1] == 1.0 and (np.diff(shown) >= 0).all()
    assert len(mixture._parts) == 1
