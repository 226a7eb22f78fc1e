"""Makes a rig with fewer triangles that still moves as the full one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dualtalker.errors import RigError
from dualtalker.rig.rig import Rig

MIN_TRIANGLES = 4
# Two vertices are as far apart as their places and their motion differ. Motion counts more: the
# lips touch at rest and the lids are small, but they are what is looked at.
_MOTION_GAIN = 2.0
# Principal motions kept; of the shipped head's motion these are 95 %.
_MOTIONS = 8
# What normals and colors count, as shares of the rig's height: the two sides of a thin part stay
# apart, and pupils and brows keep their outlines.
_NORMAL_SHARE = 0.03
_COLOR_SHARE = 0.06


def decimate(rig: Rig, max_triangles: int) -> Rig:
    """Return a rig of at most `max_triangles` triangles; `rig` itself where it has no more.

    Its vertices are some of the rig's own, so that a pose of it is the same choice from the rig's
    pose. They are chosen by farthest-point sampling (Gonzalez, "Clustering to minimize the maximum
    intercluster distance", 1985) in the space of place, motion, normal and color; each other
    vertex joins the nearest of them, and triangles whose corners joined three different ones stay.
    Takes 0.2 s for the shipped head and 3000 triangles; time grows with vertices times triangles.

    Raises:
        RigError: `max_triangles` is less than 4.
    """
    if max_triangles < MIN_TRIANGLES:
        raise RigError(f"max_triangles is {max_triangles}; expected {MIN_TRIANGLES} or more")
    if len(rig.triangles) <= max_triangles:
        return rig
    features = _features_of(rig)
    wanted = max_triangles
    while True:
        # A closed surface has twice as many triangles as vertices; where the count still comes
        # out above the budget, the next try takes proportionally fewer vertices.
        count = min(max(wanted // 2, 3), len(features))
        chosen, nearest = _sample(features, count)
        triangles = _reduce(rig.triangles, nearest)
        if len(triangles) <= max_triangles or count == 3:
            return _choose(rig, chosen, nearest, triangles)
        wanted = wanted * max_triangles // (len(triangles) + 1)


def _features_of(rig: Rig) -> np.ndarray:
    """Return [vertices, features] float32, distances in which tell unlike vertices apart (m)."""
    moves = rig.deltas.transpose(1, 0, 2).reshape(len(rig.neutral), -1)
    _, directions = np.linalg.eigh(moves.T @ moves)  # ascending
    height_m = np.float32(np.ptp(rig.neutral[:, 1]))
    parts = [rig.neutral, _MOTION_GAIN * (moves @ directions[:, -_MOTIONS:])]
    parts.append(_NORMAL_SHARE * height_m * _normals_of(rig.neutral, rig.triangles))
    if rig.colors is not None:
        parts.append(_COLOR_SHARE * height_m * rig.colors.astype(np.float32) / 255.0)
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _normals_of(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return unit normals [vertices, 3], means over the triangles around; 0 where none is."""
    corners = vertices[triangles]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(sums, triangles[:, corner], facing)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return sums / np.maximum(lengths, np.finfo(np.float32).tiny)


def _sample(features: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the chosen vertices [count], and which of them is nearest to each vertex."""
    squares = (features * features).sum(axis=1)
    best = np.full(len(features), np.inf, dtype=features.dtype)
    nearest = np.zeros(len(features), dtype=np.int32)
    chosen = np.empty(count, dtype=np.int32)
    vertex = int(np.argmax(squares))
    for index in range(count):
        chosen[index] = vertex
        distances = squares + (squares[vertex] - 2.0 * (features @ features[vertex]))
        distances[vertex] = -1.0  # rounding must not give a chosen vertex to another
        closer = distances < best
        best[closer] = distances[closer]
        nearest[closer] = index
        vertex = int(np.argmax(best))
    return chosen, nearest


def _reduce(triangles: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Return the triangles [n, 3] between three different chosen vertices, each once."""
    joined = nearest[triangles]
    a, b, c = joined.T
    joined = joined[(a != b) & (b != c) & (c != a)]
    _, first = np.unique(np.sort(joined, axis=1), axis=0, return_index=True)
    return joined[np.sort(first)]


def _choose(rig: Rig, chosen: np.ndarray, nearest: np.ndarray, triangles: np.ndarray) -> Rig:
    """Return the rig of the `chosen` vertices; `nearest` leads from the rig's vertices to them."""
    neutral = rig.neutral[chosen]
    corners = neutral[triangles]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = _normals_of(rig.neutral, rig.triangles)[chosen][triangles].sum(axis=1)
    folded = (facing * outward).sum(axis=1) < 0  # turned over when its corners moved
    triangles[folded] = triangles[folded][:, ::-1]
    return replace(
        rig,
        neutral=neutral,
        triangles=triangles,
        deltas=np.ascontiguousarray(rig.deltas[:, chosen]),
        colors=None if rig.colors is None else rig.colors[chosen],
        lip_upper=nearest[rig.lip_upper],
        lip_lower=nearest[rig.lip_lower],
        lip_vertices=np.unique(nearest[rig.lip_vertices]),
        upper_face_vertices=np.unique(nearest[rig.upper_face_vertices]),
    )
