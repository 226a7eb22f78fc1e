"""Noises, rooms and other voices of the evaluation, made apart from those of training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.data import SAMPLE_RATE_HZ

Rng = np.random.Generator


def make_fan(samples: int, rng: Rng) -> np.ndarray:
    """Air and blades: hiss falling with frequency, swelling with the blades' passing (27 Hz)."""
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    hiss = _filtered(samples, rng, lambda f: 1.0 / (1.0 + (f / 400.0) ** 1.2))
    return hiss * (1.0 + 0.3 * np.sin(2 * np.pi * 27.0 * time_s))


def make_music(samples: int, rng: Rng) -> np.ndarray:
    """Four plucked voices in a minor key at 110 beats a minute, without singing."""
    beat = int(SAMPLE_RATE_HZ * 60 / 110)
    scale_hz = 110.0 * 2.0 ** (np.array([0, 2, 3, 5, 7, 8, 10, 12, 15, 19]) / 12.0)
    music = np.zeros(samples)
    for start in range(0, samples, beat // 2):
        time_s = np.arange(min(beat * 2, samples - start)) / SAMPLE_RATE_HZ
        for _ in range(2):
            note_hz = float(rng.choice(scale_hz)) * float(rng.choice([1, 2, 4]))
            decay = np.exp(-time_s / 0.35) * np.minimum(1.0, time_s * 200.0)
            for harmonic in range(1, 7):
                tone = np.sin(2 * np.pi * harmonic * note_hz * time_s)
                music[start : start + len(time_s)] += decay * tone / harmonic**1.3
    return music


def make_door(samples: int, rng: Rng) -> np.ndarray:
    """A latch, a slam with its rattle, and steps, about two events a second."""
    sound = 0.01 * _filtered(samples, rng, lambda f: 1.0 / (1.0 + f / 200.0))
    for start in range(int(0.2 * SAMPLE_RATE_HZ), samples, SAMPLE_RATE_HZ // 2):
        start += int(rng.integers(0, SAMPLE_RATE_HZ // 8))
        length = max(0, min(int(0.3 * SAMPLE_RATE_HZ), samples - start))
        time_s = np.arange(length) / SAMPLE_RATE_HZ
        thump = np.exp(-time_s / 0.05) * np.sin(2 * np.pi * rng.uniform(60, 140) * time_s)
        click = np.exp(-time_s / 0.006) * rng.standard_normal(length)
        rattle = 0.3 * np.exp(-time_s / 0.08) * rng.standard_normal(length)
        sound[start : start + length] += thump + 0.6 * click + rattle
    return sound


def make_motor(samples: int, rng: Rng) -> np.ndarray:
    """A servo that moves every second: a whine whose pitch climbs and falls, with gear noise."""
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    speed = np.maximum(0.0, np.sin(2 * np.pi * 0.5 * time_s + rng.uniform(0, 1)))
    phase = 2 * np.pi * np.cumsum(180.0 + 900.0 * speed) / SAMPLE_RATE_HZ
    whine = np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.3 * np.sin(3 * phase)
    gears = _filtered(samples, rng, lambda f: np.exp(-(((f - 2500.0) / 1200.0) ** 2)))
    return (whine + 0.5 * gears) * (0.05 + speed)


NOISES: dict[str, Callable[[int, Rng], np.ndarray]] = {
    "fan": make_fan,
    "music": make_music,
    "door": make_door,
    "motor": make_motor,
}


def make_noise_at(kind: str, samples: int, level: float, seed: int = 0) -> np.ndarray:
    """Return noise `[samples]` float32 of root mean square `level`, before clipping to [-1, 1].

    Raises:
        KeyError: the kind is not in `NOISES`.
    """
    noise = NOISES[kind](samples, np.random.default_rng(seed))
    noise = noise / max(float(np.sqrt(np.mean(noise**2))), 1e-12) * level
    return np.clip(noise, -1.0, 1.0).astype(np.float32)


def measure_speech_level(audio: np.ndarray, speech: np.ndarray) -> float:
    """Root mean square of the samples in the speech frames `[frames]` bool at 50 Hz."""
    per_frame = SAMPLE_RATE_HZ // 50
    inside = np.repeat(speech, per_frame)[: len(audio)]
    spoken = audio[: len(inside)][inside]
    return float(np.sqrt(np.mean(np.square(spoken, dtype=np.float64)))) if len(spoken) else 0.0


def make_breath(seconds: float, level: float) -> np.ndarray:
    """Return the noise of breathing in `[samples]`, of root mean square `level` at its height.

    From 200 Hz on its spectrum falls, as that of inhaling does (Werner and others 2023).
    """
    samples = round(seconds * SAMPLE_RATE_HZ)
    rng = np.random.default_rng(0)
    hiss = _filtered(samples, rng, lambda f: (f > 200.0) / (1.0 + f / 1000.0))
    return level * hiss * np.sqrt(np.sin(np.pi * np.arange(samples) / samples))


def reverberate(audio: np.ndarray, decay_s: float, tail_db: float, seed: int = 0) -> np.ndarray:
    """Return sound `[samples]` float32 as far from a microphone in a room, at the same level.

    The direct sound, undelayed, and 2.5 ms later noise that falls by 60 dB in `decay_s`, of
    `tail_db` more energy (Polack 1988): 0 dB at the critical distance, 6 dB at twice that.
    """
    from scipy.signal import fftconvolve

    time_s = np.arange(round(decay_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = np.random.default_rng(seed).standard_normal(len(time_s)) * 10.0 ** (
        -3.0 * time_s / decay_s
    )
    tail[time_s < 0.0025] = 0.0
    tail *= 10.0 ** (tail_db / 20.0) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    heard = fftconvolve(audio.astype(np.float64), tail)[: len(audio)]
    level = np.sqrt(np.mean(np.square(audio)) / max(float(np.mean(heard**2)), 1e-12))
    return np.asarray(np.clip(level * heard, -1.0, 1.0), np.float32)


def add_sound(audio: np.ndarray, other: np.ndarray, level: float) -> np.ndarray:
    """Return sound `[samples]` float32 with another, repeated, of root mean square `level`."""
    beside = np.resize(other, len(audio))
    beside = beside * (level / max(float(np.sqrt(np.mean(np.square(beside)))), 1e-12))
    return np.asarray(np.clip(audio + beside, -1.0, 1.0), np.float32)


def _filtered(samples: int, rng: Rng, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """White noise through a spectral gain, unit root mean square."""
    size = 1 << max(10, (samples - 1).bit_length())
    spectrum = rng.standard_normal(size // 2 + 1) + 1j * rng.standard_normal(size // 2 + 1)
    frequency_hz = np.arange(size // 2 + 1) * SAMPLE_RATE_HZ / size
    noise = np.fft.irfft(spectrum * gain(frequency_hz))[:samples]
    return np.asarray(noise / max(float(np.sqrt(np.mean(noise**2))), 1e-12))
