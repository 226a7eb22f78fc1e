"""Writes faces as the app Live Link Face does: CSV for MetaHuman, Blender and Maya."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dualtalker.errors import MotionError
from dualtalker.evaluation import NOMINAL_RATES_HZ
from dualtalker.files import written_whole
from dualtalker.outputs.live_link import LIVE_LINK_NAMES, list_live_link_values

# The app's columns are in Unreal's order, but for these pairs, which it writes right side first.
_SWAPPED = {"JawLeft": "JawRight", "MouthLeft": "MouthRight"}
_SWAPPED |= {right: left for left, right in _SWAPPED.items()}
LIVE_LINK_COLUMNS: tuple[str, ...] = tuple(_SWAPPED.get(name, name) for name in LIVE_LINK_NAMES)
_ORDER = [LIVE_LINK_NAMES.index(name) for name in LIVE_LINK_COLUMNS]


def check_live_link_rate(fps: float) -> int:
    """Return a frame rate that a timecode counts; MotionError for others."""
    if fps not in NOMINAL_RATES_HZ:
        rates = ", ".join(f"{rate:g}" for rate in NOMINAL_RATES_HZ)
        raise MotionError(
            f"{fps:g} frames per second cannot be told by the timecodes of Live Link Face; "
            f"expected one of {rates}: give --fps 60, as the app records"
        )
    return int(fps)


def write_live_link_csv(
    path: Path, weights: np.ndarray, fps: float = 60.0, head: np.ndarray | None = None
) -> None:
    """Write weights [frames, 52] and the head's angles [frames, 3] (rad), one row a frame.

    Timecodes begin at 00:00:00:00.000; those of less than a second end with its last frame, so
    that a reader can tell the rate. Values are read back as the same float32.

    Raises:
        MotionError: timecodes do not count to `fps`.
    """
    rate = check_live_link_rate(fps)
    values = list_live_link_values(weights, head)[:, _ORDER]
    first = max(rate - len(values), 0)
    with written_whole(path) as temporary, temporary.open("w", encoding="ascii") as file:
        file.write(",".join(("Timecode", "BlendShapeCount", *LIVE_LINK_COLUMNS)) + "\n")
        for frame, row in enumerate(values, start=first):
            told = (np.format_float_positional(value, trim="0") for value in row)
            file.write(f"{_tell_timecode(frame, rate)},{len(row)},{','.join(told)}\n")


def _tell_timecode(frame: int, rate: int) -> str:
    seconds = frame // rate
    minutes, hours = seconds // 60, seconds // 3600
    return f"{hours % 24:02d}:{minutes % 60:02d}:{seconds % 60:02d}:{frame % rate:02d}.000"
