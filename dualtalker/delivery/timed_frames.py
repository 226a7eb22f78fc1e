"""Frames with the times that belong to them on their way out. Plans nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dualtalker.frame import Frame


@dataclass(frozen=True)
class TimedFrame:
    """A frame and its two times."""

    frame: Frame
    stamp_ns: int  # the instant it depicts, on the clock of the audio stamps
    due_ns: int  # when it goes out, on the node's clock
    depicted_ns: int  # the instant it depicts, on the node's clock


class WaitingFrame(NamedTuple):
    """A frame that waits to go out, with the times of a `TimedFrame`."""

    frame: Frame
    stamp_ns: int
    depicted_ns: int
