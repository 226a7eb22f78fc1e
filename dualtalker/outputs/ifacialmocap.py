"""Sends faces as the app iFacialMocap does: one line of text a frame (UDP).

    jawOpen-12|mouthSmile_L-40|...|=head#x,y,z,px,py,pz|rightEye#x,y,z|leftEye#x,y,z|

Shapes are whole percents, angles degrees (ifacialmocap.com/for-developer). Axes are those of
ARKit's face: x to the face's own left, y up, z ahead, so that positive angles nod down, turn to
its own left and tilt to its own right, as the example there shows for the eyes.
"""

from __future__ import annotations

from urllib.parse import SplitResult

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.errors import OutputError
from dualtalker.outputs.live_link import list_live_link_values
from dualtalker.outputs.output import DatagramOutput
from dualtalker.stream import Frame


def _spell(name: str) -> str:
    """Sides are letters; mouthLeft and jawRight, of which there is no pair, stay."""
    for side, other in (("Left", "Right"), ("Right", "Left")):
        stem = name.removesuffix(side)
        if stem != name and stem not in ("jaw", "mouth") and f"{stem}{other}" in ARKIT_INDEX:
            return f"{stem}_{side[0]}"
    return name


_NAMES = tuple(_spell(name) for name in ARKIT_NAMES)


class IFacialMocapOutput(DatagramOutput):
    """A face for programs that listen to iFacialMocap, without their asking for it."""

    scheme, usual_port = "ifacialmocap", 49983

    def __init__(self, address: SplitResult) -> None:
        """Raises OutputError for an address that is none."""
        if address.path.strip("/"):
            raise OutputError(f"{address.geturl()}: found {address.path}; expected nothing")
        super().__init__(address)

    def encode(self, frame: Frame) -> list[bytes]:
        """Return one datagram; the head is nowhere but turned."""
        percents = np.round(100.0 * frame.weights).astype(int).tolist()
        shapes = "".join(f"{name}-{p}|" for name, p in zip(_NAMES, percents, strict=True))
        angles = np.rad2deg(list_live_link_values(frame.weights, frame.head)[52:])
        head, left, right = (
            f"{pitch:.4f},{yaw:.4f},{roll:.4f}" for yaw, pitch, roll in angles.reshape(3, 3)
        )
        return [f"{shapes}=head#{head},0,0,0|rightEye#{right}|leftEye#{left}|".encode("ascii")]
