"""Pitch, accents and pauses are found where they are, for any chunks, and not in noise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.face import ProsodyTracker
from dualtalker.face.prosody import PitchTracker, RunningLevel, semitones
from spoken_phrases import NOISES, RATE_HZ, make_noise, speak_phrases


def find_accents(cues):
    """Beginnings only: an accent that grows is told again."""
    times_s = np.array([cue.end_s for cue in cues if cue.accent > 0])
    return times_s[np.diff(times_s, prepend=-1.0) > 0.25]


def glide(pitch_hz, seconds, rate_hz, swing_st=1.0):
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    curve_hz = pitch_hz * 2 ** (swing_st * np.sin(2 * np.pi * 2 * time_s) / 12)
    phase = 2 * np.pi * np.cumsum(curve_hz) / rate_hz
    harmonics = range(1, 1 + int(min(12, 3500 // pitch_hz)))
    return (0.1 * sum(np.sin(k * phase) / k for k in harmonics)).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    pitch_hz=st.floats(70, 400),
    rate_hz=st.sampled_from([8000, 16000, 22050, 44100, 48000]),
    gain=st.sampled_from([0.02, 0.3, 1.0]),
)
def test_pitch_is_right_to_half_a_semitone(pitch_hz, rate_hz, gain):
    sounds = PitchTracker(rate_hz).push(gain * glide(pitch_hz, 1.0, rate_hz))
    voiced = [sound for sound in sounds[3:] if sound.pitch_hz]
    assert len(voiced) > 0.9 * len(sounds[3:])
    off_st = []
    for sound in voiced:
        middle_s = sound.end_s - 0.0235  # of the stretch that is compared with itself
        true_hz = pitch_hz * 2 ** (np.sin(2 * np.pi * 2 * middle_s) / 12)
        off_st.append(abs(semitones(sound.pitch_hz, true_hz)))
    assert np.percentile(off_st, 95) < 0.5


def test_noise_has_no_pitch_and_silence_costs_none():
    hiss = 0.1 * np.random.default_rng(0).standard_normal(5 * RATE_HZ).astype(np.float32)
    assert np.mean([s.pitch_hz > 0 for s in PitchTracker(RATE_HZ).push(hiss)]) < 0.02
    silence = PitchTracker(RATE_HZ).push(np.zeros(RATE_HZ, np.float32))
    assert len(silence) == 50
    assert all(s.pitch_hz == 0 and s.level_db <= -100 for s in silence)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 3 * RATE_HZ), max_size=40))
def test_any_chunks_give_the_same_cues(cuts):
    samples = speak_phrases(3.0, seed=1).samples[: 3 * RATE_HZ]
    bounds = [0, *sorted(cuts), len(samples)]
    tracker, cues = ProsodyTracker(RATE_HZ), []
    for start, end in pairwise(bounds):
        cues += tracker.push(samples[start:end])
    assert cues == ProsodyTracker(RATE_HZ).push(samples)


@pytest.mark.parametrize("pitch_hz", [95.0, 210.0])
@pytest.mark.parametrize("gain", [0.1, 1.0])
def test_accents_are_found_where_they_are(pitch_hz, gain):
    said = speak_phrases(40.0, seed=2, pitch_hz=pitch_hz)
    cues = ProsodyTracker(RATE_HZ).push(said.samples * np.float32(gain))
    found_s = find_accents(cues)
    true_s = said.accents_s[said.accents_s > 5.0]  # the speaker must be known first
    late_s = found_s[:, None] - true_s[None]
    hits = (late_s > -0.1) & (late_s < 0.1)
    assert hits.any(axis=0).mean() > 0.85  # of the accents are found,
    late = found_s > 5.0
    assert hits.any(axis=1)[late].mean() > 0.85  # and little else
    # Heard early enough for the lookahead to show it while the syllable lasts.
    assert np.median(late_s[hits]) < 0.07


def test_phrases_end_where_they_end():
    said = speak_phrases(40.0, seed=3)
    cues = ProsodyTracker(RATE_HZ).push(said.samples)
    found_s = np.array([cue.end_s for cue in cues if cue.phrase_end])
    late_s = found_s[None] - said.ends_s[:-1, None]
    hits = (late_s > 0.05) & (late_s < 0.27)
    assert hits.any(axis=1).mean() > 0.95
    assert len(found_s) <= len(said.ends_s)  # closures inside a phrase do not end it
    speaking = {round(cue.end_s, 2): cue.speaking for cue in cues}
    middles_s = 0.5 * (said.starts_s + said.ends_s)
    assert np.mean([speaking[round(round(t / 0.02) * 0.02, 2)] for t in middles_s]) > 0.9
    after_s = said.ends_s[:-1] + 0.29
    assert not any(speaking[round(round(t / 0.02) * 0.02, 2)] for t in after_s)


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("gain", [0.1, 1.0])
def test_noise_has_hardly_an_accent(kind, gain):
    spoken = speak_phrases(20.0, seed=4).samples
    in_speech = len(find_accents(ProsodyTracker(RATE_HZ).push(spoken)))
    noise = make_noise(kind, 20.0) * np.float32(gain)
    in_noise = len(find_accents(ProsodyTracker(RATE_HZ).push(noise)))
    assert in_speech >= 8
    assert in_noise <= 0.15 * in_speech


def test_a_new_beginning_remembers_the_speaker_and_no_sound():
    said = speak_phrases(10.0, seed=5).samples
    tracker = ProsodyTracker(RATE_HZ)
    tracker.push(said)
    tracker.restart()
    cues = tracker.push(said)
    assert cues[0].end_s == pytest.approx(0.02)
    early = [cue.end_s for cue in cues if cue.accent > 0 and cue.end_s < 3.0]
    fresh = [c for c in ProsodyTracker(RATE_HZ).push(said) if c.accent > 0 and c.end_s < 3.0]
    assert len(early) >= len(fresh) and early


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=80), times=st.integers(1, 9))
def test_a_level_is_the_upper_median_with_a_spread_within_the_values(values, times):
    level = RunningLevel()
    for value in values * times:
        level.add(value)
    median, spread = level.describe()
    ordered = sorted((values * times)[-200:])
    assert len(level) == len(ordered)
    assert median == ordered[len(ordered) // 2]
    assert 0 <= spread <= 0.5 * (ordered[-1] - ordered[0])
