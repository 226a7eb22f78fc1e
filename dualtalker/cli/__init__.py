"""The `dualtalker` command."""

from __future__ import annotations

from dualtalker.cli.outputs import write_csv, write_face_video

__all__ = ["write_csv", "write_face_video"]
