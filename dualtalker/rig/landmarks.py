"""Finds the lips and the upper face on a rig from its geometry; files that name them go first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualtalker.errors import RigError

# Shapes whose displacement is strongest on the lips themselves.
_LIP_SHAPES = (
    "mouthRollUpper",
    "mouthRollLower",
    "mouthPucker",
    "mouthFunnel",
)
_UPPER_FACE_PREFIXES = ("brow", "eyeBlink", "eyeSquint", "eyeWide", "noseSneer")
_LIP_SHARE = 0.5  # a lip vertex moves at least this share of a lip shape's largest displacement
_UPPER_FACE_SHARE = 0.2
_COLUMNS = 17  # sagittal slices across the mouth, an odd number so that one is central


def find_lip_vertices(names: Sequence[str], deltas: np.ndarray) -> np.ndarray:
    """Return the vertices that at least one lip shape moves by half its largest displacement.

    deltas [shapes, vertices, 3] metres -> sorted indices [n]. Without any lip shape, the vertices
    that `jawOpen` moves most are taken. RigError where the rig has neither.
    """
    used = [name for name in _LIP_SHAPES if name in names] or ["jawOpen"]
    return _strongly_moved(used, names, deltas, _LIP_SHARE, "the lips")


def find_upper_face_vertices(
    names: Sequence[str], deltas: np.ndarray, lip_vertices: np.ndarray
) -> np.ndarray:
    """Return the vertices that brow, lid and nose shapes move, without the lips. Indices [n].

    Empty where the rig has no such shape.
    """
    used = [name for name in names if name.startswith(_UPPER_FACE_PREFIXES)]
    if not used:
        return np.zeros(0, dtype=np.int32)
    moved = _strongly_moved(used, names, deltas, _UPPER_FACE_SHARE, "the upper face")
    return np.setdiff1d(moved, lip_vertices).astype(np.int32)


def find_lip_pairs(
    neutral: np.ndarray, names: Sequence[str], deltas: np.ndarray, lip_vertices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pair the inner edges of the upper and lower lip. Returns two index arrays [pairs].

    The rig is posed with `jawOpen` = 1. A lip vertex belongs to the lower lip where it drops by
    more than half of the largest drop among lip vertices, else to the upper lip. The mouth is cut
    into sagittal slices of equal width; in each, the lowest vertex of the upper lip and the
    highest of the lower lip, as seen from the front, are a pair. Slices in which either lip is
    missing, or in which the two do not part, give no pair.
    """
    if "jawOpen" not in names:
        raise RigError(
            "the rig has no jawOpen shape, so its lips cannot be told apart; "
            "add jawOpen, or give lip_upper and lip_lower in an .npz rig"
        )
    opened = neutral + deltas[list(names).index("jawOpen")]
    drop = neutral[lip_vertices, 1] - opened[lip_vertices, 1]
    upper, lower = _pair_slices(neutral, opened, lip_vertices, drop > 0.5 * drop.max())
    if not upper:
        raise RigError(
            "jawOpen does not part an upper from a lower lip on this rig; check that y points up, "
            "or give lip_upper and lip_lower in an .npz rig"
        )
    return np.array(upper, dtype=np.int32), np.array(lower, dtype=np.int32)


def _pair_slices(
    neutral: np.ndarray, opened: np.ndarray, lip_vertices: np.ndarray, is_lower: np.ndarray
) -> tuple[list[int], list[int]]:
    """Pair the lips' inner edges slice by slice, over the width in which both lips exist."""
    x = neutral[lip_vertices, 0]
    left = max(x[is_lower].min(initial=np.inf), x[~is_lower].min(initial=np.inf))
    right = min(x[is_lower].max(initial=-np.inf), x[~is_lower].max(initial=-np.inf))
    upper: list[int] = []
    lower: list[int] = []
    if not right > left:
        return upper, lower
    column = np.floor((x - left) / (right - left) * _COLUMNS)
    for slice_number in range(_COLUMNS):
        inside = column == slice_number
        above, below = lip_vertices[inside & ~is_lower], lip_vertices[inside & is_lower]
        if len(above) == 0 or len(below) == 0:
            continue
        top = int(above[np.argmin(opened[above, 1])])
        bottom = int(below[np.argmax(opened[below, 1])])
        if opened[top, 1] > opened[bottom, 1]:
            upper.append(top)
            lower.append(bottom)
    return upper, lower


def _strongly_moved(
    used: Sequence[str], names: Sequence[str], deltas: np.ndarray, share: float, what: str
) -> np.ndarray:
    moved = np.zeros(deltas.shape[1], dtype=bool)
    order = list(names)
    for name in used:
        if name not in order:
            raise RigError(f"the rig has no shape from which {what} could be found")
        distance = np.linalg.norm(deltas[order.index(name)], axis=1)
        if distance.max() > 0:
            moved |= distance >= share * distance.max()
    return np.flatnonzero(moved).astype(np.int32)
