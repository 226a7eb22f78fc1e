"""Motion of a face as CSV: ours, read and written; Live Link Face's and FACEGOOD's, read.

Understood: `time_s` plus ARKit names (ours), the CSV of Live Link Face, and FACEGOOD's rounding
channels. Without pandas or scipy: a robot reads these, too.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, HEAD_NAMES
from dualtalker.errors import MotionError
from dualtalker.files import written_whole

NOMINAL_RATES_HZ = (24.0, 25.0, 30.0, 50.0, 60.0)
_DAY_S = 86400.0

# FACEGOOD's table to ARKit leaves out its two rounding channels, yet after the jaw they are the
# most active of all. The animators use "oh" for [o u w] at any jaw height (in clip 3_16 it takes
# the place of mouthPucker altogether) and "oo" for a tighter round. Both push the corners in
# (pucker); the more open one also flares the lips (funnel). The gains are our choice: the sums
# keep clear of 1 (99th percentiles by clip: funnel 0.27-0.65, pucker 0.37-0.74).
EXTRA_CHANNELS: dict[str, dict[str, float]] = {
    "x_mouth_oh_c": {"mouthFunnel": 0.4, "mouthPucker": 0.5},
    "x_mouth_oo_c": {"mouthFunnel": 0.1, "mouthPucker": 0.7},
}

_LIVE_LINK_COLUMNS = {"timecode", "blendshapecount"}
_HEAD_COLUMNS = re.compile(r"^(head|lefteye|righteye)(yaw|pitch|roll)$")


def read_motion_csv(
    path: Path, timecode_rate_hz: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return times in seconds [rows] and weights float64 [rows, 52] in [0, 1] of a motion CSV.

    Rows that repeat the timecode of the row before are left out. `timecode_rate_hz` is how many
    frames the timecode counts in a second, by default the usual rate that fits.

    Raises:
        MotionError: the file cannot be read, or is no such CSV; the text says where and why.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MotionError(f"{path}: not a readable CSV ({error})") from error
    if len(rows) < 3:
        raise MotionError(f"{path}: expected a header and at least two frames")
    header = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise MotionError(
                f"{path}: line {number} has {len(row)} fields, the header {len(header)}"
            )
    if header[0].lower() == "timecode":
        times_s = _timecodes(path, [row[0] for row in rows[1:]], timecode_rate_hz)
        fresh = np.concatenate([[True], np.diff(times_s) != 0])
        times_s = times_s[fresh]
        rows = [rows[0], *itertools.compress(rows[1:], fresh)]
    elif header[0] == "time_s":
        times_s = _numbers(path, rows, [0])[:, 0]
    else:
        raise MotionError(f"{path}: first column is {header[0]!r}, expected time_s or Timecode")
    if not (np.diff(times_s) > 0).all():
        row_number = int(np.argmin(np.diff(times_s))) + 3
        raise MotionError(f"{path}: time does not increase at line {row_number}")
    return times_s, _fold(path, header, rows)


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


def _fold(path: Path, header: list[str], rows: list[list[str]]) -> np.ndarray:
    """Return weights [rows, 52]: known columns in place, extra ones added by their gains."""
    by_name = {name.lower(): index for name, index in ARKIT_INDEX.items()}
    weights = np.zeros((len(rows) - 1, len(ARKIT_NAMES)))
    known = 0
    for column, name in enumerate(header[1:], start=1):
        key = name.lower()
        if key in _LIVE_LINK_COLUMNS or _HEAD_COLUMNS.match(key):
            continue
        if key in by_name:
            weights[:, by_name[key]] += _numbers(path, rows, [column])[:, 0]
            known += 1
        elif name in EXTRA_CHANNELS:
            values = _numbers(path, rows, [column])[:, 0]
            for target, gain in EXTRA_CHANNELS[name].items():
                weights[:, ARKIT_INDEX[target]] += gain * values
        else:
            raise MotionError(
                f"{path}: column {name!r} is no ARKit name ({', '.join(ARKIT_NAMES)})"
            )
    if not known:
        raise MotionError(f"{path}: no column is an ARKit name")
    return np.clip(weights, 0.0, 1.0)


def _numbers(path: Path, rows: list[list[str]], columns: list[int]) -> np.ndarray:
    try:
        values = np.array([[float(row[column]) for column in columns] for row in rows[1:]])
    except ValueError as error:
        raise MotionError(f"{path}: {error} in column {rows[0][columns[0]]!r}") from error
    if not np.isfinite(values).all():
        raise MotionError(f"{path}: column {rows[0][columns[0]]!r} holds NaN or infinity")
    return values


def _timecodes(path: Path, codes: list[str], rate_hz: float | None) -> np.ndarray:
    """Return seconds since the first row of Live Link Face timecodes."""
    try:
        return parse_timecodes(codes, rate_hz)
    except ValueError as error:
        raise MotionError(f"{path}: {error}") from error


def write_motion_csv(
    path: Path, times_s: np.ndarray, weights: np.ndarray, head: np.ndarray | None = None
) -> None:
    """Write `time_s` and the 52 ARKit weights, in Apple's order, one line a frame.

    `times_s` [frames], `weights` [frames, 52]; `head` [frames, 3] radians adds the columns
    `HEAD_NAMES`.
    """
    names, values = ARKIT_NAMES, weights
    if head is not None:
        names, values = (*ARKIT_NAMES, *HEAD_NAMES), np.concatenate([weights, head], axis=1)
    with written_whole(path) as temporary, temporary.open("w", encoding="ascii") as file:
        file.write(",".join(("time_s", *names)) + "\n")
        for time_s, row in zip(times_s, values, strict=True):
            file.write(f"{time_s:.6f}," + ",".join(f"{value:.6g}" for value in row) + "\n")
