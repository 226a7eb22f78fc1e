"""How skin, teeth and tongue of the default robot head move for each jaw, mouth and cheek shape.

Each shape is a smooth field over the mouth's own coordinates (angle around the lips, distance
from the lip line), tuned so that the lip gap per unit weight stands in the same relation to
`jawOpen` as on the ICT-FaceKit face. Shapes named Right are mirror images and not made here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualtalker.rig.robot_head.geometry import LIP_HALF_WIDTH_M, LIP_HEIGHT_M

_HINGE_M = np.array([0.0, -0.032, 0.0])
JAW_OPEN_RAD = 0.40
JAW_SLIDE_M = 0.0075  # a jaw does not only turn, it also slides down
_CORNER_SHARE = 0.16  # of the jaw's drop that the mouth corners follow


Component = float | np.ndarray


@dataclass
class Mouth:
    """Where the skin's vertices lie relative to the mouth; arrays [n], positions [n, 3]."""

    rest: np.ndarray
    angle: np.ndarray
    distance: np.ndarray  # from the lip line, metres; 0 inside
    depth: np.ndarray  # behind the lips, metres; 0 outside

    def __post_init__(self) -> None:
        self.across = np.cos(self.angle)  # 1 at the left corner
        self.upper = np.clip(np.sin(self.angle), 0, 1)
        self.lower = np.clip(-np.sin(self.angle), 0, 1)
        self.left = _smoothstep((self.across + 0.75) / 1.5)
        self.corner = _smoothstep((self.across + 0.05) / 1.05)
        self.bend = np.clip(self.across, 0, 1) ** 2

    def near(self, reach_m: float, depth_reach_m: float = 0.02) -> np.ndarray:
        """1 at the lips, falling to 0 at `reach_m` from them, and with the depth inside."""
        outside = np.clip(1 - (self.distance / reach_m) ** 2, 0, 1) ** 2
        return outside * np.clip(1 - (self.depth / depth_reach_m) ** 2, 0, 1) ** 2

    def field(self, x: Component = 0.0, y: Component = 0.0, z: Component = 0.0) -> np.ndarray:
        """Stack components (numbers or [n]) to displacements [n, 3]."""
        return np.stack([np.broadcast_to(part, self.angle.shape) for part in (x, y, z)], axis=-1)


def jaw_swing(points: np.ndarray) -> np.ndarray:
    """Displacement of points fixed to the jaw at `jawOpen` = 1. [n, 3] -> [n, 3]."""
    cosine, sine = np.cos(JAW_OPEN_RAD), np.sin(JAW_OPEN_RAD)
    y, z = (points - _HINGE_M)[:, 1], (points - _HINGE_M)[:, 2]
    return np.stack(
        [np.zeros_like(y), cosine * y - sine * z - y - JAW_SLIDE_M, cosine * z + sine * y - z],
        axis=-1,
    )


def jaw_share(mouth: Mouth) -> np.ndarray:
    """How much of the jaw's motion each skin vertex follows, [n]."""
    profile = np.where(
        mouth.lower > 0,
        _CORNER_SHARE + (1 - _CORNER_SHARE) * mouth.lower**0.85,
        _CORNER_SHARE * (1 - mouth.upper) ** 2,
    )
    reach = 0.060 + 0.095 * mouth.lower
    chin = _smoothstep((reach - mouth.distance) / (0.60 * reach))
    lining = np.where(mouth.lower > 0, 1 - 0.3 * np.clip(mouth.depth / 0.046, 0, 1), 1.0)
    return profile * chin * lining


def skin_shapes(mouth: Mouth) -> dict[str, np.ndarray]:
    """Displacements [n, 3] of the skin for every central and left shape that moves it."""
    return {
        **_jaw_shapes(mouth),
        **_rounding_shapes(mouth),
        **_lip_shapes(mouth),
        **_corner_shapes(mouth),
        **_cheek_shapes(mouth),
    }


def jaw_shapes_of(points: np.ndarray, share: float = 1.0) -> dict[str, np.ndarray]:
    """Displacements of parts inside the mouth that follow the jaw (lower teeth, tongue)."""
    still = np.zeros_like(points)
    return {
        "jawOpen": share * jaw_swing(points),
        "jawForward": still + share * np.array([0.0, -0.0010, 0.0090]),
        "jawLeft": still + share * np.array([0.0090, 0.0, 0.0]),
    }


def _jaw_shapes(m: Mouth) -> dict[str, np.ndarray]:
    share = jaw_share(m)
    swing = share[:, None] * jaw_swing(m.rest)
    narrowing = m.field(x=-0.09 * m.rest[:, 0] * m.near(0.04))
    # Where the mouth shuts over an open jaw, the lips return and the chin stays down.
    shut = np.clip(1 - (m.distance / 0.085), 0, 1) ** 1.3 * np.clip(1 - m.depth / 0.05, 0, 1)
    shut = np.where(m.distance <= LIP_HEIGHT_M, np.where(m.depth > 0, shut, 1.0), shut)
    return {
        "jawOpen": swing + narrowing,
        "mouthClose": -(swing + narrowing) * shut[:, None],
        "jawForward": share[:, None] * np.array([0.0, -0.0014, 0.0095]),
        "jawLeft": share[:, None] * np.array([0.0090, 0.0, 0.0])
        + m.field(x=0.0016 * m.near(0.04)),
    }


def _rounding_shapes(m: Mouth) -> dict[str, np.ndarray]:
    lip = np.clip(m.distance / LIP_HEIGHT_M, 0, 1)
    x = m.rest[:, 0]
    inward = np.sign(x) * np.minimum(np.abs(x), LIP_HALF_WIDTH_M)
    roundness = m.upper - m.lower
    pucker_up = m.near(0.035) * (0.0040 * lip * np.abs(roundness) - 0.0010) * roundness
    return {
        "mouthFunnel": m.field(
            x=-0.40 * inward * m.near(0.045),
            y=m.near(0.034) * (0.0060 * m.upper - 0.0083 * m.lower),
            z=0.0105 * m.near(0.04) + 0.0030 * m.near(0.012) * np.abs(roundness),
        ),
        "mouthPucker": m.field(
            x=-0.48 * inward * m.near(0.05),
            y=pucker_up,
            z=0.0125 * m.near(0.04) * (0.55 + 0.45 * np.abs(roundness)),
        ),
        "mouthLeft": m.field(x=0.0125 * m.near(0.055), z=-0.0015 * m.near(0.05) * m.left),
    }


def _lip_shapes(m: Mouth) -> dict[str, np.ndarray]:
    lip = np.clip(m.distance / LIP_HEIGHT_M, 0, 1)
    tuck = np.clip(1 - m.distance / 0.0140, 0, 1) * np.clip(1 - m.depth / 0.012, 0, 1)
    squeeze = 0.72 * LIP_HEIGHT_M * lip * m.near(0.020)
    upper, lower = np.sqrt(m.upper), np.sqrt(m.lower)
    thin = 0.30 * LIP_HEIGHT_M * lip * m.near(0.020) * (lower - upper)
    return {
        "mouthRollLower": m.field(y=lower * (squeeze + 0.0014 * tuck), z=-0.0085 * lower * tuck),
        "mouthRollUpper": m.field(y=-upper * (squeeze - 0.0010 * tuck), z=-0.0085 * upper * tuck),
        "mouthShrugLower": m.field(
            y=0.0078 * lower * m.near(0.060), z=lower * 0.0055 * m.near(0.030)
        ),
        "mouthShrugUpper": m.field(
            y=0.0058 * upper * m.near(0.034), z=upper * 0.0015 * m.near(0.025)
        ),
        "mouthPressLeft": m.field(
            x=0.0012 * m.corner * m.near(0.03),
            y=m.left * (2 * thin + m.near(0.03) * (0.0024 * lower - 0.0005 * upper)),
            z=-m.left * 0.0016 * m.near(0.018),
        ),
        "mouthLowerDownLeft": m.field(
            x=0.0010 * m.corner * m.near(0.03),
            y=-0.0076 * m.left * m.lower**0.7 * m.near(0.036),
            z=-0.0010 * m.left * lower * m.near(0.03),
        ),
        "mouthUpperUpLeft": m.field(
            x=0.0010 * m.corner * m.near(0.03),
            y=0.0084 * m.left * m.upper**0.7 * m.near(0.036),
            z=-0.0006 * m.left * upper * m.near(0.03),
        ),
        "noseSneerLeft": m.field(y=0.0062 * m.left * m.upper * m.near(0.045)),
    }


def _corner_shapes(m: Mouth) -> dict[str, np.ndarray]:
    """Shapes that move the mouth's left corner and draw both lips along."""
    corner, wide = m.corner * m.near(0.050), m.left * m.near(0.045)
    bend = m.bend * m.near(0.050)
    tight = m.corner * m.near(0.028)
    return {
        "mouthSmileLeft": m.field(
            x=0.0100 * corner, y=0.0115 * bend + 0.0010 * wide, z=-0.0055 * corner
        ),
        "mouthFrownLeft": m.field(
            x=-0.0008 * corner, y=-0.0105 * bend - 0.0004 * wide, z=-0.0020 * corner
        ),
        "mouthDimpleLeft": m.field(x=0.0060 * tight, y=0.0016 * tight, z=-0.0050 * tight),
        "mouthStretchLeft": m.field(
            x=0.0112 * corner, y=-0.0026 * corner - 0.0006 * wide, z=-0.0050 * corner
        ),
    }


def _cheek_shapes(m: Mouth) -> dict[str, np.ndarray]:
    x, y = m.rest[:, 0], m.rest[:, 1]
    front = _smoothstep(m.rest[:, 2] / 0.03) * (m.depth == 0)

    def spot(sideways_m: float, up_m: float, width_m: float, height_m: float) -> np.ndarray:
        radius = ((x - sideways_m) / width_m) ** 2 + ((y - up_m) / height_m) ** 2
        return np.clip(1 - radius / 4, 0, 1) ** 2 * front

    cheek = spot(0.052, -0.048, 0.017, 0.020)
    other = spot(-0.052, -0.048, 0.017, 0.020)
    raised = spot(0.054, -0.024, 0.016, 0.014)
    lips = m.near(0.02)
    return {
        "cheekPuff": m.field(
            x=0.0090 * (cheek - other),
            y=(m.lower - m.upper) * 0.0002 * lips,
            z=0.0105 * (cheek + other) + 0.0020 * lips,
        ),
        "cheekSquintLeft": m.field(x=0.0015 * raised, y=0.0060 * raised, z=0.0045 * raised),
    }


def _smoothstep(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
