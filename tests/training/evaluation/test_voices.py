"""Held, sung and whispered voices, and what contestants of known behavior do in them."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.evaluation import metrics
from dualtalker.rig.robot_head import build_head
from tiny_training import make_clip
from training.evaluation import Training, animate_by_loudness, to_recording, voices

RATE_HZ = 16000


def make_voice(pitch_hz: float, seconds: float = 1.0) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * pitch_hz * h * time_s + h) / h for h in range(1, 10))
    return np.asarray(0.2 * voice, np.float32)


def track_pitch(sound: np.ndarray, first_s: float, last_s: float) -> np.ndarray:
    places = (np.arange(first_s, last_s, 0.02) * RATE_HZ).astype(int)
    return np.array([RATE_HZ / (voices.find_period(sound, at) or np.inf) for at in places])


@pytest.mark.parametrize("pitch_hz", [80.0, 125.0, 210.0, 390.0])
def test_a_held_voice_keeps_pitch_and_level_and_the_speech_around_it(pitch_hz: float) -> None:
    sound = make_voice(pitch_hz)
    held = voices.hold_sound(sound, 0.5, 1.5)
    assert held is not None and len(held) == len(sound) + 1.5 * RATE_HZ
    np.testing.assert_array_equal(held[: int(0.4 * RATE_HZ)], sound[: int(0.4 * RATE_HZ)])
    np.testing.assert_array_equal(held[-int(0.4 * RATE_HZ) :], sound[-int(0.4 * RATE_HZ) :])
    np.testing.assert_allclose(track_pitch(held, 0.6, 1.9), pitch_hz, rtol=0.03)
    inside = held[int(0.6 * RATE_HZ) : int(1.9 * RATE_HZ)]
    assert np.std(inside) == pytest.approx(np.std(sound), rel=0.1)
    np.testing.assert_array_equal(held, voices.hold_sound(sound, 0.5, 1.5))


def test_a_sung_voice_swings_about_its_pitch() -> None:
    sung = voices.hold_sound(make_voice(200.0), 0.5, 2.0, vibrato=True)
    assert sung is not None
    pitch_hz = track_pitch(sung, 0.6, 2.3)
    low, high = np.percentile(pitch_hz, [10, 90])
    assert 0.96 < low / 200 < 0.99 and 1.01 < high / 200 < 1.04
    swing = np.abs(np.fft.rfft(pitch_hz - pitch_hz.mean(), 1000))
    assert np.argmax(swing) * 50 / 1000 == pytest.approx(voices.VIBRATO_HZ, abs=0.3)


def test_what_has_no_pitch_is_not_held() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    assert voices.hold_sound(noise, 0.5, 1.0) is None
    assert voices.hold_sound(make_voice(100.0, 0.05), 0.025, 1.0) is None  # too short to tell


def test_vowels_are_the_longest_of_each_speaker() -> None:
    clips = [make_clip("a", 0, 4.0, speaker="ann"), make_clip("b", 1, 2.0, speaker="bob")]
    held = list(voices.hold_vowels(clips))
    assert {vowel.speaker for vowel in held} == {"ann", "bob"}
    assert sum(vowel.speaker == "ann" for vowel in held) <= voices.VOWELS_PER_SPEAKER
    for vowel in held:
        assert vowel.end_s - vowel.start_s >= voices.SHORTEST_VOWEL_S
        assert len(vowel.held) == len(vowel.spoken) + voices.HOLD_S * RATE_HZ
    assert list(voices.hold_vowels([make_clip("c", 2, phones=None)])) == []


def test_a_mouth_that_follows_loudness_stays_open_and_one_that_follows_changes_shuts() -> None:
    clips = [make_clip(name, seed, 3.0, speaker=name) for seed, name in enumerate("ab")]
    recordings = [to_recording(clip, Training()) for clip in clips]

    def by_loudness(audio: np.ndarray, frames: int, style: str) -> np.ndarray:
        return animate_by_loudness(audio, frames, 0.2)

    def by_changes(audio: np.ndarray, frames: int, style: str) -> np.ndarray:
        weights = by_loudness(audio, frames, style)
        return np.abs(np.diff(weights, axis=0, prepend=weights[:1]))

    head = build_head()
    found = voices.measure_held_vowels(by_loudness, head, clips, recordings)
    for name in ("held jaw", "sung jaw", "held lip gap", "sung lip gap"):
        assert 0.7 < found[name] <= 1.05
        assert found[f"{name}, low"] <= found[name] <= found[f"{name}, high"]
    changing = voices.measure_held_vowels(by_changes, head, clips, recordings)
    assert changing["held jaw"] < 0.3
    captured = [to_recording(make_clip("c", 0, style="captured:x"), Training())]
    assert voices.measure_held_vowels(by_loudness, head, clips[:1], captured) == {}


def test_whispering_has_the_envelope_of_speech_and_no_pitch() -> None:
    clip = make_clip("a", 0, 3.0)
    quiet = voices.whisper(clip.audio)
    assert quiet.shape == clip.audio.shape and quiet.dtype == np.float32
    np.testing.assert_array_equal(quiet, voices.whisper(clip.audio))
    assert np.std(quiet) == pytest.approx(np.std(clip.audio) * 10**-0.5, rel=0.05)
    times_s = np.arange(clip.frames) / 50
    loud, soft = (metrics.measure_loudness(a, RATE_HZ, times_s) for a in (clip.audio, quiet))
    assert metrics.correlate(loud, soft) > 0.85
    voiced = voices.find_period(clip.audio, int(loud.argmax()) * 320)
    assert voiced and voices.find_period(quiet, int(loud.argmax()) * 320) is None
    assert not voices.whisper(np.zeros(RATE_HZ, np.float32)).any()


def test_whispering_is_measured_against_the_contestants_own_full_voice() -> None:
    clips = [make_clip("a", 0), make_clip("b", 1)]
    recordings = [to_recording(clip, Training()) for clip in clips]
    truths = [clip.motion for clip in clips]
    turns = iter(truths)

    def deaf(audio: np.ndarray, frames: int, style: str) -> np.ndarray:
        return next(turns)

    found = voices.measure_whispering(deaf, build_head(), clips, recordings, truths)
    assert found["whispered gap r"] == pytest.approx(1.0)
    assert found["whispered gap amplitude"] == pytest.approx(1.0)
    assert found["whispered closures met"] == 1.0

    def by_level(audio: np.ndarray, frames: int, style: str) -> np.ndarray:
        return animate_by_loudness(audio, frames, 0.4)

    loud = [by_level(clip.audio, clip.frames, "rules") for clip in clips]
    shy = voices.measure_whispering(by_level, build_head(), clips, recordings, loud)
    assert shy["whispered gap amplitude"] < 0.6
    assert voices.measure_whispering(deaf, build_head(), [], [], []) == {}
