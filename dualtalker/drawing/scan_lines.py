"""Where triangles cover the samples of a picture, and what they are worth there."""

from __future__ import annotations

import numpy as np


def list_spans(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expand spans [lines, 2] (first, past the last): all their numbers [n], lengths [lines]."""
    run = np.maximum(column[:, 1] - column[:, 0], 0)
    shift = column[:, 0] - (np.cumsum(run) - run)
    return np.arange(run.sum()) + np.repeat(shift, run), run


def cover_lines(
    screen: np.ndarray, triangles: np.ndarray, columns: int, rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scan lines of all triangles: how many each has, columns [lines, 2] and row [lines].

    A sample is covered where its center lies in the triangle; the second column is past the last.
    """
    corners = screen[:, :2].astype(np.float64)[triangles] - 0.5  # centers at whole numbers
    order = np.argsort(corners[:, :, 1], axis=1)
    x = np.take_along_axis(corners[:, :, 0], order, axis=1).T
    y = np.take_along_axis(corners[:, :, 1], order, axis=1).T
    top, bottom = (np.clip(np.ceil(y[corner]), 0, rows).astype(np.int64) for corner in (0, 2))
    row, lines = list_spans(np.stack([top, bottom], axis=1))
    level = row.astype(np.float64)
    crossing = []
    for start, stop in ((0, 2), (0, 1), (1, 2)):  # the long edge, the upper and lower short one
        height = y[stop] - y[start]
        slope = (x[stop] - x[start]) / np.where(height > 1e-9, height, 1.0)
        crossing.append(
            np.repeat(slope, lines) * level + np.repeat(x[start] - slope * y[start], lines)
        )
    long_edge, upper_edge, lower_edge = crossing
    short_edge = np.where(level < np.repeat(y[1], lines), upper_edge, lower_edge)
    ends = np.stack([np.minimum(long_edge, short_edge), np.maximum(long_edge, short_edge)], axis=1)
    ends = np.minimum(np.maximum(np.ceil(ends), 0), columns)
    return lines, ends.astype(np.int64), row


def make_planes(screen: np.ndarray, triangles: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Planes p0 * x + p1 * y + p2 over sample positions. [vertices, c] -> [3 (p), triangles, c].

    In an orthographic view all that is linear on a triangle is linear on the screen.
    """
    xy = screen[:, :2] - 0.5
    a, b, c = (triangles[:, corner] for corner in range(3))
    ab, ac = xy[b] - xy[a], xy[c] - xy[a]
    area = (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])[:, None]
    vb, vc = values[b] - values[a], values[c] - values[a]
    along_x = (vb * ac[:, 1:] - vc * ab[:, 1:]) / area
    along_y = (vc * ab[:, :1] - vb * ac[:, :1]) / area
    offset = values[a] - along_x * xy[a, :1] - along_y * xy[a, 1:]
    return np.stack([along_x, along_y, offset]).astype(np.float32)


def make_turn(yaw_deg: float, pitch_deg: float) -> np.ndarray:
    """Return the rotation [3, 3] that shows a head turned to its own left, seen from above."""
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array(
        [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    )
    return about_x @ about_y
