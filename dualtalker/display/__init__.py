"""The face on screens: a server of frames and sound for browsers, and what plays into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dualtalker.display.access import Access, list_addresses
from dualtalker.display.face_file import FaceFile, load_face
from dualtalker.display.kiosk import browser_open
from dualtalker.display.live import LiveFace, Microphone, pace_recording
from dualtalker.display.player import FacePlayer, Performance, read_performance
from dualtalker.display.server import FaceServer
from dualtalker.display.serving import PORT, ServerThread, make_http_server
from dualtalker.display.show_delay import ShowDelay
from dualtalker.display.stepped_clock import SteppedClock
from dualtalker.display.tokens import keep_token

if TYPE_CHECKING:
    from dualtalker.display.handlers import POLICY, Guard, Guarded

__all__ = [
    "POLICY",
    "PORT",
    "Access",
    "FaceFile",
    "FacePlayer",
    "FaceServer",
    "Guard",
    "Guarded",
    "LiveFace",
    "Microphone",
    "Performance",
    "ServerThread",
    "ShowDelay",
    "SteppedClock",
    "browser_open",
    "keep_token",
    "list_addresses",
    "load_face",
    "make_http_server",
    "pace_recording",
    "read_performance",
]


def __getattr__(name: str) -> Any:
    """Import what needs Tornado when it is first used."""
    if name not in ("POLICY", "Guard", "Guarded"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dualtalker.display import handlers

    return getattr(handlers, name)
