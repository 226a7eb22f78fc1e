"""Estimates how late a recording's sound is against its picture. Shifts nothing itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualtalker.arkit import ARKIT_INDEX
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


def estimate_offset(audio: np.ndarray, times_s: np.ndarray, weights: np.ndarray) -> Offset:
    """Compare mouth and sound at shifts up to half a second either way.

    audio [samples] at 16 kHz; times_s [rows] in seconds of the sound's clock; weights [rows, 52].
    The mouth is represented by its opening (jawOpen less mouthClose) and by the speed of that
    opening, the sound by its level in dB and the level's rate of change; the correlations of the
    two pairs are averaged. What is slower than a second is taken out first. Speech moves the lips
    a little before it sounds, so a perfect recording may well measure up to some 30 ms.
    """
    duration_s = min(len(audio) / SAMPLE_RATE_HZ, float(times_s[-1]))
    if duration_s < MIN_DURATION_S:
        return Offset(0.0, 0.0, 0.0, False)
    grid_s = np.arange(int(duration_s * GRID_HZ)) / GRID_HZ
    opening = weights[:, ARKIT_INDEX["jawOpen"]] - weights[:, ARKIT_INDEX["mouthClose"]]
    mouth = _smooth(np.interp(grid_s, times_s, np.maximum(opening, 0.0)))
    level = _smooth(_measure_level_db(audio, len(grid_s)))
    pairs = [(_detrend(mouth), _detrend(level)), (np.gradient(mouth), np.gradient(level))]
    reach = int(REACH_S * GRID_HZ)
    lags = np.arange(-reach, reach + 1)
    scores = np.mean([[_correlate(m, s, int(lag)) for lag in lags] for m, s in pairs], axis=0)
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
        confident=inside and correlation >= MIN_CORRELATION and confidence >= MIN_CONFIDENCE,
    )


def _measure_level_db(audio: np.ndarray, count: int) -> np.ndarray:
    """Return the level around each grid point in dB, no lower than 45 dB below the peak."""
    from dualtalker.evaluation import measure_loudness

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
