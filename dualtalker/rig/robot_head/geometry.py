"""The neutral geometry of the default robot head, part by part.

Metres; x toward the head's own left, y up, z forward. Every part knows its mirror image, so the
head is exactly symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

SHELL_RADII_M = np.array([0.095, 0.115, 0.092])
SHELL_EXPONENT = 2.5  # 2 is an ellipsoid, larger is boxier
MOUTH_Y_M = -0.050  # nominal; the boxy shell puts the lip line 3 mm lower
LIP_HALF_WIDTH_M = 0.029
LIP_HEIGHT_M = 0.0085  # of each lip's colored part, at the middle
REST_HALF_GAP_M = 0.00005
REST_SMILE_M = 0.0022  # how far the corners lie above the middle
COLUMNS = 72  # around the mouth; divisible by 4, so that corners and middle are vertices

# Rows of skin, by distance from the lip line: the lips, then out to the back of the head.
LIP_ROWS_M = np.array([REST_HALF_GAP_M, 0.0011, 0.0024, 0.004, 0.0057, 0.0072, LIP_HEIGHT_M])
SKIN_ROWS_M = np.concatenate(
    [
        [0.0091, 0.0108, 0.0133, 0.0165, 0.0205, 0.025, 0.030, 0.0355, 0.0415, 0.048, 0.055],
        [0.0625, 0.0705, 0.079, 0.088, 0.098, 0.109, 0.121, 0.135, 0.15, 0.167, 0.186],
        [0.207, 0.23, 0.255, 0.28, 0.305],
    ]
)
# The mouth's lining, from the back wall to the lips: depth, half width, half height.
LINING_M = np.array(
    [
        [0.046, 0.004, 0.001],
        [0.046, 0.014, 0.006],
        [0.043, 0.021, 0.010],
        [0.033, 0.0245, 0.0125],
        [0.018, 0.0265, 0.0135],
        [0.009, 0.0275, 0.0125],
        [0.0045, 0.0282, 0.0085],
        [0.0020, 0.0287, 0.0022],
    ]
)

EYE_CENTER_M = np.array([0.041, 0.024])
EYE_RADII_M = np.array([0.0275, 0.030])
EYE_YAW_RAD = 0.24  # the eyes sit on a curved shell, turned a little outward
EYE_DOME_M = 0.0030

SHELL_COLOR = (236, 240, 245)
ACCENT_COLOR = (38, 166, 174)
TRIM_COLOR = (96, 112, 128)
LIP_COLOR = (212, 98, 100)
LINING_COLOR = (58, 18, 26)
DEEP_COLOR = (26, 8, 13)
TOOTH_COLOR = (252, 252, 248)
TONGUE_COLOR = (226, 112, 122)
BLUSH_COLOR = (250, 186, 178)
BROW_COLOR = (58, 70, 86)
EYE_COLOR = (252, 253, 255)
PUPIL_COLOR = (22, 30, 42)
LID_COLOR = (206, 220, 230)
LASH_COLOR = (70, 84, 100)
GLOW_COLOR = (255, 178, 62)


@dataclass
class Part:
    """A piece of the head. `mirror[i]` is the vertex that is the mirror image of vertex i.

    A part on one side has its mirror image in another part; until that is made, `mirror` is empty.
    """

    name: str
    vertices: np.ndarray  # [n, 3] metres
    triangles: np.ndarray  # [t, 3]
    colors: np.ndarray  # [n, 3] uint8
    mirror: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))  # [n]


def shell_point(across_m: np.ndarray, up_m: np.ndarray) -> np.ndarray:
    """Wrap a flat map centered on the mouth around the head. [...], [...] -> [..., 3].

    An azimuthal equidistant map on the unit sphere whose pole is the mouth, stretched to a
    superellipsoid; near the mouth distances on the map are distances on the shell.
    """
    tilt = np.arcsin(-MOUTH_Y_M / SHELL_RADII_M[1])
    p = across_m / SHELL_RADII_M[0]
    q = up_m / (SHELL_RADII_M[1] * np.cos(tilt))
    angle = np.hypot(p, q)
    scale = np.sinc(angle / np.pi)  # sin(angle) / angle
    x = scale * p
    y = -np.sin(tilt) * np.cos(angle) + np.cos(tilt) * scale * q
    z = np.cos(tilt) * np.cos(angle) + np.sin(tilt) * scale * q
    unit = np.stack([x, y, z], axis=-1)
    norm = (np.abs(unit) ** SHELL_EXPONENT).sum(axis=-1, keepdims=True) ** (1 / SHELL_EXPONENT)
    return unit / norm * SHELL_RADII_M


def shell_front_z(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the shell's front over the point (x, y), in metres."""
    a, b, d = SHELL_RADII_M
    rest = 1 - np.abs(x / a) ** SHELL_EXPONENT - np.abs(y / b) ** SHELL_EXPONENT
    return d * np.maximum(rest, 0.0) ** (1 / SHELL_EXPONENT)


def skin_coordinates() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angle around the mouth, distance from the lip line and depth inside, each [rows, columns].

    Confocal ellipses around the lip line (a slit of two LIP_HALF_WIDTH_M): angle 0 is the left
    corner, pi/2 the middle of the upper lip. Lining rows come first and have distance 0.
    """
    angle = 2 * np.pi * np.arange(COLUMNS) / COLUMNS
    distance = np.concatenate([np.zeros(len(LINING_M)), LIP_ROWS_M, SKIN_ROWS_M])
    depth = np.concatenate([LINING_M[:, 0], np.zeros(len(LIP_ROWS_M) + len(SKIN_ROWS_M))])
    rows = len(distance)
    return (
        np.broadcast_to(angle, (rows, COLUMNS)),
        np.broadcast_to(distance[:, None], (rows, COLUMNS)),
        np.broadcast_to(depth[:, None], (rows, COLUMNS)),
    )


def build_skin() -> Part:
    """Shell, lips and the mouth's lining as one surface."""
    angle, distance, depth = skin_coordinates()
    across = np.hypot(distance, LIP_HALF_WIDTH_M) * np.cos(angle)
    # The lower lip is the fuller one.
    fullness = 1 + 0.18 * (np.sin(angle) < 0) * np.exp(-((distance / 0.02) ** 2))
    up = distance * np.sin(angle) * fullness
    # The resting mouth smiles a little.
    up = up + REST_SMILE_M * np.cos(angle) ** 2 * np.exp(-((distance / 0.03) ** 2))
    vertices = shell_point(across, up)
    lip = np.clip(distance / LIP_HEIGHT_M, 0, 1)
    bulge = 0.0045 * np.sin(np.pi * lip**0.75) * np.abs(np.sin(angle)) ** 0.7
    groove = -0.0012 * np.exp(-((distance / 0.0015) ** 2))
    vertices[..., 2] += bulge + groove

    inside = len(LINING_M)
    rim = vertices[inside]
    for row, (deep, half_width, half_height) in enumerate(LINING_M):
        vertices[row, :, 0] = rim[:, 0] * half_width / LIP_HALF_WIDTH_M
        vertices[row, :, 1] = rim[:, 1] + half_height * np.sin(angle[row])
        # The back wall is flat, the rim follows the face.
        vertices[row, :, 2] = rim[:, 2] - deep
    colors = _color_skin(distance, depth, vertices)
    rows, columns = angle.shape
    triangles = grid_triangles(rows, columns, wrap=True)
    vertices, colors = vertices.reshape(-1, 3), colors.reshape(-1, 3)
    mirror = ring_mirror(rows, columns)
    return _closed(Part("skin", vertices, triangles, colors, mirror), angle.shape)


def _color_skin(distance: np.ndarray, depth: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    shell = np.array(SHELL_COLOR, dtype=float)
    colors = np.broadcast_to(shell, (*distance.shape, 3)).copy()
    cheek = np.hypot(
        (np.abs(vertices[..., 0]) - 0.056) / 0.016, (vertices[..., 1] + 0.026) / 0.011
    )
    blush = 0.75 * np.exp(-(cheek**2)) * (vertices[..., 2] > 0)
    colors += blush[..., None] * (np.array(BLUSH_COLOR) - shell)
    colors[(distance <= LIP_HEIGHT_M) & (depth == 0)] = LIP_COLOR
    dark = np.clip(depth / 0.02, 0, 1)[..., None]
    lining = (1 - dark) * np.array(LINING_COLOR) + dark * np.array(DEEP_COLOR)
    colors = np.where(depth[..., None] > 0, lining, colors)
    # A dark lip line stays readable when the lips are shut.
    colors[len(LINING_M) - 1] = np.array(LIP_COLOR) * 0.45
    colors[len(LINING_M)] = np.array(LIP_COLOR) * 0.62
    return colors.astype(np.uint8)


def _closed(part: Part, shape: tuple[int, ...]) -> Part:
    """Close the first and the last ring of a ring grid with one vertex each."""
    rows, columns = shape
    count = len(part.vertices)
    rings = part.vertices.reshape(rows, columns, 3)
    poles = np.stack([rings[0].mean(axis=0), rings[-1].mean(axis=0)])
    ring = np.arange(columns)
    after = np.roll(ring, -1)
    last = (rows - 1) * columns
    first_fan = np.stack([np.full(columns, count), ring, after], axis=1)
    last_fan = np.stack([np.full(columns, count + 1), last + after, last + ring], axis=1)
    return Part(
        part.name,
        np.concatenate([part.vertices, poles]),
        np.concatenate([part.triangles, first_fan, last_fan]),
        np.concatenate([part.colors, part.colors[:1], part.colors[-1:]]),
        np.concatenate([part.mirror, [count, count + 1]]),
    )


def grid_triangles(rows: int, columns: int, wrap: bool) -> np.ndarray:
    """Two triangles for each cell of a grid; `wrap` joins the last column to the first."""
    row, column = np.meshgrid(
        np.arange(rows - 1), np.arange(columns if wrap else columns - 1), indexing="ij"
    )
    after = (column + 1) % columns
    a, b = row * columns + column, (row + 1) * columns + column
    c, d = (row + 1) * columns + after, row * columns + after
    return np.concatenate(
        [np.stack([a, b, c], axis=-1).reshape(-1, 3), np.stack([a, c, d], axis=-1).reshape(-1, 3)]
    )


def ring_mirror(rows: int, columns: int) -> np.ndarray:
    """Mirror partners in a grid of rings whose column j lies at angle 2 pi j / columns from x."""
    partner = (columns // 2 - np.arange(columns)) % columns
    return (np.arange(rows)[:, None] * columns + partner).ravel()


def build_grid(name: str, grid: np.ndarray, color: tuple[int, int, int], wrap: bool) -> Part:
    """A part of one color from a grid of vertices [rows, columns, 3], without its mirror."""
    rows, columns = grid.shape[:2]
    colors = np.tile(np.array(color, dtype=np.uint8), (rows * columns, 1))
    return Part(name, grid.reshape(-1, 3), grid_triangles(rows, columns, wrap), colors)


def build_solid(
    name: str,
    center: tuple[float, float, float],
    profile: np.ndarray,
    axis: str,
    color: tuple[int, int, int],
    columns: int = 20,
) -> Part:
    """A solid of revolution: profile [rows, 3] of (along the axis, radius one, radius two).

    Along z the radii are x and y; along y they are x and z; along x they are y and z (its mirror
    partner is then another part). Rows run toward the positive axis.
    """
    angle = 2 * np.pi * np.arange(columns) / columns
    along, one, two = (profile[:, index, None] for index in range(3))
    cosine, sine = one * np.cos(angle), two * np.sin(angle)
    along = np.broadcast_to(along, cosine.shape)
    vertices = {
        "z": np.stack([cosine, sine, along], axis=-1),
        "y": np.stack([cosine, along, -sine], axis=-1),
        "x": np.stack([along, cosine, sine], axis=-1),
    }[axis] + np.array(center)
    part = build_grid(name, vertices, color, wrap=True)
    part.mirror = ring_mirror(len(profile), columns)
    return turned_outward(_closed(part, vertices.shape[:2]))


def turned_outward(part: Part) -> Part:
    """Flip the triangles of a closed part where they face inward (its signed volume tells)."""
    a, b, c = (part.vertices[part.triangles[:, corner]] for corner in range(3))
    if np.einsum("ij,ij->", a - part.vertices.mean(axis=0), np.cross(b - a, c - a)) < 0:
        part.triangles = part.triangles[:, ::-1]
    return part


def turned_forward(part: Part) -> Part:
    """Flip the triangles of an open part where they face backward on the whole."""
    a, b, c = (part.vertices[part.triangles[:, corner]] for corner in range(3))
    if np.cross(b - a, c - a)[:, 2].sum() < 0:
        part.triangles = part.triangles[:, ::-1]
    return part


def ball_profile(along_m: float, one_m: float, two_m: float, rows: int = 10) -> np.ndarray:
    """The profile of an ellipsoid for `build_solid`, without its poles."""
    t = np.pi * (np.arange(rows) + 0.5) / rows
    return np.stack([-along_m * np.cos(t), one_m * np.sin(t), two_m * np.sin(t)], axis=1)


def build_teeth(name: str, top_m: float, bottom_m: float, front_z_m: float) -> Part:
    """A curved bar of teeth between two heights."""
    columns, half_width = 25, 0.0245
    u = np.linspace(-1, 1, columns)
    section = np.array([[0.0, 0.6], [0.12, 0.1], [0.5, 0.0], [0.88, 0.1], [1.0, 0.6]])
    height = top_m + (bottom_m - top_m) * section[:, :1]
    x = np.broadcast_to(half_width * u, (len(section), columns))
    z = front_z_m - 0.009 * u**2 - 0.0035 * section[:, 1:]
    y = height + REST_SMILE_M * (x / LIP_HALF_WIDTH_M) ** 2
    part = build_grid(name, np.stack([x, y, z], axis=-1), TOOTH_COLOR, wrap=False)
    # Columns run from one side of the head to the other.
    part.mirror = np.arange(len(part.vertices)).reshape(-1, columns)[:, ::-1].ravel()
    return turned_forward(part)
