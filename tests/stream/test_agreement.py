"""Phones that are not of the sound are found out; those that are stay believed."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.stream.agreement import Agreement, expect_level

STEP_S, LOOKAHEAD_S = 0.02, 0.12
LEVELS = ("AA", "SS", "PP", "IY", "NN", "sil", "EH", "KK")


def say(seconds, seed):
    """Phones of about 80 ms, step by step, and a sound that is as loud as they are."""
    rng = np.random.default_rng(seed)
    steps: list[str] = []
    while len(steps) < seconds / STEP_S:
        steps += [LEVELS[rng.integers(len(LEVELS))]] * int(rng.integers(2, 7))
    noise = 0.1 * rng.standard_normal((len(steps), 320))
    sound = noise * 10 ** (np.array([expect_level(x) for x in steps]) / 20)[:, None]
    return steps, sound


def judge(labels, sound, shift=0):
    """Return at which steps the phones, late by `shift` steps, are believed."""
    agreement, ahead, believed = Agreement(STEP_S, LOOKAHEAD_S), 6, []
    for k, samples in enumerate(sound):
        at = k - ahead - shift
        agreement.hear(samples)
        told = 0 <= at < len(labels) and k >= ahead
        agreement.tell(expect_level(labels[at]) if told else np.nan)
        believed.append(agreement.agrees)
    return np.array(believed)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [-6, -3, 0, 3, 6])
def test_phones_of_the_sound_are_believed_throughout(seed, shift):
    assert judge(*say(6.0, seed), shift).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shift", [-22, -15, -10, 10, 15, 22])
def test_phones_that_are_shifted_are_found_out_within_two_seconds_and_for_good(seed, shift):
    believed = judge(*say(8.0, seed), shift)
    assert believed[:30].all()  # nobody can know yet
    assert not believed[100 + abs(shift) :].any()


@pytest.mark.parametrize("seed", range(5))
def test_phones_of_other_speech_are_found_out(seed):
    _, sound = say(10.0, seed)
    others, _ = say(10.0, seed + 100)
    assert not judge(others, sound)[250:].all()


def test_a_new_utterance_is_believed_again():
    labels, sound = say(4.0, 0)
    agreement = Agreement(STEP_S, LOOKAHEAD_S)
    for k, samples in enumerate(sound):
        agreement.hear(samples)
        agreement.tell(expect_level(labels[max(k - 6 - 15, 0)]))
    assert not agreement.agrees
    agreement.restart()
    assert agreement.agrees


def test_the_level_of_the_recording_tells_nothing():
    labels, sound = say(6.0, 1)
    for gain in (0.01, 8.0):
        assert judge(labels, gain * sound).all()
        assert not judge(labels, gain * sound, 12)[150:].any()
