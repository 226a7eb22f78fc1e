"""Finds out which way a face looks and how long its unit is, by what its shapes move.

A file says neither where its program was careless: a head from Blender may lie on its back, one
from Maya may be 18 m wide. What shapes move tells where brows, lips and chin are.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from dualtalker.errors import RigError
from dualtalker.rig.landmarks import find_lip_vertices
from dualtalker.rig.rig import vertex_normals

_log = logging.getLogger("dualtalker")

_MOUTH_WIDTH_M = 0.055  # of an adult; tells millimetres from centimetres and metres
_LEAST_MOUTH_M, _MOST_MOUTH_M = 0.0055, 0.3  # from a doll to a cartoon

_UPPER = ("brow", "eye", "blink")  # how shapes of the upper face begin, also stems and expressions
_LOWER = ("jaw", "mouth", "aa", "ih", "ou", "ee", "oh")
_ALONG = 0.75  # share of a direction's length that its axis must have: within 41 degrees
_FORWARD_SHARE = 0.1  # of the distance from lips to brows: so far lips stand out of the head
_HEAD_REACH = 2.5  # what is so many times that distance from the lips is no head any more


def find_turn(
    neutral: np.ndarray, triangles: np.ndarray, shapes: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Return the rotation [3, 3] by quarter turns after which y is up and z looks out of the face.

    neutral [vertices, 3], triangles [n, 3], shapes by name [vertices, 3], in any unit. Up is from
    what mouth and jaw move to what brows and lids move, or against the drop of the jaw. A face
    looks to where the lips stand out of the head, and the surface around them agrees. What tells
    nothing clearly leaves the axes as glTF has them.
    """
    lower = _center(neutral, shapes, _LOWER)
    if lower is None or not 0 <= triangles.min() <= triangles.max() < len(neutral):
        return np.eye(3)  # corners that are no vertices are told of by `build_rig`
    upper = _center(neutral, shapes, _UPPER)
    up = _axis_of(upper - lower) if upper is not None else None
    if up is None:
        up = _axis_of(-_mean_move(shapes))
    if up is None:
        return np.eye(3)
    forward = _find_forward(neutral, triangles, shapes, lower, upper, up)
    if forward is None:  # where up is z, Blender and 3ds Max look along -y
        forward = np.array([0.0, 0.0, 1.0]) if up[2] == 0 else np.array([0.0, -up[2], 0.0])
    return np.stack([np.cross(up, forward), up, forward])


def find_scale(
    source: str,
    neutral: np.ndarray,
    names: Sequence[str],
    deltas: np.ndarray,
    is_metric: bool,
) -> float:
    """Return metres per unit, so that the mouth's width is human; a guess is logged.

    neutral [vertices, 3] with x across the face, deltas [shapes, vertices, 3]. Where the format
    has metres for its unit (`is_metric`), another is believed only of a mouth below 5.5 mm or
    above 30 cm. RigError where no shape moves lips, so that nothing tells the unit.
    """
    lips = neutral[find_lip_vertices(neutral, names, deltas), 0]
    width = float(np.ptp(lips)) if len(lips) else 0.0
    if is_metric and (width == 0 or _LEAST_MOUTH_M <= width <= _MOST_MOUTH_M):
        return 1.0
    if not 1e-12 < width:
        raise RigError(
            "no shape moves the lips, so the unit of length cannot be told; "
            "give the scale in metres per unit"
        )
    scale = 10.0 ** round(float(np.log10(_MOUTH_WIDTH_M / width)))
    _log.log(
        logging.WARNING if is_metric else logging.INFO,
        "%s: one unit taken as %g m, for the mouth is %.3g units wide; "
        "`load_rig(..., scale=...)` says otherwise",
        source,
        scale,
        width,
    )
    return scale


def _center(
    neutral: np.ndarray, shapes: Mapping[str, np.ndarray], stems: tuple[str, ...]
) -> np.ndarray | None:
    """The middle of what these shapes move; each shape counts alike, vertices by their motion."""
    centers = []
    for name, delta in shapes.items():
        size = np.linalg.norm(delta, axis=1).astype(np.float64)
        if name.startswith(stems) and size.sum() > 0:
            centers.append(size @ neutral / size.sum())
    return np.mean(centers, axis=0) if centers else None


def _mean_move(shapes: Mapping[str, np.ndarray]) -> np.ndarray:
    delta = shapes.get("jawOpen", shapes.get("aa"))
    return np.zeros(3) if delta is None else delta.mean(axis=0, dtype=np.float64)


def _axis_of(direction: np.ndarray) -> np.ndarray | None:
    """The axis that a direction runs along, as a unit vector; None where it runs between axes."""
    length = float(np.linalg.norm(direction))
    axis = int(np.argmax(np.abs(direction)))
    if not length > 0 or abs(direction[axis]) < _ALONG * length:
        return None
    return np.eye(3)[axis] * np.sign(direction[axis])


def _find_forward(
    neutral: np.ndarray,
    triangles: np.ndarray,
    shapes: Mapping[str, np.ndarray],
    lower: np.ndarray,
    upper: np.ndarray | None,
    up: np.ndarray,
) -> np.ndarray | None:
    """The axis that the face looks along; None where place and surface of the lips disagree."""
    level = 1.0 - np.abs(up)
    moved = np.zeros(len(neutral))
    for name, delta in shapes.items():
        if name.startswith(_LOWER):
            moved = np.maximum(moved, np.linalg.norm(delta, axis=1))
    if upper is None:
        size = float(np.ptp(neutral[moved > 0.1 * moved.max()], axis=0).max())
    else:
        size = float(np.linalg.norm(upper - lower))
    head = neutral[np.linalg.norm(neutral - lower, axis=1) < _HEAD_REACH * size]
    if not len(head):
        return None
    middle = 0.5 * (head.min(axis=0) + head.max(axis=0))
    out = (lower - middle) * level
    facing = (moved[:, None] * vertex_normals(neutral, triangles)).sum(axis=0) * level
    by_place, by_surface = _axis_of(out), _axis_of(facing)
    if by_place is None or by_surface is None or not np.array_equal(by_place, by_surface):
        return None
    return by_place if np.linalg.norm(out) > _FORWARD_SHARE * size else None
