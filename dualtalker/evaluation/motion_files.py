"""Motion of a face as CSV: ours, read and written; those of other programs, read.

Understood: `time_s` plus ARKit names (ours), the CSVs of Live Link Face and Audio2Face, weights
of MediaPipe with a time beside them, FACEGOOD's rounding channels; names in every spelling of
`dualtalker.rig.read_name`. Without pandas or scipy: a robot reads these, too.
"""

from __future__ import annotations

import csv
import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, HEAD_NAMES
from dualtalker.errors import MotionError
from dualtalker.evaluation.timecodes import Counting, find_counting, parse_timecodes
from dualtalker.files import check_file, written_whole

_log = logging.getLogger("dualtalker")

MAX_BYTES = 1 << 28  # hours of motion
_MAX_LINE, _MAX_CELL, _MAX_COLUMNS = 1 << 15, 64, 1024
_MAX_LINES = 500_000  # two hours at 60 Hz
_MAX_HELD = 1 << 29  # bytes of all cells
_BLOCK_ROWS = 1024

# FACEGOOD's table to ARKit leaves out its two rounding channels, yet after the jaw they are the
# most active of all. The animators use "oh" for [o u w] at any jaw height (in clip 3_16 it takes
# the place of mouthPucker altogether) and "oo" for a tighter round. Both push the corners in
# (pucker); the more open one also flares the lips (funnel). The gains are our choice: the sums
# keep clear of 1 (99th percentiles by clip: funnel 0.27-0.65, pucker 0.37-0.74).
EXTRA_CHANNELS: dict[str, dict[str, float]] = {
    "x_mouth_oh_c": {"mouthFunnel": 0.4, "mouthPucker": 0.5},
    "x_mouth_oo_c": {"mouthFunnel": 0.1, "mouthPucker": 0.7},
}

# Seconds in one unit of a column of times; 0 where the numbers tell it.
_TIME_COLUMNS = {
    "time_s": 1.0,
    "timestamp_s": 1.0,
    "timecode": 1.0,
    "time_ms": 1e-3,
    "timestamp_ms": 1e-3,
    "time": 0.0,
    "timestamp": 0.0,
}
_NUMBER_COLUMNS = {"", "unnamed: 0", "index", "frame", "frame_index"}  # pandas writes the first
# Of no shape of ARKit's: Live Link Face's count, MediaPipe's rest, heads, eyes and Audio2Face's
# tongue.
_IGNORED_COLUMNS = re.compile(
    r"blendshapecount|_neutral|(head|lefteye|righteye)(yaw|pitch|roll)"
    r"|(blendshapes\.)?tongue(tip|roll)?(up|down|left|right|in|stretch|wide|narrow)"
)


@dataclass(frozen=True)
class MotionTable:
    """A motion as it was read."""

    times_s: np.ndarray
    """[rows], increasing."""
    weights: np.ndarray
    """[rows, 52] float64 in [0, 1]."""
    counting: Counting | None
    """How its timecodes count; None where it holds seconds."""


def read_motion_csv(
    path: Path, timecode_rate_hz: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return times and weights as `read_motion_table` does; what rate was assumed is logged."""
    table = read_motion_table(path, timecode_rate_hz)
    if table.counting is not None and (other_hz := table.counting.other_hz):
        _log.warning("%s: %s; it may be %g", path, table.counting.describe(), other_hz)
    return table.times_s, table.weights


def read_motion_table(path: Path, timecode_rate_hz: float | None = None) -> MotionTable:
    """Read times in seconds [rows] and weights float64 [rows, 52] in [0, 1] of a motion CSV.

    Rows that repeat the timecode of the row before are left out. `timecode_rate_hz` is how many
    frames are in a second of the timecode (`find_counting`). A weight of a part, such as
    `browInnerUp_L`, is averaged with those of the other parts.

    Raises:
        MotionError: the file cannot be read, or is no such CSV; the text says where and why.
    """
    check_file(path, MotionError, "a motion CSV", MAX_BYTES)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            cells = _read_cells(path, stream)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MotionError(f"{path}: not a readable CSV ({error})") from error
    column = _find_time(path, cells.header)
    codes = cells.column(column)
    counting = None
    if ":" in codes[0] or ";" in codes[0]:
        try:
            counting = find_counting(codes, timecode_rate_hz)
            times_s = parse_timecodes(codes, timecode_rate_hz)
        except ValueError as error:
            raise MotionError(f"{path}: {error}") from error
    else:
        times_s = _read_times(cells, column)
    weights = _fold(cells, column)
    if counting is not None:
        fresh = np.concatenate([[True], np.diff(times_s) != 0])
        times_s, weights = times_s[fresh], weights[fresh]
    if not (np.diff(times_s) > 0).all():
        row_number = int(np.argmin(np.diff(times_s))) + 3
        raise MotionError(f"{path}: time does not increase at line {row_number}")
    return MotionTable(times_s, weights, counting)


@dataclass(frozen=True)
class _Cells:
    """A table of text in little memory."""

    path: Path
    header: list[str]
    blocks: list[np.ndarray]  # each [rows, columns] bytes

    def column(self, index: int) -> list[str]:
        return [cell.decode() for block in self.blocks for cell in block[:, index].tolist()]

    def numbers(self, index: int) -> np.ndarray:
        """Return a column [rows] float64; MotionError where it holds anything else."""
        name = self.header[index]
        try:
            values = np.array([float(cell) for cell in self.column(index)])
        except ValueError as error:
            raise MotionError(f"{self.path}: {error} in column {name!r}") from error
        if not np.isfinite(values).all():
            raise MotionError(f"{self.path}: column {name!r} holds NaN or infinity")
        return values


def _read_cells(path: Path, stream: TextIO) -> _Cells:
    rows = (row for row in csv.reader(_read_lines(path, stream)) if row)
    header = [name.strip() for name in next(rows, [])]
    if len(header) > _MAX_COLUMNS:
        raise MotionError(f"{path}: {len(header)} columns; expected one a shape and the time")
    _refuse_doubles(path, header)
    if header:  # before the rows, which may be many
        _sort_columns(path, header, _find_time(path, header))
    blocks, number = [], 1
    while block := list(itertools.islice(rows, _BLOCK_ROWS)):
        for row in block:
            number += 1
            if len(row) != len(header):
                raise MotionError(
                    f"{path}: line {number} has {len(row)} fields, the header {len(header)}"
                )
            if len(longest := max(row, key=len)) > _MAX_CELL:
                raise MotionError(f"{path}: line {number} holds {longest[:40]!r}..., no number")
        blocks.append(np.array([[cell.encode() for cell in row] for row in block]))
        if sum(held.nbytes for held in blocks) > _MAX_HELD:
            raise MotionError(f"{path}: more than a motion of two hours; cut it into parts")
    if number < 3:
        raise MotionError(f"{path}: expected a header and at least two frames")
    return _Cells(path, header, blocks)


def _read_lines(path: Path, stream: TextIO) -> Iterator[str]:
    count = 0
    while line := stream.readline(_MAX_LINE):
        count += 1
        if count > _MAX_LINES:
            raise MotionError(f"{path}: more than {_MAX_LINES} lines; cut it into parts")
        if len(line) == _MAX_LINE:
            raise MotionError(f"{path}: a line of more than {_MAX_LINE} characters; no motion CSV")
        yield line


def _refuse_doubles(path: Path, header: list[str]) -> None:
    counts = Counter(header)
    doubles = sorted(name for name, count in counts.items() if name and count > 1)
    if doubles:
        raise MotionError(
            f"{path}: found more than one column {', '.join(map(repr, doubles[:8]))}; keep one of "
            "each"
        )


def _find_time(path: Path, header: list[str]) -> int:
    """Return the column of times: the first, or the first after numbers of rows."""
    for column, name in enumerate(header):
        if name.lower() in _TIME_COLUMNS:
            return column
        if name.lower() not in _NUMBER_COLUMNS:
            break
    raise MotionError(
        f"{path}: first column is {header[0]!r}, expected time_s, Timecode or timestamp_ms"
    )


def _read_times(cells: _Cells, column: int) -> np.ndarray:
    path, name = cells.path, cells.header[column]
    try:
        times = cells.numbers(column)
    except MotionError as error:
        if name.lower() != "timecode":
            raise
        raise MotionError(
            f"{error}: a timecode is HH:MM:SS:FRAME, or a number of seconds"
        ) from error
    unit_s = _TIME_COLUMNS[name.lower()]
    if not unit_s:  # frames are 4 to 1000 ms apart, so the numbers tell
        is_ms = float(np.median(np.diff(times))) >= 1.0
        unit_s = 1e-3 if is_ms else 1.0
        _log.warning("%s: column %r taken as %s", path, name, "ms" if is_ms else "seconds")
    return times * unit_s


def _fold(cells: _Cells, time_column: int) -> np.ndarray:
    """Return weights [rows, 52]: known columns in place, extra ones added by their gains."""
    path, header = cells.path, cells.header
    weights = np.zeros((sum(map(len, cells.blocks)), len(ARKIT_NAMES)))
    sums: dict[str, list[np.ndarray]] = {}
    for (name, _), column in _sort_columns(path, header, time_column).items():
        values = cells.numbers(column)
        for target in _list_targets(name):
            sums.setdefault(target, []).append(values)
    if not sums:
        raise MotionError(f"{path}: no column is an ARKit name")
    for target, parts in sums.items():
        weights[:, ARKIT_INDEX[target]] = np.mean(parts, axis=0)
    for name, gains in EXTRA_CHANNELS.items():
        if name in header:
            values = cells.numbers(header.index(name))
            for target, gain in gains.items():
                weights[:, ARKIT_INDEX[target]] += gain * values
    return np.clip(weights, 0.0, 1.0)


def _sort_columns(path: Path, header: list[str], time_column: int) -> dict[tuple[str, str], int]:
    """Return the columns of weights by (shape, part of it); MotionError where two mean one."""
    from dualtalker.rig import read_name  # not for those who only write

    columns: dict[tuple[str, str], int] = {}
    claims: dict[str, dict[str, str]] = {}  # by the shape: the column by the part of it
    for column, name in enumerate(header[time_column + 1 :], start=time_column + 1):
        if _IGNORED_COLUMNS.fullmatch(name.lower()) or name in EXTRA_CHANNELS:
            continue
        meaning = read_name(name)
        targets = _list_targets(meaning.name) if meaning else ()
        if meaning is None or not targets:
            raise MotionError(
                f"{path}: column {name!r} is no ARKit name ({', '.join(ARKIT_NAMES)})"
            )
        for target in targets:
            parts = claims.setdefault(target, {})
            # A whole shape and a part of it say two things of one, too.
            other = parts.get(meaning.part) or (
                parts.get("") if meaning.part else next(iter(parts.values()), None)
            )
            if other is not None:
                raise MotionError(
                    f"{path}: columns {other!r} and {name!r} both mean {target}; keep one"
                )
            parts[meaning.part] = name
        columns[meaning.name, meaning.part] = column
    return columns


def _list_targets(name: str) -> tuple[str, ...]:
    """ARKit's shapes of a name: itself, or both sides of a stem such as `mouthSmile`."""
    if name in ARKIT_INDEX:
        return (name,)
    return tuple(side for side in (f"{name}Left", f"{name}Right") if side in ARKIT_INDEX)


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
        line = "%.6f" + len(names) * ",%.6g" + "\n"
        for time_s, row in zip(times_s, values, strict=True):
            file.write(line % (time_s, *row.tolist()))
