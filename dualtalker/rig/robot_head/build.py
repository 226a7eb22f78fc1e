"""The default face: a friendly procedural robot head with all 52 ARKit shapes."""

from __future__ import annotations

from functools import cache

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, mirror_name
from dualtalker.rig import Rig, build_rig
from dualtalker.rig.robot_head import geometry as head_parts
from dualtalker.rig.robot_head.eyes import build_left_eye
from dualtalker.rig.robot_head.geometry import COLUMNS, LINING_M, Part, ball_profile, build_solid
from dualtalker.rig.robot_head.shapes import Mouth, jaw_shapes_of, skin_shapes

Shapes = dict[str, np.ndarray]


@cache
def build_head() -> Rig:
    """Return the default robot head (one shared object: treat its arrays as read-only).

    About 0.23 m high and exactly symmetric: mirroring the mesh left to right and exchanging Left
    and Right shapes gives the same face. At rest the lips are 0.1 mm apart.
    """
    pieces = [_build_skin(), *_build_mouth(), *_build_trim()]
    for part, shapes in build_left_eye():
        pieces += [(part, shapes), _mirrored(part, shapes)]
    pieces += _build_ears()

    sizes = np.cumsum([0] + [len(part.vertices) for part, _ in pieces])
    neutral = np.concatenate([part.vertices for part, _ in pieces])
    deltas = np.zeros((len(ARKIT_NAMES), len(neutral), 3))
    for (_, shapes), start, stop in zip(pieces, sizes[:-1], sizes[1:], strict=True):
        for shape, moved in shapes.items():
            deltas[ARKIT_INDEX[shape], start:stop] = moved
    placed = [(part, start) for (part, _), start in zip(pieces, sizes[:-1], strict=True)]
    mirror = np.concatenate([part.mirror + start for part, start in placed])
    neutral, deltas = _symmetrized(neutral, deltas, mirror)
    upper, lower = _lip_columns()
    return build_rig(
        name="robot head",
        neutral=neutral,
        triangles=np.concatenate([part.triangles + start for part, start in placed]),
        names=ARKIT_NAMES,
        deltas=deltas,
        colors=np.concatenate([part.colors for part, _ in pieces]),
        lip_upper=upper,
        lip_lower=lower,
        lip_vertices=_lip_rows(),
    )


def _build_skin() -> tuple[Part, Shapes]:
    part = head_parts.build_skin()
    angle, distance, depth = (grid.ravel() for grid in head_parts.skin_coordinates())
    # The two vertices that close the grid: deep in the mouth, and at the back of the head.
    mouth = Mouth(
        rest=part.vertices,
        angle=np.append(angle, [-np.pi / 2, -np.pi / 2]),
        distance=np.append(distance, [0.0, distance[-1]]),
        depth=np.append(depth, [depth[0], 0.0]),
    )
    return part, skin_shapes(mouth)


def _build_mouth() -> list[tuple[Part, Shapes]]:
    _, level, front = (
        float(place) for place in head_parts.shell_point(np.array(0.0), np.array(0.0))
    )
    upper = head_parts.build_teeth("upper teeth", level + 0.0100, level - 0.0015, front - 0.0075)
    lower = head_parts.build_teeth("lower teeth", level - 0.0125, level - 0.0034, front - 0.0095)
    tongue = build_solid(
        "tongue",
        (0.0, level - 0.0070, front - 0.0270),
        ball_profile(0.0135, 0.0165, 0.0042),
        "z",
        head_parts.TONGUE_COLOR,
    )
    moves = jaw_shapes_of(tongue.vertices, share=0.88)
    tip = np.clip((tongue.vertices[:, 2] - (front - 0.0405)) / 0.027, 0, 1)
    out = np.zeros_like(tongue.vertices)
    out[:, 2] = 0.034 * tip
    out[:, 1] = 0.004 * tip - 0.012 * tip**3
    moves["tongueOut"] = out
    return [(upper, {}), (lower, jaw_shapes_of(lower.vertices)), (tongue, moves)]


def _build_trim() -> list[tuple[Part, Shapes]]:
    """Nose, neck and antenna."""
    nose_z = float(head_parts.shell_front_z(np.array(0.0), np.array(-0.016)))
    nose = build_solid(
        "nose",
        (0.0, -0.016, nose_z - 0.001),
        ball_profile(0.0085, 0.0085, 0.0068),
        "z",
        head_parts.BLUSH_COLOR,
    )
    side = np.clip(0.5 + nose.vertices[:, 0] / 0.017, 0, 1)
    sneer = np.zeros_like(nose.vertices)
    sneer[:, 1] = 0.0030 * side
    neck_rows = np.array([[-0.150, 0.042], [-0.142, 0.042], [-0.138, 0.036], [-0.085, 0.035]])
    neck = build_solid(
        "neck", (0.0, 0.0, -0.012), neck_rows[:, [0, 1, 1]], "y", head_parts.TRIM_COLOR, 24
    )
    stalk_rows = np.array([[0.108, 0.011], [0.117, 0.0095], [0.119, 0.003], [0.131, 0.003]])
    stalk = build_solid(
        "stalk", (0.0, 0.0, 0.0), stalk_rows[:, [0, 1, 1]], "y", head_parts.TRIM_COLOR
    )
    bulb = build_solid(
        "bulb", (0.0, 0.138, 0.0), ball_profile(0.0095, 0.0095, 0.0095), "y", head_parts.GLOW_COLOR
    )
    return [(nose, {"noseSneerLeft": sneer}), (neck, {}), (stalk, {}), (bulb, {})]


def _build_ears() -> list[tuple[Part, Shapes]]:
    center = (0.0, 0.012, 0.004)
    pod_rows = np.array([[0.084, 0.034], [0.098, 0.034], [0.1015, 0.031], [0.102, 0.024]])
    cap_rows = np.array([[0.1, 0.021], [0.1055, 0.020], [0.107, 0.017], [0.1073, 0.008]])
    ears: list[tuple[Part, Shapes]] = []
    for name, rows, color in (
        ("ear pod", pod_rows, head_parts.TRIM_COLOR),
        ("ear cap", cap_rows, head_parts.ACCENT_COLOR),
    ):
        part = build_solid(name, center, rows[:, [0, 1, 1]], "x", color, 28)
        ears += [(part, {}), _mirrored(part, {})]
    return ears


def _mirrored(part: Part, shapes: Shapes) -> tuple[Part, Shapes]:
    """The part on the other side. It must directly follow its original in the list of parts."""
    flip = np.array([-1.0, 1.0, 1.0])
    count = len(part.vertices)
    twin = Part(
        f"{part.name} (right)",
        part.vertices * flip,
        part.triangles[:, ::-1],
        part.colors,
        np.arange(count) - count,
    )
    part.mirror = np.arange(count) + count
    return twin, {mirror_name(shape): moved * flip for shape, moved in shapes.items()}


def _symmetrized(
    neutral: np.ndarray, deltas: np.ndarray, mirror: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Make the mesh its own mirror image to the last bit, and Right shapes those of Left."""
    flip = np.array([-1.0, 1.0, 1.0])
    neutral = 0.5 * (neutral + neutral[mirror] * flip)
    for name in ARKIT_NAMES:
        own, twin = ARKIT_INDEX[name], ARKIT_INDEX[mirror_name(name)]
        if name.endswith("Left"):
            deltas[twin] = deltas[own][mirror] * flip
        elif own == twin:
            deltas[own] = 0.5 * (deltas[own] + deltas[own][mirror] * flip)
    return neutral, deltas


def _lip_columns() -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the lip line above and below each other, corners left out."""
    row = len(LINING_M) * COLUMNS
    column = np.arange(1, COLUMNS // 2)
    return row + column, row + COLUMNS - column


def _lip_rows() -> np.ndarray:
    first = len(LINING_M) * COLUMNS
    return np.arange(first, first + len(head_parts.LIP_ROWS_M) * COLUMNS)
