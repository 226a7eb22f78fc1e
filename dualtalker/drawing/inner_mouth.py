"""Finds the inside of a rig's mouth: what shut lips hide and an open jaw shows."""

from __future__ import annotations

import numpy as np

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.drawing.scan_lines import cover_lines, list_spans, make_planes, make_turn
from dualtalker.rig import Rig

# Directions of view, yaw and pitch in degrees: into an open mouth, and around a face at rest.
_INTO = ((0, 0), (-35, 0), (35, 0), (0, -25), (0, 25))
_AROUND = (
    *_INTO,
    *((-70, 0), (70, 0), (0, -55), (0, 55)),
    *((-50, -35), (50, -35), (-50, 35), (50, 35)),
)
_SIZE = 320  # samples each way of a view
_REACH = 3.0  # half widths of the mouth around its middle that are looked at
_NEAR = 1.5  # samples: a vertex so little behind a surface is on it


def find_inner_mouth(rig: Rig) -> np.ndarray:
    """Return which vertices are inside the mouth, bool [vertices].

    A vertex is inside where no direction shows it at rest, and it is connected by such vertices
    to one that an open jaw shows between the lips. So skin is never inside, whatever its place.
    Where an edge as long as half the mouth leads out, its color would run along it: none is given.
    """
    opened = np.zeros(len(ARKIT_INDEX), dtype=np.float32)
    opened[ARKIT_INDEX["jawOpen"]] = 1
    hidden = np.ones(len(rig.neutral), dtype=bool)
    for view in _AROUND:
        hidden &= ~_see(rig, rig.neutral, view)[0]
    shown = np.zeros_like(hidden)
    for view in _INTO:
        seen, turned = _see(rig, rig.pose(opened), view)
        shown |= seen & _lie_between(rig, turned)
    inside = _spread(rig.triangles, hidden, hidden & shown)
    return inside & ~_touch_far(rig, inside, ~hidden)


def _see(rig: Rig, vertices: np.ndarray, view: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Which vertices a view shows, far from the mouth all; and where it sees each."""
    lips = np.concatenate([rig.lip_upper, rig.lip_lower])
    middle = rig.neutral[lips].mean(axis=0)
    reach = _REACH * _half_width(rig)
    turned = (vertices - middle) @ make_turn(*view).T
    scale = 0.5 * _SIZE / reach
    screen = (turned * [scale, -scale, scale] + [0.5 * _SIZE, 0.5 * _SIZE, 0]).astype(np.float32)
    depth = _draw_depth(screen, rig.triangles)
    seen = np.ones(len(vertices), dtype=bool)
    near = np.flatnonzero((np.abs(rig.neutral - middle) < reach).all(axis=1))
    column, row = np.clip(screen[near, :2].astype(np.int64), 0, _SIZE - 1).T
    seen[near] = screen[near, 2] >= depth[row, column] - _NEAR
    return seen, turned


def _lie_between(rig: Rig, turned: np.ndarray) -> np.ndarray:
    """Which vertices a view sees below the upper and above the lower lip."""
    x, y = turned[:, 0], turned[:, 1]
    edges = []
    for lip in (rig.lip_lower, rig.lip_upper):
        order = lip[np.argsort(x[lip])]
        edges.append(np.interp(x, x[order], y[order]))
    pairs = np.stack([x[rig.lip_lower], x[rig.lip_upper]])
    return (edges[0] < y) & (y < edges[1]) & (pairs.min() < x) & (x < pairs.max())


def _draw_depth(screen: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The nearest surface at each sample [rows, columns]; -inf where there is none."""
    corners = screen[triangles]
    low, high = corners[..., :2].min(axis=1), corners[..., :2].max(axis=1)
    a, b, c = corners[:, 0, :2], corners[:, 1, :2], corners[:, 2, :2]
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    kept = (np.abs(area) > 1e-6) & (high > 0).all(axis=1) & (low < _SIZE).all(axis=1)
    triangles = triangles[kept]
    depth = np.full(_SIZE * _SIZE, -np.inf, dtype=np.float32)
    if len(triangles):
        planes = make_planes(screen, triangles, screen[:, 2:])
        lines, column, row = cover_lines(screen, triangles, _SIZE, _SIZE)
        along_x, along_y, offset = (np.repeat(plane[:, 0], lines) for plane in planes)
        step, run = list_spans(np.maximum(column, column[:, :1]))
        line = np.repeat(np.arange(len(row)), run)
        value = along_x[line] * step + along_y[line] * row[line] + offset[line]
        np.maximum.at(depth, row[line] * _SIZE + step, value.astype(np.float32))
    return depth.reshape(_SIZE, _SIZE)


def _touch_far(rig: Rig, inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Which vertices of `inside` have an edge to one of `outside` that is half a mouth long."""
    edges = np.concatenate([rig.triangles[:, [first, first - 1]] for first in range(3)])
    edges = np.concatenate([edges, edges[:, ::-1]])
    edges = edges[inside[edges[:, 0]] & outside[edges[:, 1]]]
    length = np.linalg.norm(rig.neutral[edges[:, 0]] - rig.neutral[edges[:, 1]], axis=1)
    touching = np.zeros_like(inside)
    touching[edges[length > _half_width(rig), 0]] = True
    return touching


def _half_width(rig: Rig) -> float:
    lips = np.concatenate([rig.lip_upper, rig.lip_lower])
    return max(0.5 * float(np.ptp(rig.neutral[lips, 0])), 1e-6)


def _spread(triangles: np.ndarray, through: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Grow `start` over the triangles' edges, as far as `through` allows. Bool [vertices] each."""
    inside = start.copy()
    within = triangles[through[triangles].any(axis=1)]
    while True:
        reached = np.zeros_like(inside)
        reached[within[inside[within].any(axis=1)]] = True
        grown = inside | (reached & through)
        if grown.sum() == inside.sum():
            return inside
        inside = grown
