"""Held vowels and fair draws: what batches do to clips."""

from __future__ import annotations

import numpy as np

from dualtalker.arkit import ARKIT_INDEX
from training.data import Clip, Phone, find_speech, hold_sound
from training.learning.batches import find_vowels, hold_vowel, weigh_clips

JAW = ARKIT_INDEX["jawOpen"]
RATE_HZ = 16000


def make_clip(phones=True, seconds=3.0, speaker="ann", source="labeled:x"):
    """A vowel from 1.0 to 1.3 s in a tone of 200 Hz, whose jaw is widest at 1.14 s."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    times_s = np.arange(int(seconds * 50)) / 50
    motion = np.zeros((len(times_s), 52), np.float32)
    motion[:, JAW] = np.clip(0.6 - 4 * np.abs(times_s - 1.14), 0, 1)
    labels = [Phone("sil", 0, 1.0), Phone("AA", 1.0, 1.3), Phone("DD", 1.3, seconds)]
    return Clip(
        name="made",
        audio=(0.3 * np.sin(2 * np.pi * 200 * time_s)).astype(np.float32),
        motion=motion,
        motion_mask=np.ones(52, bool),
        phones=labels if phones else None,
        style="rules",
        speaker=speaker,
        source=source,
    )


def test_a_held_sound_is_longer_and_goes_on_as_before():
    rng = np.random.default_rng(0)
    clip = make_clip()
    for wanted in (5000, 16000, 40000):
        longer = hold_sound(clip.audio, 18000, wanted, rng)
        assert abs(len(longer) - len(clip.audio) - wanted) < 1000
        assert longer.dtype == np.float32
        # Before and after the hold nothing is changed.
        assert np.array_equal(longer[:17000], clip.audio[:17000])
        assert np.array_equal(longer[-20000:], clip.audio[-20000:])
        # Grains join without clicks: the steepest step of a tone of 200 Hz, louder by 4 dB.
        assert np.abs(np.diff(longer)).max() < 0.3 * 2 * np.pi * 200 / RATE_HZ * 1.9


def test_what_is_too_near_an_end_is_not_held():
    rng = np.random.default_rng(0)
    sound = make_clip().audio
    for at in (0, 300, len(sound) - 100):
        assert hold_sound(sound, at, 8000, rng) is sound


def test_the_face_stands_still_in_the_hold_at_the_vowels_widest():
    clip = make_clip()
    times_s = np.arange(150) / 50
    sound, shown_s = hold_vowel(clip, clip.audio, times_s, np.random.default_rng(3))
    hold_s = (len(sound) - len(clip.audio)) / RATE_HZ
    assert 0.3 <= hold_s <= 2.6
    still = np.flatnonzero(np.diff(shown_s) == 0)
    assert abs(len(still) / 50 - hold_s) < 0.05
    assert np.allclose(shown_s[still], 1.14)
    assert (np.diff(shown_s) > -1e-9).all()
    assert np.array_equal(shown_s[:57], times_s[:57])


def test_vowels_are_found_by_labels_or_by_the_jaw():
    assert np.allclose(find_vowels(make_clip()), [1.14])
    assert np.allclose(find_vowels(make_clip(phones=False)), [1.14])
    unpaired = Clip("sound", make_clip().audio)
    assert len(find_vowels(unpaired)) == 0
    times_s = np.arange(100) / 50
    sound, shown_s = hold_vowel(unpaired, unpaired.audio, times_s, np.random.default_rng(0))
    assert sound is unpaired.audio and shown_s is times_s


def test_many_voices_are_heard_rather_than_many_hours_of_one():
    talkative = [make_clip(speaker="ann") for _ in range(16)]
    weights = weigh_clips([*talkative, make_clip(speaker="bob")])
    assert np.isclose(weights[:16].sum() / weights[16], 4.0)
    other = make_clip(speaker="eve")
    other.style = "captured:ann"
    weights = weigh_clips([*talkative, make_clip(speaker="bob"), other])
    assert np.isclose(weights[:17].sum() / weights[17], np.sqrt(17))
    assert np.isclose(weights[:16].sum() / weights[16], 4.0)


def test_a_face_rests_in_pauses_and_is_back_before_the_sound():
    clip = make_clip(seconds=4.0)
    clip.phones = [
        Phone("sil", 0, 1.0),
        Phone("AA", 1.0, 1.5),
        Phone("sil", 1.5, 1.7),
        Phone("AA", 1.7, 2.0),
        Phone("sil", 2.0, 4.0),
    ]
    times_s = np.arange(200) / 50
    meant = find_speech(clip.phones or (), times_s)
    assert not meant[times_s < 0.77].any()
    assert (meant[(times_s > 0.89) & (times_s < 2.05)] == 1).all()
    assert not meant[(times_s > 2.17) & (times_s < 3.7)].any()
    assert np.abs(np.diff(meant)).max() < 0.25
    clip.phones = None
    assert (find_speech(clip.phones or (), times_s) == 1).all()
