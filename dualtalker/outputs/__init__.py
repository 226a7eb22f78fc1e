"""Ways out for faces that are not ours: files for other programs."""

from __future__ import annotations

from dualtalker.outputs.face_glb import write_face_glb
from dualtalker.outputs.live_link_csv import check_live_link_rate, write_live_link_csv

__all__ = ["check_live_link_rate", "write_face_glb", "write_live_link_csv"]
