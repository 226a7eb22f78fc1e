"""The left eye and brow of the default robot head: geometry and motion. The right is mirrored.

An eye is flat-fronted: a shallow dome behind a round rim, an iris that slides over the dome, and
two lids that slide in front of it like shutters. Frame: u across, v up, w out of the socket.
"""

from __future__ import annotations

import numpy as np

from dualtalker.rig.robot_head.geometry import (
    ACCENT_COLOR,
    BROW_COLOR,
    EYE_CENTER_M,
    EYE_COLOR,
    EYE_DOME_M,
    EYE_RADII_M,
    EYE_YAW_RAD,
    LASH_COLOR,
    LID_COLOR,
    PUPIL_COLOR,
    TRIM_COLOR,
    Part,
    build_grid,
    shell_front_z,
    turned_forward,
    turned_outward,
)

_IRIS_RADIUS_M = 0.0150
_PUPIL_RADIUS_M = 0.0088
_GLINT_RADIUS_M = 0.0031
_LID_ROWS, _LID_COLUMNS = 7, 21
# Lid lines as shares of the eye's half height: (at the middle, how far the sides hang lower).
_UPPER_LINE = {
    "rest": (0.66, 0.10),
    "eyeBlinkLeft": (-0.37, -0.16),
    "eyeSquintLeft": (0.46, 0.06),
    "eyeWideLeft": (0.97, 0.10),
    "eyeLookDownLeft": (0.42, 0.08),
    "eyeLookUpLeft": (0.80, 0.10),
}
_LOWER_LINE = {
    "rest": (-0.86, -0.06),
    "eyeBlinkLeft": (-0.34, -0.16),
    "eyeSquintLeft": (-0.42, 0.04),
    "eyeWideLeft": (-0.97, -0.06),
    "eyeLookDownLeft": (-0.92, -0.06),
    "eyeLookUpLeft": (-0.82, -0.06),
    "cheekSquintLeft": (-0.62, 0.02),
    "mouthSmileLeft": (-0.80, -0.02),
}
_GAZE_M = {
    "eyeLookDownLeft": (0.0, -0.0085),
    "eyeLookUpLeft": (0.0, 0.0085),
    "eyeLookInLeft": (-0.0095, 0.0),
    "eyeLookOutLeft": (0.0095, 0.0),
}
# Brow motion: height change at the inner end, the middle and the outer end; sideways change.
_BROW_M = {
    "browDownLeft": ((-0.0085, -0.0055, -0.0020), -0.0025),
    "browInnerUp": ((0.0105, 0.0050, 0.0005), 0.0),
    "browOuterUpLeft": ((0.0005, 0.0060, 0.0105), 0.0),
}


def build_left_eye() -> list[tuple[Part, dict[str, np.ndarray]]]:
    """Parts of the left eye and brow, each with the displacements [n, 3] of its shapes."""
    pieces = [_build_rim(), _build_ball()]
    for name, radius, lift, color in (
        ("iris", _IRIS_RADIUS_M, 0.0014, ACCENT_COLOR),
        ("pupil", _PUPIL_RADIUS_M, 0.0022, PUPIL_COLOR),
        ("glint", _GLINT_RADIUS_M, 0.0030, EYE_COLOR),
    ):
        center = (0.0042, 0.0050) if name == "glint" else (0.0, 0.0)
        pieces.append(_build_slider(name, radius, lift, color, center))
    pieces.append(_build_lid("upper lid", 1.0, _UPPER_LINE, 0.0082))
    pieces.append(_build_lid("lower lid", -1.0, _LOWER_LINE, 0.0074))
    pieces.append(_build_brow())
    return pieces


def _place(local: np.ndarray) -> np.ndarray:
    """Eye frame [..., 3] -> head frame."""
    x, y = EYE_CENTER_M
    origin = np.array([x, y, float(shell_front_z(x, y)) + 0.0012])
    return origin + _turn(local)


def _turn(local: np.ndarray) -> np.ndarray:
    cosine, sine = np.cos(EYE_YAW_RAD), np.sin(EYE_YAW_RAD)
    u, v, w = local[..., 0], local[..., 1], local[..., 2]
    return np.stack([cosine * u + sine * w, v, cosine * w - sine * u], axis=-1)


def _dome(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return EYE_DOME_M * (1 - (u / EYE_RADII_M[0]) ** 2 - (v / EYE_RADII_M[1]) ** 2)


def _build_rim() -> tuple[Part, dict[str, np.ndarray]]:
    around, across = 40, 8
    angle = 2 * np.pi * np.arange(around) / around
    turn = 2 * np.pi * np.arange(across + 1) / across
    radius = 0.0024 + 0.0032 * np.cos(turn)[:, None]
    u = (EYE_RADII_M[0] + radius) * np.cos(angle)
    v = (EYE_RADII_M[1] + radius) * np.sin(angle)
    w = np.broadcast_to(-0.0020 + 0.0105 * np.sin(turn)[:, None], u.shape)
    part = build_grid("rim", _place(np.stack([u, v, w], axis=-1)), TRIM_COLOR, wrap=True)
    return turned_outward(part), {}


def _build_ball() -> tuple[Part, dict[str, np.ndarray]]:
    angle = 2 * np.pi * np.arange(32) / 32
    share = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])[:, None]
    u = share * EYE_RADII_M[0] * np.cos(angle)
    v = share * EYE_RADII_M[1] * np.sin(angle)
    local = np.stack([u, v, _dome(u, v)], axis=-1)
    return turned_forward(build_grid("eye", _place(local), EYE_COLOR, wrap=True)), {}


def _build_slider(
    name: str,
    radius_m: float,
    lift_m: float,
    color: tuple[int, int, int],
    center: tuple[float, float],
) -> tuple[Part, dict[str, np.ndarray]]:
    """A disc that lies on the dome and slides over it with the gaze."""
    angle = 2 * np.pi * np.arange(24) / 24
    share = np.array([0.0, 0.5, 0.8, 1.0])[:, None]
    u = center[0] + share * radius_m * np.cos(angle)
    v = center[1] + share * radius_m * np.sin(angle)
    local = np.stack([u, v, _dome(u, v) + lift_m], axis=-1)
    part = turned_forward(build_grid(name, _place(local), color, wrap=True))
    if name == "iris":  # a dark ring around the iris
        part.colors[-24:] = (np.array(color) * 0.45).astype(np.uint8)
    moves = {}
    for shape, (du, dv) in _GAZE_M.items():
        there = np.stack([u + du, v + dv, _dome(u + du, v + dv) + lift_m], axis=-1)
        moves[shape] = _turn(there - local).reshape(-1, 3)
    return part, moves


def _build_lid(
    name: str, side: float, lines: dict[str, tuple[float, float]], height_m: float
) -> tuple[Part, dict[str, np.ndarray]]:
    """A shutter from the rim (above for side 1, below for side -1) to a lid line."""
    k = np.sin(np.linspace(-0.5, 0.5, _LID_COLUMNS) * np.pi)
    edge = side * EYE_RADII_M[1] * np.sqrt(1 - k**2) * 1.01

    def at(line: tuple[float, float]) -> np.ndarray:
        middle, hang = line
        level = EYE_RADII_M[1] * (middle - hang * k**2)
        level = np.clip(level, -np.abs(edge), np.abs(edge))
        share = np.linspace(0, 1, _LID_ROWS)[:, None]
        v = edge + share * (level - edge)
        u = np.broadcast_to(EYE_RADII_M[0] * k, v.shape)
        w = np.broadcast_to(height_m - 0.0052 * k**2, v.shape)
        return np.stack([u, v, w], axis=-1)

    rest = at(lines["rest"])
    part = turned_forward(build_grid(name, _place(rest), LID_COLOR, wrap=False))
    part.colors[-_LID_COLUMNS:] = LASH_COLOR
    moves = {
        shape: _turn(at(line) - rest).reshape(-1, 3)
        for shape, line in lines.items()
        if shape != "rest"
    }
    return part, moves


def _build_brow() -> tuple[Part, dict[str, np.ndarray]]:
    """A rounded bar over the eye, floating a little in front of the shell."""
    t = np.linspace(-1, 1, 15)
    thickness = 0.0036 * np.sqrt(np.clip(1 - 0.985 * t**4, 0, 1))
    x = EYE_CENTER_M[0] + 0.0195 * t
    y = EYE_CENTER_M[1] + EYE_RADII_M[1] + 0.0175 - 0.0018 * t - 0.0042 * t**2
    turn = 2 * np.pi * np.arange(10) / 10
    ring_y = y[:, None] + thickness[:, None] * np.sin(turn)
    ring_z = (shell_front_z(x, y) + 0.0075)[:, None] + 0.8 * thickness[:, None] * np.cos(turn)
    vertices = np.stack([np.broadcast_to(x[:, None], ring_y.shape), ring_y, ring_z], axis=-1)
    part = build_grid("brow", vertices, BROW_COLOR, wrap=True)
    moves = {}
    for shape, ((inner, middle, outer), sideways) in _BROW_M.items():
        lift = middle + 0.5 * (outer - inner) * t + (0.5 * (outer + inner) - middle) * t**2
        moved = np.zeros_like(vertices)
        moved[..., 1] = lift[:, None]
        moved[..., 0] = sideways
        moves[shape] = moved.reshape(-1, 3)
    return turned_outward(part), moves
