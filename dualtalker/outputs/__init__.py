"""Ways out for faces that are not ours: files and protocols of other programs."""

from __future__ import annotations

from dualtalker.outputs.addresses import open_output, outputs_open
from dualtalker.outputs.face_glb import write_face_glb
from dualtalker.outputs.live_link_csv import check_live_link_rate, write_live_link_csv
from dualtalker.outputs.output import Output
from dualtalker.outputs.servo_motion import ServoMotion
from dualtalker.outputs.servos import Joint, Servos, find_joint, load_servos, write_limits

__all__ = [
    "Joint",
    "Output",
    "ServoMotion",
    "Servos",
    "check_live_link_rate",
    "find_joint",
    "load_servos",
    "open_output",
    "outputs_open",
    "write_face_glb",
    "write_limits",
    "write_live_link_csv",
]
