"""The face on screens: a server of frames and sound for browsers, and what plays into it."""

from __future__ import annotations

from dualtalker.display.face_file import FaceFile, load_face
from dualtalker.display.server import PORT, FaceServer

__all__ = ["PORT", "FaceFile", "FaceServer", "load_face"]
