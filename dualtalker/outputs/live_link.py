"""The 61 values of Epic's Live Link Face: the shapes, and the angles of head and eyes."""

from __future__ import annotations

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES

_WAYS = ("Down", "In", "Out", "Up")
_ANGLES = ("Yaw", "Pitch", "Roll")
# Unreal's order, which is ARKit's (EARFaceBlendShape in Unreal's AugmentedReality module).
LIVE_LINK_NAMES: tuple[str, ...] = (
    *(name[0].upper() + name[1:] for name in ARKIT_NAMES),
    *(f"{part}{angle}" for part in ("Head", "LeftEye", "RightEye") for angle in _ANGLES),
)
# How far the eyes turn at a full weight (rad); Live Link tells it beside the weights. Our choice:
# people turn the head for more.
_EYE_REACH = np.deg2rad(30.0)


def list_live_link_values(weights: np.ndarray, head: np.ndarray | None = None) -> np.ndarray:
    """Return the values [..., 61] of weights [..., 52] and the head's angles [..., 3] (rad).

    Angles are radians, positive to the left, down and to the right, as `HEAD_NAMES`.
    """
    values = np.zeros((*weights.shape[:-1], len(LIVE_LINK_NAMES)), np.float32)
    values[..., : len(ARKIT_NAMES)] = weights
    if head is not None:
        values[..., 52:55] = head[..., [1, 0, 2]]  # yaw, pitch, roll
    for first, side, to_left, to_right in ((55, "Left", "Out", "In"), (58, "Right", "In", "Out")):
        look = {way: weights[..., ARKIT_INDEX[f"eyeLook{way}{side}"]] for way in _WAYS}
        values[..., first] = _EYE_REACH * (look[to_left] - look[to_right])
        values[..., first + 1] = _EYE_REACH * (look["Down"] - look["Up"])
    return values
