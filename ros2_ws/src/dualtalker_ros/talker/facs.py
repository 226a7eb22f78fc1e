"""ARKit weights as FACS action units, and as hri_msgs messages of them.

    action unit = largest weight among its ARKit shapes

FACS (Ekman and Friesen, 1978; Ekman, Friesen and Hager, 2002) numbers what single muscles do; the
numbers and names are those of the table in https://en.wikipedia.org/wiki/Facial_Action_Coding_System,
which hri_msgs takes for its constants. ARKit's shapes are matched to them by what Apple writes
about each `ARFaceAnchor.BlendShapeLocation` and by what FACS says the unit does to the face. FACS
does not score the sides of a face apart here, so the stronger side counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time

from dualtalker.arkit import ARKIT_INDEX
from dualtalker_ros.topics import import_type

FACS_TYPE = "hri_msgs/msg/FacialActionUnits"
UNITS = 99  # length of the message's arrays; the index is the unit's number

LIPS_PART = 25
SPEECH = 50

SHAPES_OF_UNIT: dict[int, tuple[str, ...]] = {
    1: ("browInnerUp",),  # inner brow raiser
    2: ("browOuterUpLeft", "browOuterUpRight"),  # outer brow raiser
    4: ("browDownLeft", "browDownRight"),  # brow lowerer
    5: ("eyeWideLeft", "eyeWideRight"),  # upper lid raiser
    6: ("cheekSquintLeft", "cheekSquintRight"),  # cheek raiser
    7: ("eyeSquintLeft", "eyeSquintRight"),  # lid tightener
    8: ("mouthClose",),  # lips toward each other, over an open jaw
    9: ("noseSneerLeft", "noseSneerRight"),  # nose wrinkler
    10: ("mouthUpperUpLeft", "mouthUpperUpRight"),  # upper lip raiser
    12: ("mouthSmileLeft", "mouthSmileRight"),  # lip corner puller
    14: ("mouthDimpleLeft", "mouthDimpleRight"),  # dimpler
    15: ("mouthFrownLeft", "mouthFrownRight"),  # lip corner depressor
    16: ("mouthLowerDownLeft", "mouthLowerDownRight"),  # lower lip depressor
    17: (
        "mouthShrugLower",
        "mouthShrugUpper",
    ),  # chin raiser, pushes both lips
    18: ("mouthPucker",),  # lip pucker
    19: ("tongueOut",),  # tongue show
    20: ("mouthStretchLeft", "mouthStretchRight"),  # lip stretcher
    22: ("mouthFunnel",),  # lip funneler
    24: ("mouthPressLeft", "mouthPressRight"),  # lip pressor
    26: ("jawOpen",),  # jaw drop
    28: ("mouthRollLower", "mouthRollUpper"),  # lip suck
    29: ("jawForward",),  # jaw thrust
    30: ("jawLeft", "jawRight"),  # jaw sideways
    34: ("cheekPuff",),  # cheek puff
    45: ("eyeBlinkLeft", "eyeBlinkRight"),  # blink
    61: ("eyeLookOutLeft", "eyeLookInRight"),  # eyes turn left
    62: ("eyeLookInLeft", "eyeLookOutRight"),  # eyes turn right
    63: ("eyeLookUpLeft", "eyeLookUpRight"),  # eyes up
    64: ("eyeLookDownLeft", "eyeLookDownRight"),  # eyes down
}
# FACS has no unit for lips that move sideways.
SHAPES_WITHOUT_UNIT = ("mouthLeft", "mouthRight")

_FIELDS = {"header": "std_msgs/Header", "intensity": "float[99]", "confidence": "float[99]"}
_COLUMNS = {unit: [ARKIT_INDEX[name] for name in names] for unit, names in SHAPES_OF_UNIT.items()}
_JAW, _CLOSE = ARKIT_INDEX["jawOpen"], ARKIT_INDEX["mouthClose"]


def intensities(weights: np.ndarray, speaking: bool) -> np.ndarray:
    """Return intensities [99] float32 in [0, 1] of ARKit weights [52]; units never used are 0.

    Unit 25, lips part, is the mouth's opening (`jawOpen` less `mouthClose`) or what the lips do
    themselves (10, 16), whichever is more. Unit 50, speech, is 1 while the face speaks.
    """
    units = np.zeros(UNITS, np.float32)
    for unit, columns in _COLUMNS.items():
        units[unit] = weights[columns].max()
    units[LIPS_PART] = max(weights[_JAW] - weights[_CLOSE], units[10], units[16])
    units[SPEECH] = float(speaking)
    return units


class ActionUnitEncoder:
    """Makes hri_msgs/FacialActionUnits; confidence is 1 for the units that are used, else 0."""

    def __init__(self, frame_id: str) -> None:
        """ImportError where hri_msgs is not installed, or has other fields than it had."""
        message_class = import_type(FACS_TYPE)
        found = message_class.get_fields_and_field_types()
        if any(found.get(name) != kind for name, kind in _FIELDS.items()):
            raise ImportError(
                f"{FACS_TYPE} has the fields {found}; expected {_FIELDS}, as in hri_msgs 2"
            )
        self._message = message_class()
        self._message.header.frame_id = frame_id
        confidence = np.zeros(UNITS, np.float32)
        confidence[[*SHAPES_OF_UNIT, LIPS_PART, SPEECH]] = 1.0
        self._message.confidence = confidence

    def encode(self, weights: np.ndarray, stamp: Time, speaking: bool) -> Any:
        """Return the message of ARKit weights [52]; the same message object each time."""
        self._message.header.stamp = stamp
        self._message.intensity = intensities(weights, speaking)
        return self._message
