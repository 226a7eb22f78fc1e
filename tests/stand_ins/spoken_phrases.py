"""Sound with the melody of speech and known accents and pauses, and noises that are no speech."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RATE_HZ = 16000
SYLLABLE_S, CLOSURE_S = 0.15, 0.06


@dataclass(frozen=True)
class Phrases:
    """What was said, and where."""

    samples: np.ndarray  # [n] float32 at 16 kHz
    accents_s: np.ndarray  # middles of the accented syllables
    starts_s: np.ndarray  # of the phrases
    ends_s: np.ndarray


def speak_phrases(seconds: float, seed: int = 0, pitch_hz: float = 120.0) -> Phrases:
    """Phrases of 6 to 14 syllables, one in four of them accented, with pauses between."""
    rng = np.random.default_rng(seed)
    pieces, accents, starts, ends, now_s = [_hush(0.4, rng)], [], [], [], 0.4
    while now_s < seconds:
        count = int(rng.integers(6, 15))
        starts.append(now_s)
        stressed = rng.integers(1, 4)
        for i in range(count):
            accented = i == stressed
            if accented:
                stressed += rng.integers(3, 6)
                accents.append(now_s + SYLLABLE_S / 2)
            fall_st = -3.0 * i / count + rng.normal(0, 0.5)
            pieces.append(_say_syllable(pitch_hz, fall_st, accented, rng))
            pieces.append(_hush(CLOSURE_S, rng))
            now_s += SYLLABLE_S + CLOSURE_S
        ends.append(now_s - CLOSURE_S)
        pause_s = float(rng.uniform(0.3, 0.9))
        pieces.append(_hush(pause_s, rng))
        now_s += pause_s
    samples = np.concatenate(pieces).astype(np.float32)
    return Phrases(samples, np.array(accents), np.array(starts), np.array(ends))


def _say_syllable(
    pitch_hz: float, offset_st: float, accented: bool, rng: np.random.Generator
) -> np.ndarray:
    time_s = np.arange(round(SYLLABLE_S * RATE_HZ)) / RATE_HZ
    arch = np.sin(np.pi * time_s / SYLLABLE_S)
    curve_st = offset_st + arch * (5.0 if accented else rng.uniform(0.3, 1.0))
    phase = 2 * np.pi * np.cumsum(pitch_hz * 2 ** (curve_st / 12)) / RATE_HZ
    voice = sum(np.sin(k * phase) / k for k in range(1, 16))
    return (0.14 if accented else 0.07) * np.sqrt(arch) * voice


def _hush(seconds: float, rng: np.random.Generator) -> np.ndarray:
    return 1e-4 * rng.standard_normal(round(seconds * RATE_HZ))


def make_hiss(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A fan: hiss that swells 11 times a second."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    swell = 1.0 + 0.5 * np.sin(2 * np.pi * 11 * time_s)
    return 0.1 * swell * rng.standard_normal(len(time_s))


def make_tune(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """One plucked string after the other, of steady pitch."""
    sound = np.zeros(round(seconds * RATE_HZ))
    for start in range(0, len(sound), RATE_HZ // 4):
        time_s = np.arange(min(RATE_HZ // 2, len(sound) - start)) / RATE_HZ
        note_hz = 110.0 * 2 ** (rng.integers(0, 20) / 12)
        tone = sum(np.sin(2 * np.pi * k * note_hz * time_s) / k for k in range(1, 6))
        sound[start : start + len(time_s)] += 0.1 * np.exp(-time_s / 0.2) * tone
    return sound


def make_slams(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Doors and steps: short low thumps with a rattle."""
    sound = 1e-3 * rng.standard_normal(round(seconds * RATE_HZ))
    for start in range(0, len(sound), RATE_HZ // 2):
        start += int(rng.integers(0, RATE_HZ // 4))
        time_s = np.arange(max(0, min(RATE_HZ // 3, len(sound) - start))) / RATE_HZ
        thump = np.sin(2 * np.pi * rng.uniform(60, 140) * time_s) * np.exp(-time_s / 0.04)
        rattle = rng.standard_normal(len(time_s)) * np.exp(-time_s / 0.06)
        sound[start : start + len(time_s)] += 0.3 * (thump + 0.3 * rattle)
    return sound


def make_whine(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A servo that runs up and down once a second."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    pace = np.maximum(0.0, np.sin(2 * np.pi * 0.7 * time_s + rng.uniform(0, 6)))
    phase = 2 * np.pi * np.cumsum(150 + 700 * pace) / RATE_HZ
    gears = 0.3 * rng.standard_normal(len(time_s))
    return 0.1 * (0.05 + pace) * (np.sin(phase) + 0.5 * np.sin(2 * phase) + gears)


NOISES = {"hiss": make_hiss, "tune": make_tune, "slams": make_slams, "whine": make_whine}


def make_noise(kind: str, seconds: float, seed: int = 0) -> np.ndarray:
    """Return [n] float32 of a kind in `NOISES`."""
    return NOISES[kind](seconds, np.random.default_rng(seed)).astype(np.float32)
