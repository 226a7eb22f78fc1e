"""Timecodes HH:MM:SS:FRAME: how they count frames, NTSC and drop-frame, and the seconds they mean.

At NTSC's rates a second of timecode is 1001 / 1000 s long: 24, 30 or 60 frames are counted, and
24000 / 1001, 30000 / 1001 or 60000 / 1001 come in a second. Drop-frame timecode (SMPTE ST 12-1)
keeps pace with the clock by leaving out the numbers 0 and 1 of frames (of 30; 0 to 3 of 60) at
each minute but each tenth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NOMINAL_RATES_HZ = (24, 25, 30, 50, 60)
_NTSC_COUNTS = (24, 30, 48, 60, 120)
_DROP_COUNTS = (30, 60, 120)


@dataclass(frozen=True)
class Counting:
    """How a file's timecodes count."""

    frames: int
    """Numbers of frames in a second of timecode."""
    is_ntsc: bool
    drop_frame: bool
    source: str
    """How that is known, in words; "assumed" where only the highest number tells it."""

    @property
    def rate_hz(self) -> float:
        """Frames in a second of the clock."""
        return self.frames * 1000 / 1001 if self.is_ntsc else float(self.frames)

    @property
    def other_hz(self) -> float | None:
        """What the rate may be as well; None where it is known."""
        is_open = self.source == "assumed" and self.frames in _NTSC_COUNTS
        return round(self.frames * 1000 / 1001, 3) if is_open else None

    def describe(self) -> str:
        """Return it in words: `timecode at 29.97 frames a second, drop-frame (by its numbers)`."""
        kind = ", drop-frame" if self.drop_frame else ""
        return f"timecode at {self.rate_hz:.5g} frames a second{kind} ({self.source})"


@dataclass(frozen=True)
class _Labels:
    minutes: np.ndarray  # [codes] since midnight
    seconds: np.ndarray
    frames: np.ndarray  # with the fraction
    has_semicolon: bool  # before the frames: the mark of drop-frame

    def count(self, frames: int, drop_frame: bool) -> np.ndarray:
        """Return frames since midnight before the first [codes] float64."""
        counts = (self.minutes * 60 + self.seconds) * frames + self.frames
        day = 86400 * frames
        if drop_frame:
            dropped = 2 * frames // 30  # at a minute
            counts = counts - dropped * (self.minutes - self.minutes // 10)
            day -= dropped * (1440 - 144)
        midnights = np.concatenate([[0], np.cumsum(np.diff(counts) < -day / 2)])
        return np.asarray(counts + midnights * day)


def parse_timecodes(codes: Sequence[str], rate_hz: float | None = None) -> np.ndarray:
    """Return seconds since the first of timecodes HH:MM:SS:FRAME or HH:MM:SS:FRAME.FRACTION.

    The fraction is one of a frame. `rate_hz` is how many frames are in a second, 23.976 or 29.97
    for NTSC; unless given, `find_counting` says it. A recording may pass midnight. Raises
    `ValueError`.
    """
    counting = find_counting(codes, rate_hz)
    counts = _read_labels(codes).count(counting.frames, counting.drop_frame)
    return np.asarray((counts - counts[0]) / counting.rate_hz)


def find_counting(codes: Sequence[str], rate_hz: float | None = None) -> Counting:
    """Tell how timecodes count.

    Without `rate_hz`, the smallest usual count above the largest number of a frame is assumed.
    Drop-frame is known by a semicolon before the frames, or by the numbers that are left out at
    full minutes; it comes at NTSC's rates alone. What counts every number may be NTSC or not: only
    `rate_hz` tells.

    Raises:
        ValueError: a code is none, or counts beyond the rate, or the rate is none.
    """
    labels = _read_labels(codes)
    largest = int(labels.frames.max())
    frames = next((n for n in NOMINAL_RATES_HZ if largest < n), None)
    is_ntsc = False
    if rate_hz is not None:
        frames, is_ntsc = _read_rate(rate_hz)
    if frames is None or largest >= frames:
        raise ValueError(f"timecodes count to frame {largest} of a second: give the rate")
    drop_frame = frames in _DROP_COUNTS and _drops(labels, frames)
    source = "as given" if rate_hz is not None else "assumed"
    if drop_frame:
        source = "by its semicolon" if labels.has_semicolon else "by its numbers"
    return Counting(frames, is_ntsc or drop_frame, drop_frame, source)


def _read_labels(codes: Sequence[str]) -> _Labels:
    rows = [code.strip().replace(";", ":").split(":") for code in codes]
    wrong = next((code for code, row in zip(codes, rows, strict=True) if len(row) != 4), None)
    if wrong is not None:
        raise ValueError(f"timecode {wrong[:40]!r} is not HH:MM:SS:FRAME.FRACTION")
    fields = np.array([[float(part) for part in row] for row in rows])
    if not np.isfinite(fields).all() or (fields < 0).any():
        raise ValueError("timecodes hold negative or infinite numbers")
    whole, limits = fields[:, :3], np.array([1000, 60, 60])
    if (whole != np.floor(whole)).any() or (whole >= limits).any() or (fields[:, 3] >= 1000).any():
        raise ValueError("timecodes hold hours, minutes, seconds or frames that are none")
    hours, minutes, seconds, frames = fields.T
    has_semicolon = codes[0].strip()[:-1].rfind(";") > codes[0].rfind(":")
    return _Labels(hours * 60 + minutes, seconds, frames, has_semicolon)


def _read_rate(rate_hz: float) -> tuple[int, bool]:
    """Return the count of a rate in Hz, and whether it is NTSC's."""
    if float(rate_hz).is_integer() and 1 <= rate_hz <= 1000:
        return int(rate_hz), False
    nearest = next((n for n in _NTSC_COUNTS if abs(n * 1000 / 1001 - rate_hz) < 0.011), None)
    if nearest is None:
        rates = ", ".join(f"{n * 1000 / 1001:.5g}" for n in _NTSC_COUNTS)
        raise ValueError(f"{rate_hz:g} frames a second; expected a whole number, or {rates}")
    return nearest, True


def _drops(labels: _Labels, frames: int) -> bool:
    """Whether the numbers at full minutes are left out, or marked as such and never there."""
    at_minute = (labels.seconds == 0) & (labels.minutes % 10 != 0)
    if (at_minute & (labels.frames < 2 * frames // 30)).any():
        return False
    if labels.has_semicolon:
        return True
    steps, drop_steps = (np.diff(labels.count(frames, drop)) for drop in (False, True))
    crossing = steps != drop_steps
    if not crossing.any() or crossing.all():
        return False
    usual = float(np.median(steps[~crossing]))
    # A gap over a full minute tells nothing: only steps that are as usual count.
    votes, drop_votes = ((np.abs(s[crossing] - usual) < 0.75).sum() for s in (steps, drop_steps))
    return bool(drop_votes > votes)
