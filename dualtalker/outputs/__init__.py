"""Ways out for faces that are not ours: files and protocols of other programs."""

from __future__ import annotations

from dualtalker.outputs.addresses import open_output, outputs_open
from dualtalker.outputs.face_glb import write_face_glb
from dualtalker.outputs.live_link_csv import check_live_link_rate, write_live_link_csv
from dualtalker.outputs.output import Output

__all__ = [
    "Output",
    "check_live_link_rate",
    "open_output",
    "outputs_open",
    "write_face_glb",
    "write_live_link_csv",
]
