"""Finds how late a recording's sound is against its picture, from mouth opening and loudness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualtalker.evaluation import measure_loudness
from training.data import SAMPLE_RATE_HZ

GRID_HZ = 100
REACH_S = 0.5
MIN_DURATION_S = 2.0
# A shift is only believed where the curves agree this much, and clearly better than at any other
# place; docs/datasets.md gives the measurement behind both.
MIN_CORRELATION = 0.4
MIN_CONFIDENCE = 4.0
_RIVAL_DISTANCE_S = 0.15


@dataclass(frozen=True)
class Offset:
    """How late the sound is.

    offset_ms: positive where the sound comes after the mouth; add it to the motion's times.
    correlation: of mouth and loudness at that shift. confidence: by how many standard errors the
    correlation there exceeds the best one over 150 ms away. confident: whether to believe it.
    """

    offset_ms: float
    correlation: float
    confidence: float
    confident: bool


def measure_offset(audio: np.ndarray, times_s: np.ndarray, opening: np.ndarray) -> Offset:
    """Compare a mouth's opening with the sound at shifts up to half a second either way.

    audio [samples] at 16 kHz; times_s [rows] in seconds of the sound's clock; opening [rows] in
    any unit. The mouth is represented by its opening and by the speed of that opening, the sound
    by its level in dB and the level's rate of change; the correlations of the two pairs are
    averaged. What is slower than a second is taken out first. Speech moves the lips a little
    before it sounds, so a perfect recording may well measure up to some 30 ms.
    """
    duration_s = min(len(audio) / SAMPLE_RATE_HZ, float(times_s[-1]))
    if duration_s < MIN_DURATION_S:
        return Offset(0.0, 0.0, 0.0, False)
    grid_s = np.arange(int(duration_s * GRID_HZ)) / GRID_HZ
    mouth = _smooth(np.interp(grid_s, times_s, opening))
    level = _smooth(_measure_level_db(audio, len(grid_s)))
    scores = _score_shifts(_detrend(mouth), _detrend(level))
    scores += _score_shifts(np.gradient(mouth), np.gradient(level))
    return choose_offset(scores / 2, duration_s, MIN_CORRELATION, MIN_CONFIDENCE)


def score_lips(
    audio: np.ndarray, times_s: np.ndarray, gap: np.ndarray
) -> tuple[np.ndarray, float]:
    """Correlate lips as a camera sees them with the sound, [shifts]; and how many seconds.

    gap [rows] between the lips. Compared are its speed and that of the square root of the
    loudness between 250 and 3500 Hz, where vowels are; what the curves do more slowly says less
    (docs/datasets.md). Zeros where there are less than two seconds.
    """
    from scipy.signal import butter, sosfiltfilt

    duration_s = min(len(audio) / SAMPLE_RATE_HZ, float(times_s[-1]))
    if duration_s < MIN_DURATION_S:
        return np.zeros(2 * int(REACH_S * GRID_HZ) + 1), 0.0
    grid_s = np.arange(int(duration_s * GRID_HZ)) / GRID_HZ
    band = butter(2, (250, 3500), "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    loudness = measure_loudness(sosfiltfilt(band, audio), SAMPLE_RATE_HZ, grid_s)
    mouth = _smooth(np.interp(grid_s, times_s, gap))
    return _score_shifts(np.gradient(mouth), np.gradient(_smooth(np.sqrt(loudness)))), duration_s


def choose_offset(
    scores: np.ndarray, duration_s: float, min_correlation: float, min_confidence: float
) -> Offset:
    """Return the shift that correlates best; scores [shifts] from -0.5 to 0.5 s.

    The mean of several recordings' scores, weighted by their durations, is as good as the scores
    of one recording of that length.
    """
    lags = np.arange(len(scores)) - len(scores) // 2
    best = int(np.argmax(scores))
    shift = _refine(scores, best)
    rivals = scores[np.abs(lags - lags[best]) > _RIVAL_DISTANCE_S * GRID_HZ]
    # About six independent values a second: that is how fast syllables come and go.
    error = 1.0 / np.sqrt(max(duration_s * 6.0 - 3.0, 1.0))
    gain = np.arctanh(min(scores[best], 0.999)) - np.arctanh(max(float(rivals.max()), -0.999))
    confidence = float(gain / error)
    correlation = float(scores[best])
    inside = 0 < best < len(scores) - 1
    return Offset(
        offset_ms=float(lags[best] + shift) * 1000.0 / GRID_HZ,
        correlation=correlation,
        confidence=confidence,
        confident=inside and correlation >= min_correlation and confidence >= min_confidence,
    )


def _measure_level_db(audio: np.ndarray, count: int) -> np.ndarray:
    """Return the level around each grid point in dB, no lower than 45 dB below the peak."""
    loudness = measure_loudness(audio, SAMPLE_RATE_HZ, np.arange(count) / GRID_HZ)
    level_db = 20.0 * np.log10(np.maximum(loudness, 1e-9))
    return np.maximum(level_db, level_db.max() - 45.0)


def _smooth(curve: np.ndarray) -> np.ndarray:
    """Take out what is faster than speech movements: a 50 ms Hann window."""
    window = np.hanning(7)
    return np.convolve(np.pad(curve, 3, mode="edge"), window / window.sum(), mode="valid")


def _detrend(curve: np.ndarray) -> np.ndarray:
    width = GRID_HZ | 1
    padded = np.pad(curve, width // 2, mode="reflect")
    return curve - np.convolve(padded, np.ones(width) / width, mode="valid")


def _score_shifts(mouth: np.ndarray, sound: np.ndarray) -> np.ndarray:
    reach = int(REACH_S * GRID_HZ)
    return np.array([_correlate(mouth, sound, lag) for lag in range(-reach, reach + 1)])


def _correlate(mouth: np.ndarray, sound: np.ndarray, lag: int) -> float:
    """Correlate where `sound` is taken `lag` grid points later than `mouth`."""
    early = mouth[max(-lag, 0) : len(mouth) - max(lag, 0)]
    late = sound[max(lag, 0) : len(sound) - max(-lag, 0)]
    early, late = early - early.mean(), late - late.mean()
    scale = float(np.sqrt((early**2).sum() * (late**2).sum()))
    return float((early * late).sum() / scale) if scale > 1e-12 else 0.0


def _refine(scores: np.ndarray, best: int) -> float:
    """Return the peak's place between grid points, by a parabola through its neighbors."""
    if not 0 < best < len(scores) - 1:
        return 0.0
    left, middle, right = scores[best - 1 : best + 2]
    bend = left - 2 * middle + right
    return float(0.5 * (left - right) / bend) if abs(bend) > 1e-12 else 0.0
