"""Tells how regular the frames of a recording are. Reading timecodes is in the library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """How regular a recording's frames are.

    rate_hz: of most frames. dropped: frames that are missing between others. longest_gap_s:
    between two frames.
    """

    rate_hz: float
    dropped: int
    longest_gap_s: float


def describe_timing(times_s: np.ndarray) -> Timing:
    """Return how regular increasing times [rows] in seconds are."""
    steps_s = np.diff(times_s)
    usual_s = float(np.median(steps_s))
    missing = np.maximum(np.round(steps_s / usual_s) - 1, 0)
    return Timing(1.0 / usual_s, int(missing.sum()), float(steps_s.max()))
