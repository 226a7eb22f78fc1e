"""The talker: audio in, frames out, on one clock of samples."""

from __future__ import annotations

from dualtalker.stream.animation import Animation, animate
from dualtalker.stream.clock import FrameClock
from dualtalker.stream.frames import Frame, TimedFrame
from dualtalker.stream.known_text import MAX_PHONES
from dualtalker.stream.sources import EXACT_S, MAX_LATE_S, STAMPS, StampSource
from dualtalker.stream.talker import Talker

__all__ = [
    "EXACT_S",
    "MAX_LATE_S",
    "MAX_PHONES",
    "STAMPS",
    "Animation",
    "Frame",
    "FrameClock",
    "StampSource",
    "Talker",
    "TimedFrame",
    "animate",
]
