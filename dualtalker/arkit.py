"""The 52 ARKit blendshape names, their order and their left/right pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

# Apple's order: the listing of ARFaceAnchor.BlendShapeLocation in Apple's documentation
# (left eye, right eye, mouth and jaw, brows, cheeks, nose, tongue).
ARKIT_NAMES: tuple[str, ...] = (
    "eyeBlinkLeft",
    "eyeLookDownLeft",
    "eyeLookInLeft",
    "eyeLookOutLeft",
    "eyeLookUpLeft",
    "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight",
    "eyeLookDownRight",
    "eyeLookInRight",
    "eyeLookOutRight",
    "eyeLookUpRight",
    "eyeSquintRight",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawRight",
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthLeft",
    "mouthRight",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
)

ARKIT_INDEX: dict[str, int] = {name: index for index, name in enumerate(ARKIT_NAMES)}

# What Live Link Face records of the head beside the shapes, by the same names. Ours: radians, and
# signs as in REP 103 for a head with x forward, y to its own left, z up: positive pitch nods
# down, yaw turns to its own left, roll tilts to its own right.
HEAD_NAMES: tuple[str, ...] = ("headPitch", "headYaw", "headRoll")

# Channels that speech moves; idle life (blinks, gaze, brows) never touches these.
MOUTH_NAMES: tuple[str, ...] = tuple(
    name for name in ARKIT_NAMES if name.startswith(("jaw", "mouth")) or name in ("tongueOut",)
)
MOUTH_INDICES: tuple[int, ...] = tuple(ARKIT_INDEX[name] for name in MOUTH_NAMES)


def mirror_name(name: str) -> str:
    """Return the name of the same shape on the other side of the face (itself where central)."""
    if name.endswith("Left"):
        return name[: -len("Left")] + "Right"
    if name.endswith("Right"):
        return name[: -len("Right")] + "Left"
    return name


def expand(shape: Mapping[str, float]) -> np.ndarray:
    """Return weights float32 [52] for a shape whose names may leave out Left and Right."""
    import numpy as np  # the command reads the names above for its --help alone

    weights = np.zeros(len(ARKIT_NAMES), np.float32)
    for name, value in shape.items():
        sides = (name,) if name in ARKIT_INDEX else (f"{name}Left", f"{name}Right")
        for side in sides:
            weights[ARKIT_INDEX[side]] = value
    return weights


# weights[..., MIRROR_INDICES] is the same expression with left and right exchanged.
MIRROR_INDICES: tuple[int, ...] = tuple(ARKIT_INDEX[mirror_name(name)] for name in ARKIT_NAMES)
