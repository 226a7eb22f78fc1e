"""Voices as few recordings have them: what the sounds made of speech are like."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from dualtalker.evaluation import metrics
from tiny_training import make_clip
from training.data import Phone
from training.evaluation import noises, voices

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


def make_vowel(pitch_hz: float, formant_hz: float, seconds: float = 1.5) -> np.ndarray:
    """Pulses of a voice through one resonance of 100 Hz width."""
    pulses = np.zeros(int(seconds * RATE_HZ))
    pulses[np.arange(0, len(pulses), RATE_HZ / pitch_hz).astype(int)] = 1.0
    radius = np.exp(-np.pi * 100.0 / RATE_HZ)
    turn = 2 * radius * np.cos(2 * np.pi * formant_hz / RATE_HZ)
    vowel = lfilter([1.0], [1.0, -turn, radius**2], pulses)
    return np.asarray(0.3 * vowel / np.abs(vowel).max(), np.float32)


def find_formant(sound: np.ndarray) -> float:
    """Where the spectrum, smoothed over a voice's harmonics, is highest, Hz."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
    around = np.arange(100.0, 2000.0, 10.0)
    return float(around[np.argmax([power[np.abs(hz - at) < 150].sum() for at in around])])


@pytest.mark.parametrize("pitch", [0.8, 1.0, 1.5])
def test_a_shifted_voice_keeps_its_formant_and_level_and_speeds_up_where_it_is_told(
    pitch: float,
) -> None:
    sound = make_vowel(120.0, 700.0)
    knots = np.array([[0, 0], [8000, 8000], [16000, 24000], [24000, 32000]])
    shifted = voices.shift_voice(sound, pitch, knots)
    assert len(shifted) == 32000
    np.testing.assert_allclose(track_pitch(shifted, 0.2, 1.8), 120 * pitch, rtol=0.03)
    assert find_formant(shifted) == pytest.approx(700.0, abs=80.0)
    inside = slice(int(0.2 * RATE_HZ), int(1.3 * RATE_HZ))
    assert np.std(shifted[inside]) == pytest.approx(np.std(sound[inside]), rel=0.3)


def test_what_has_no_voice_keeps_its_pitchless_sound_and_takes_its_gain() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32)
    slow = voices.shift_voice(noise, 1.5, np.array([[0, 0], [16000, 20000]]), 0.5)
    assert len(slow) == 20000
    assert not track_pitch(slow, 0.1, 1.1).any()
    assert np.std(slow) == pytest.approx(0.5 * np.std(noise), rel=0.2)


def test_shouting_is_higher_longer_in_vowels_and_louder() -> None:
    sound = make_vowel(110.0, 500.0)
    phones = [Phone("PP", 0.1, 0.2), Phone("AA", 0.2, 0.7), Phone("SS", 0.7, 0.9)]
    loud, knots = voices.shout(sound, phones)
    np.testing.assert_allclose(knots[[0, -1]], [[0, 0], [1.5, 1.6]], atol=1e-9)
    assert len(loud) == round(1.6 * RATE_HZ) and np.abs(loud).max() == pytest.approx(1.0)
    ends = np.interp([0.1, 0.2, 0.7, 0.9], *knots.T)
    np.testing.assert_allclose(np.diff(ends), [0.1, 0.6, 0.2], atol=1e-9)
    np.testing.assert_allclose(track_pitch(loud, 0.2, 1.4), 165.0, rtol=0.03)
    assert find_formant(loud) == pytest.approx(600.0, abs=60.0)
    hushed, same = voices.shout(np.zeros(RATE_HZ, np.float32), [])
    assert not hushed.any() and np.array_equal(same[:, 0], same[:, 1])


def test_shouting_makes_the_spectrum_flatter() -> None:
    sound = make_vowel(110.0, 500.0) + make_vowel(110.0, 3000.0)
    loud, _ = voices.shout(sound, [])

    def tilt_db(heard: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(heard)) ** 2
        hz = np.fft.rfftfreq(len(heard), 1 / RATE_HZ)
        low, high = (power[(hz > a) & (hz < b)].sum() for a, b in ((300, 900), (2500, 3500)))
        return float(10 * np.log10(high / low))

    assert 4.0 < tilt_db(loud) - tilt_db(sound) < 11.0  # 3 dB in each of two and a half octaves


@pytest.mark.parametrize("pitch_hz", [100.0, 210.0])
def test_a_childs_voice_is_high_by_pitch_and_formant_and_in_time(pitch_hz: float) -> None:
    sound = make_vowel(pitch_hz, 700.0)
    young = voices.make_childlike(sound)
    assert young.shape == sound.shape and young.dtype == np.float32
    np.testing.assert_allclose(track_pitch(young, 0.2, 1.3), 264.0, rtol=0.04)
    assert find_formant(young) == pytest.approx(875.0, abs=90.0)
    clip = make_clip("a", 0, 3.0)
    times_s = np.arange(clip.frames) / 50
    spoken, said = (
        metrics.measure_loudness(sound, RATE_HZ, times_s)
        for sound in (clip.audio, voices.make_childlike(clip.audio))
    )
    assert metrics.correlate(spoken, said) > 0.95


def test_laughter_has_its_rate_and_twice_the_pitch_and_fades() -> None:
    vowel = next(voices.hold_vowels([make_clip("a", 0, 4.0)]))
    pitch_hz = RATE_HZ / (voices.find_period(vowel.held, int(RATE_HZ * (vowel.middle_s + 1))) or 0)
    bout = voices.laugh(vowel)
    assert len(bout) == voices.LAUGH_NOTES * round(0.21 * RATE_HZ)
    level = np.sqrt(np.convolve(np.square(bout), np.ones(320) / 320, "same"))
    swell = level - level.mean()
    likeness = np.correlate(swell, swell, "full")[len(swell) :]
    first, last = int(0.1 * RATE_HZ), int(0.3 * RATE_HZ)
    assert (first + np.argmax(likeness[first:last])) / RATE_HZ == pytest.approx(0.21, abs=0.005)
    peaks = level.reshape(voices.LAUGH_NOTES, -1).max(1)
    assert np.all(np.diff(peaks) < 0.02 * peaks[0]) and peaks[-1] < 0.6 * peaks[0]
    loud = bout[: round(0.21 * RATE_HZ)]
    note = np.tile(loud[160:1120], 3)
    assert RATE_HZ / (voices.find_period(note, 1440) or np.inf) == pytest.approx(
        2 * pitch_hz, rel=0.1
    )
    pause = np.std(loud[2000:])
    assert 0.05 < pause / np.std(loud[160:1120]) < 0.4


def test_a_cough_is_a_burst_of_noise_through_the_tract() -> None:
    vowel = next(voices.hold_vowels([make_clip("a", 0, 4.0)]))
    sound = voices.cough(vowel)
    assert len(sound) == round(0.3 * RATE_HZ)
    burst, rest, end = (np.std(sound[a:b]) for a, b in ((0, 640), (1300, 3800), (4600, 4800)))
    assert burst > 2 * rest > 4 * end > 0.0
    assert voices.find_period(np.tile(sound[1300:3800], 2), 2500) is None
    np.testing.assert_array_equal(sound, voices.cough(vowel))


@pytest.mark.parametrize(("decay_s", "tail_db"), [(0.4, 0.0), (0.8, 6.0)])
def test_a_room_keeps_the_onset_and_has_its_decay_and_its_share(
    decay_s: float, tail_db: float
) -> None:
    click = np.zeros(2 * RATE_HZ, np.float32)
    click[1000] = 1.0
    heard = noises.reverberate(click, decay_s, tail_db).astype(np.float64)
    np.testing.assert_allclose(heard[:1000], 0.0, atol=1e-6)
    tail, direct = heard[1001:], heard[1000]
    assert direct > 0 and not np.abs(tail[:39]).max() > 1e-6
    assert 10 * np.log10(np.sum(tail**2) / direct**2) == pytest.approx(tail_db, abs=0.01)
    left_db = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2) + 1e-12)
    early, late = (int(np.argmax(left_db < level)) for level in (-5.0, -25.0))  # Schroeder's T20
    assert 3 * (late - early) / RATE_HZ == pytest.approx(decay_s, rel=0.15)
    assert np.std(heard) == pytest.approx(np.std(click), rel=1e-3)
    speech = make_clip("a", 0).audio
    wet = noises.reverberate(speech, decay_s, tail_db)
    assert wet.shape == speech.shape and np.std(wet) == pytest.approx(np.std(speech), rel=0.02)
    assert not np.array_equal(wet, noises.reverberate(speech, decay_s, tail_db, seed=1))


def test_another_sound_has_its_level_and_goes_on() -> None:
    quiet = np.zeros(RATE_HZ, np.float32)
    both = noises.add_sound(quiet, make_voice(100.0, 0.3), 0.05)
    assert np.std(both) == pytest.approx(0.05, rel=0.01) and np.std(both[-3200:]) > 0.04
    assert np.abs(noises.add_sound(quiet + 0.9, make_voice(100.0), 0.5)).max() <= 1.0


def test_breath_has_no_low_notes_and_its_level() -> None:
    breath = noises.make_breath(0.5, 0.02)
    assert len(breath) == RATE_HZ // 2
    assert np.std(breath[3000:5000]) == pytest.approx(0.02, rel=0.2)
    power = np.abs(np.fft.rfft(breath)) ** 2
    hz = np.fft.rfftfreq(len(breath), 1 / RATE_HZ)
    low, middle, high = (
        power[(hz > a) & (hz < b)].mean() for a, b in ((0, 150), (300, 900), (4000, 8000))
    )
    assert low < 0.05 * middle and high < 0.2 * middle
