"""Sends faces to VRChat (OSC) as VRCFaceTracking does: avatar parameters of Unified Expressions.

Names, ranges and which side is positive are those of docs.vrcft.io (VRCFaceTracking Parameters);
which of ARKit's shapes make them, those of its modules for ARKit. An avatar takes the parameters
that it has, and VRChat ignores the others.
"""

from __future__ import annotations

from urllib.parse import SplitResult, unquote

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, expand
from dualtalker.errors import OutputError
from dualtalker.outputs.osc import bundle_messages, need_osc, write_message
from dualtalker.outputs.output import DatagramOutput
from dualtalker.stream import Frame

_MOST_PREFIX = 64  # signs
# What avatars ask before they let a face be moved.
_ACTIVE = ("EyeTrackingActive", "ExpressionTrackingActive", "LipTrackingActive")
# A full eyeLook weight, which is 30 degrees, of the 45 that are 1.
_EYE = 30.0 / 45.0
# Of each side, which {side} names, and of what: a constant under "", and shapes, of which those
# without a side are of {side} or of the middle.
_OF_A_SIDE = {
    "EyeOpen{side}": {"": 1.0, "eyeBlink": -1.0},
    "EyeClosed{side}": {"eyeBlink": 1.0},
    "EyeLid{side}": {"": 0.75, "eyeBlink": -0.75, "eyeWide": 0.25},
    "EyeWide{side}": {"eyeWide": 1.0},
    "EyeSquint{side}": {"eyeSquint": 1.0},
    "Eye{side}Y": {"eyeLookUp": _EYE, "eyeLookDown": -_EYE},
    "BrowInnerUp{side}": {"browInnerUp": 1.0},
    "BrowOuterUp{side}": {"browOuterUp": 1.0},
    "BrowLowerer{side}": {"browDown": 1.0},
    "BrowPinch{side}": {"browDown": 1.0},
    "BrowDown{side}": {"browDown": 1.0},
    "BrowExpression{side}": {"browInnerUp": 0.5, "browOuterUp": 0.5, "browDown": -1.0},
    "CheekSquint{side}": {"cheekSquint": 1.0},
    "CheekPuff{side}": {"cheekPuff": 1.0},
    "CheekPuffSuck{side}": {"cheekPuff": 1.0},
    "NoseSneer{side}": {"noseSneer": 1.0},
    "LipSuckUpper{side}": {"mouthRollUpper": 1.0},
    "LipSuckLower{side}": {"mouthRollLower": 1.0},
    "LipFunnelUpper{side}": {"mouthFunnel": 1.0},
    "LipFunnelLower{side}": {"mouthFunnel": 1.0},
    "LipPuckerUpper{side}": {"mouthPucker": 1.0},
    "LipPuckerLower{side}": {"mouthPucker": 1.0},
    "MouthUpperUp{side}": {"mouthUpperUp": 1.0},
    "MouthUpperDeepen{side}": {"mouthUpperUp": 1.0},
    "MouthLowerDown{side}": {"mouthLowerDown": 1.0},
    "MouthCornerPull{side}": {"mouthSmile": 1.0},
    "MouthCornerSlant{side}": {"mouthSmile": 1.0},
    "MouthSmile{side}": {"mouthSmile": 1.0},
    "MouthFrown{side}": {"mouthFrown": 1.0},
    "MouthStretch{side}": {"mouthStretch": 1.0},
    "MouthDimple{side}": {"mouthDimple": 1.0},
    "MouthPress{side}": {"mouthPress": 1.0},
    "SmileFrown{side}": {"mouthSmile": 1.0, "mouthFrown": -1.0},
    "SmileSad{side}": {"mouthSmile": 1.0, "mouthFrown": -1.0},
}
# Of the whole face; positive is to its own right, ahead and up. A name without a side is the mean
# of both.
_OF_THE_FACE = {
    "EyeLeftX": {"eyeLookInLeft": _EYE, "eyeLookOutLeft": -_EYE},
    "EyeRightX": {"eyeLookOutRight": _EYE, "eyeLookInRight": -_EYE},
    "EyeX": {
        "eyeLookInLeft": _EYE / 2,
        "eyeLookOutLeft": -_EYE / 2,
        "eyeLookOutRight": _EYE / 2,
        "eyeLookInRight": -_EYE / 2,
    },
    "EyeY": {"eyeLookUp": _EYE, "eyeLookDown": -_EYE},
    "EyeLid": {"": 0.75, "eyeBlink": -0.75, "eyeWide": 0.25},
    "BrowInnerUp": {"browInnerUp": 1.0},
    "BrowOuterUp": {"browOuterUp": 1.0},
    "BrowDown": {"browDown": 1.0},
    "BrowExpression": {"browInnerUp": 0.5, "browOuterUp": 0.5, "browDown": -1.0},
    "CheekPuffSuck": {"cheekPuff": 1.0},
    "JawOpen": {"jawOpen": 1.0},
    "JawRight": {"jawRight": 1.0},
    "JawLeft": {"jawLeft": 1.0},
    "JawForward": {"jawForward": 1.0},
    "JawX": {"jawRight": 1.0, "jawLeft": -1.0},
    "JawZ": {"jawForward": 1.0},
    "MouthClosed": {"mouthClose": 1.0},
    "MouthRaiserUpper": {"mouthShrugUpper": 1.0},
    "MouthRaiserLower": {"mouthShrugLower": 1.0},
    **{
        f"Mouth{part}{side}": {f"mouth{side}": 1.0}
        for part in ("Upper", "Lower")
        for side in ("Left", "Right")
    },
    "MouthX": {"mouthRight": 1.0, "mouthLeft": -1.0},
    "MouthUpperX": {"mouthRight": 1.0, "mouthLeft": -1.0},
    "MouthLowerX": {"mouthRight": 1.0, "mouthLeft": -1.0},
    "MouthUpperUp": {"mouthUpperUp": 1.0},
    "MouthLowerDown": {"mouthLowerDown": 1.0},
    "MouthStretch": {"mouthStretch": 1.0},
    "MouthDimple": {"mouthDimple": 1.0},
    "MouthPress": {"mouthPress": 1.0},
    "NoseSneer": {"noseSneer": 1.0},
    "LipSuckUpper": {"mouthRollUpper": 1.0},
    "LipSuckLower": {"mouthRollLower": 1.0},
    "LipFunnel": {"mouthFunnel": 1.0},
    "LipFunnelUpper": {"mouthFunnel": 1.0},
    "LipFunnelLower": {"mouthFunnel": 1.0},
    "LipPucker": {"mouthPucker": 1.0},
    "LipPuckerUpper": {"mouthPucker": 1.0},
    "LipPuckerLower": {"mouthPucker": 1.0},
    "SmileFrown": {"mouthSmile": 1.0, "mouthFrown": -1.0},
    "SmileSad": {"mouthSmile": 1.0, "mouthFrown": -1.0},
    "TongueOut": {"tongueOut": 1.0},
}


def _list_parameters() -> dict[str, dict[str, float]]:
    """Return what each parameter is made of, with the shapes of its side."""
    made = dict(_OF_THE_FACE)
    for name, parts in _OF_A_SIDE.items():
        for side in ("Left", "Right"):
            made[name.format(side=side)] = {
                f"{shape}{side}" if f"{shape}{side}" in ARKIT_INDEX else shape: factor
                for shape, factor in parts.items()
            }
    return made


def _make_row(parts: dict[str, float]) -> np.ndarray:
    """Return the factors [53] of the weights, and the constant."""
    row = np.zeros(len(ARKIT_NAMES) + 1)
    row[-1] = parts.get("", 0.0)
    for shape in parts.keys() - {""}:
        spread = expand({shape: 1.0}).astype(np.float64)
        row[:-1] += parts[shape] * spread / spread.sum()
    return row


_PARAMETERS = _list_parameters()
_MATRIX = np.stack([_make_row(parts) for parts in _PARAMETERS.values()])


class VrchatOutput(DatagramOutput):
    """A face for an avatar in VRChat; the path is the prefix of its parameters, as `/FT`."""

    scheme, usual_port = "vrchat", 9000

    def __init__(self, address: SplitResult) -> None:
        """Raises OutputError for an address that is none, or where python-osc is missing."""
        need_osc(self.scheme)
        prefix = unquote(address.path).strip("/")
        if len(prefix) > _MOST_PREFIX or not (prefix.isascii() and prefix.isprintable()):
            raise OutputError(
                f"{address.geturl()}: expected a prefix of parameters, as FT, of at most "
                f"{_MOST_PREFIX} signs of ASCII"
            )
        super().__init__(address)
        folder = f"/avatar/parameters/{f'{prefix}/' if prefix else ''}v2/"
        self._addresses = [f"{folder}{name}" for name in _PARAMETERS]

    def encode(self, frame: Frame) -> list[bytes]:
        """Return the bundles of a frame: all parameters, and that the face is tracked."""
        values = (_MATRIX[:, :-1] @ frame.weights + _MATRIX[:, -1]).tolist()
        messages = [write_message(f"/avatar/parameters/{name}", True) for name in _ACTIVE]
        for address, value in zip(self._addresses, values, strict=True):
            messages.append(write_message(address, value))
        return bundle_messages(messages)
