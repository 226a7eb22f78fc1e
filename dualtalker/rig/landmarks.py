"""Finds the lips and the upper face on a rig from its geometry; files that name them go first."""

from __future__ import annotations

import itertools
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
# Where jawOpen alone tells the lips: what moves less than the first share of its largest
# displacement is upper lip, more than the second lower lip, where the two are nearest at rest.
_STILL_SHARE, _JAW_SHARE = 0.25, 0.5
# How near, as shares of the jaw's width: from lips that touch to a mouth that stands open.
_NEAR_SHARES = (0.015, 0.03, 0.06, 0.12, 0.24)
_LEAST_SEAM = 0.2  # of the jaw's width: a shorter seam is no mouth
_LIP_DEPTH_SHARE = (
    0.05  # of the jaw's width behind the foremost of a column; further back are teeth
)
_COLUMNS = 17  # sagittal slices across the mouth, an odd number so that one is central


def find_lip_vertices(neutral: np.ndarray, names: Sequence[str], deltas: np.ndarray) -> np.ndarray:
    """Return the vertices that at least one lip shape moves by half its largest displacement.

    neutral [vertices, 3], deltas [shapes, vertices, 3] in any unit -> sorted indices [n]. Without
    any lip shape, they are the edges that `jawOpen` parts; where it parts none, what it moves
    most. RigError where the rig has neither.
    """
    used = [name for name in _LIP_SHAPES if name in names]
    if used:
        return _strongly_moved(used, names, deltas, _LIP_SHARE, "the lips")
    moved = _strongly_moved(["jawOpen"], names, deltas, _JAW_SHARE, "the lips")
    if not len(moved):
        return moved
    seam = _find_seam(neutral, np.linalg.norm(deltas[list(names).index("jawOpen")], axis=1), moved)
    return seam if len(seam) else moved


def _find_seam(neutral: np.ndarray, size: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Return where what the jaw moves touches what it leaves, at the front. Sorted indices [n].

    size [vertices] is how far the jaw moves each, `moved` the vertices that it moves most.
    """
    width = float(np.ptp(neutral[moved, 0]))
    still = np.flatnonzero(size <= _STILL_SHARE * size.max())
    for share in _NEAR_SHARES if width > 0 else ():
        lower = moved[_find_near(neutral[moved], neutral[still], share * width)]
        upper = still[_find_near(neutral[still], neutral[lower], share * width)]
        spans = [float(np.ptp(neutral[lip, 0])) if len(lip) else 0.0 for lip in (lower, upper)]
        if min(spans) >= _LEAST_SEAM * width:
            return _keep_front(neutral, np.concatenate([lower, upper]), width)
    return np.zeros(0, dtype=np.int32)


def _keep_front(neutral: np.ndarray, seam: np.ndarray, width: float) -> np.ndarray:
    """Leave out what lies behind the lips: teeth and tongue part, too."""
    x, z = neutral[seam, 0], neutral[seam, 2]
    column = np.floor((x - x.min()) / np.ptp(x) * _COLUMNS).astype(int).clip(max=_COLUMNS - 1)
    foremost = np.full(_COLUMNS, -np.inf)
    np.maximum.at(foremost, column, z)
    front = z >= foremost[column] - _LIP_DEPTH_SHARE * width
    return np.sort(seam[front]).astype(np.int32)


def _find_near(points: np.ndarray, others: np.ndarray, reach: float) -> np.ndarray:
    """Which of `points` [n, 3] lie in the cell of one of `others`, or next to it. Bool [n].

    Cells are cubes of the side `reach`, so that all within it are found, and none beyond twice
    the diagonal.
    """
    if len(points) == 0 or len(others) == 0:
        return np.zeros(len(points), dtype=bool)
    every = np.concatenate([points, others]).astype(np.float64)
    # Cells are numbered in 63 bits.
    reach = max(reach, float(np.ptp(every, axis=0).max()) / 2**20)
    low = every.min(axis=0) - 1.5 * reach  # every cell has neighbors on all sides
    own, cells = (np.floor((place - low) / reach).astype(np.int64) for place in (points, others))
    sizes = np.maximum(own.max(axis=0), cells.max(axis=0)) + 2
    near = np.zeros(len(points), dtype=bool)
    taken = np.unique(np.ravel_multi_index(tuple(cells.T), tuple(sizes)))
    for step in itertools.product((-1, 0, 1), repeat=3):
        near |= np.isin(np.ravel_multi_index(tuple((own + step).T), tuple(sizes)), taken)
    return near


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
