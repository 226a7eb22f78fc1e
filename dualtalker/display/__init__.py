"""The face on screens: a server of frames and sound for browsers, and what plays into it."""

from __future__ import annotations

from dualtalker.display.face_file import FaceFile, load_face
from dualtalker.display.kiosk import browser_open
from dualtalker.display.live import LiveFace, Microphone, pace_recording
from dualtalker.display.player import FacePlayer, Performance, read_performance
from dualtalker.display.server import PORT, FaceServer
from dualtalker.display.show_delay import ShowDelay
from dualtalker.display.stepped_clock import SteppedClock
from dualtalker.display.tokens import keep_token

__all__ = [
    "PORT",
    "FaceFile",
    "FacePlayer",
    "FaceServer",
    "LiveFace",
    "Microphone",
    "Performance",
    "ShowDelay",
    "SteppedClock",
    "browser_open",
    "keep_token",
    "load_face",
    "pace_recording",
    "read_performance",
]
