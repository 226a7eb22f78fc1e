"""Turns Live Link Face's timecodes into seconds, and tells how regular a recording is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NOMINAL_RATES_HZ = (24.0, 25.0, 30.0, 50.0, 60.0)
_DAY_S = 86400.0


@dataclass(frozen=True)
class Timing:
    """How regular a recording's frames are.

    rate_hz: of most frames. dropped: frames that are missing between others. longest_gap_s:
    between two frames.
    """

    rate_hz: float
    dropped: int
    longest_gap_s: float


def parse_timecodes(codes: Sequence[str], rate_hz: float | None = None) -> np.ndarray:
    """Return seconds since the first of timecodes HH:MM:SS:FRAME or HH:MM:SS:FRAME.FRACTION.

    The fraction is one of a frame. The number of frames in a second is not in the file: it is the
    smallest usual rate above the largest frame number, unless given. A recording may pass
    midnight. Raises `ValueError`.
    """
    rows = [code.strip().replace(";", ":").split(":") for code in codes]
    if any(len(row) != 4 for row in rows):
        raise ValueError(f"timecode {codes[0]!r} is not HH:MM:SS:FRAME.FRACTION")
    fields = np.array([[float(part) for part in row] for row in rows])
    if not np.isfinite(fields).all() or (fields < 0).any():
        raise ValueError("timecodes hold negative or infinite numbers")
    hours, minutes, seconds, frames = fields.T
    if rate_hz is None:
        rate_hz = next((r for r in NOMINAL_RATES_HZ if np.floor(frames.max()) < r), None)
    if rate_hz is None or np.floor(frames.max()) >= rate_hz:
        raise ValueError(f"timecodes count to frame {frames.max():.0f} of a second: give the rate")
    times_s = hours * 3600 + minutes * 60 + seconds + frames / rate_hz
    midnights = np.concatenate([[0], np.cumsum(np.diff(times_s) < -_DAY_S / 2)])
    times_s = times_s + midnights * _DAY_S
    return np.asarray(times_s - times_s[0])


def describe_timing(times_s: np.ndarray) -> Timing:
    """Return how regular increasing times [rows] in seconds are."""
    steps_s = np.diff(times_s)
    usual_s = float(np.median(steps_s))
    missing = np.maximum(np.round(steps_s / usual_s) - 1, 0)
    return Timing(1.0 / usual_s, int(missing.sum()), float(steps_s.max()))
