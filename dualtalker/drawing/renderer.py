"""A software renderer for face rigs: numpy only, no window and no graphics driver needed.

Orthographic z-buffer rasterizer with smooth shading.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.drawing.inner_mouth import find_inner_mouth
from dualtalker.drawing.scan_lines import cover_lines, list_spans, make_planes, make_turn
from dualtalker.errors import RigError
from dualtalker.rig import Rig, vertex_normals

_SUPERSAMPLING = 2  # samples per pixel each way; `_bounds` and `_averaged` count on 2
_DEPTH_LEVELS = (1 << 30) - 1
_NUMBER_BITS = 32  # of a depth buffer entry hold the triangle's number, the rest its nearness
# Range of red, green, blue and nearness; a little inside, so that rounding cannot leave it.
_LOWEST = np.array([1, 1, 1, 64], dtype=np.float32)
_HIGHEST = np.array([254, 254, 254, _DEPTH_LEVELS - 64], dtype=np.float32)
_FIELD, _FRACTION = 20, 10  # bits of a packed color's channel, and how many are below the point
_STILL_M = 5e-5  # what all shapes together move less than this counts as still
_CLOSE_UP_MOTION_M = 0.004  # what moves this far belongs into a close-up
_CLAY_COLOR, _DARK_COLOR = (222, 188, 170), (70, 26, 30)
_BACKGROUND_TOP = np.array([232.0, 238.0, 243.0])
_BACKGROUND_BOTTOM = np.array([196.0, 207.0, 216.0])
# Directions to the lights, for x to the viewer's right, y up, z to the viewer.
_KEY_LIGHT = np.array([-0.45, 0.60, 0.75])
_FILL_LIGHT = np.array([0.75, 0.10, 0.55])
_KEY_STRENGTH, _FILL_STRENGTH, _AMBIENT = 0.66, 0.20, 0.31
_GLOSS_STRENGTH, _GLOSS_POWER = 22.0, 24


class Renderer:
    """Draws a rig, by default from the front, always at the same scale and place.

    What no shape of the rig moves is drawn once and kept, so a frame costs only what moves.
    """

    def __init__(
        self,
        rig: Rig,
        width: int = 480,
        height: int = 480,
        yaw_deg: float = 0.0,
        pitch_deg: float = 4.0,
        names: Sequence[str] = ARKIT_NAMES,
        close_up: bool = False,
    ) -> None:
        """yaw turns the head to its own left, pitch looks at it from above; `names` order weights.

        A close-up fits what the shapes move into the picture instead of the whole rig.

        RigError where the picture is smaller than 16 x 16 or larger than 4096 x 4096 pixels.
        """
        if not (16 <= width <= 4096 and 16 <= height <= 4096):
            raise RigError(f"picture of {width} x {height}: expected 16 to 4096 pixels each way")
        self.rig, self.width, self.height = rig, width, height
        self.names = tuple(names)
        self._columns = width * _SUPERSAMPLING
        self._rows = height * _SUPERSAMPLING
        self._turn = make_turn(yaw_deg, pitch_deg)
        colors = _clay_colors(rig) if rig.colors is None else rig.colors
        self._colors = colors.astype(np.float32)
        self._frame_view(close_up)
        moves = np.linalg.norm(rig.deltas, axis=2).sum(axis=0) > _STILL_M
        self._still = np.flatnonzero(~moves)
        # A still vertex next to a moving one changes its normal, so it is redrawn, too.
        touched = np.zeros(len(rig.neutral), dtype=bool)
        touched[rig.triangles[moves[rig.triangles].any(axis=1)]] = True
        redrawn = touched[rig.triangles].any(axis=1)
        # Normals of the redrawn triangles' corners need all triangles around them.
        needed = np.zeros(len(rig.neutral), dtype=bool)
        needed[rig.triangles[redrawn]] = True
        self._around = rig.triangles[needed[rig.triangles].any(axis=1)]
        self._moving = rig.triangles[redrawn]
        self._moving_vertices = np.unique(self._moving)
        self._draw_still(rig.triangles[~redrawn])

    def render(self, weights: np.ndarray) -> np.ndarray:
        """Draw the face with these weights [names]. Returns [height, width, 3] uint8 sRGB."""
        return self.render_vertices(self.rig.pose(np.asarray(weights), self.names))

    def render_vertices(self, vertices: np.ndarray) -> np.ndarray:
        """Draw posed vertices [vertices, 3] metres. Returns [height, width, 3] uint8 sRGB.

        Parts that no shape moves are drawn as in the neutral pose. RigError on a wrong shape
        and on NaN.
        """
        if vertices.shape != self.rig.neutral.shape:
            raise RigError(
                f"vertices have shape {list(vertices.shape)}; "
                f"expected {list(self.rig.neutral.shape)} for rig {self.rig.name!r}"
            )
        if not np.isfinite(vertices).all():
            raise RigError("vertices to draw hold NaN or infinite values; expected finite numbers")
        # Kept exactly still, or seams could open beside what was drawn before.
        vertices = vertices.astype(np.float32)
        vertices[self._still] = self.rig.neutral[self._still]
        turned, screen = self._project(vertices)
        picture = self._still_picture.copy()
        left, top, right, bottom = self._bounds(screen[self._moving_vertices])
        if left < right and top < bottom:
            # Only the rectangle around what moves is drawn again.
            depth = self._still_depth[top:bottom, left:right].copy()
            image = self._still_image[top:bottom, left:right].copy()
            screen[:, :2] -= np.array([left, top], dtype=np.float32)
            self._draw(turned, screen, self._moving, self._around, depth, image)
            picture[top // 2 : bottom // 2, left // 2 : right // 2] = _averaged(image)
        return picture

    def _project(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices as the viewer sees them, and their sample columns, rows and nearness."""
        turned = vertices @ self._turn.T.astype(np.float32)
        screen = np.empty_like(turned)
        screen[:, 0] = (turned[:, 0] - self._middle[0]) * self._scale + 0.5 * self._columns
        screen[:, 1] = 0.5 * self._rows - (turned[:, 1] - self._middle[1]) * self._scale
        screen[:, 2] = (turned[:, 2] - self._middle[2]) * self._depth_scale + 0.5 * _DEPTH_LEVELS
        return turned, screen

    def _bounds(self, points: np.ndarray) -> tuple[int, int, int, int]:
        """Left, top, right and bottom sample around screen points, on whole pixels."""
        if len(points) == 0:
            return 0, 0, 0, 0
        size = np.array([self._columns, self._rows])
        low = np.clip(np.floor(points[:, :2].min(axis=0) / 2) * 2, 0, size).astype(int)
        high = np.clip(np.ceil(points[:, :2].max(axis=0) / 2) * 2, 0, size).astype(int)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    def _frame_view(self, close_up: bool) -> None:
        """Choose scale and place: the rig fits in, at rest and with an open jaw."""
        rig = self.rig
        weights = np.zeros((2, len(ARKIT_NAMES)), dtype=np.float32)
        weights[1, ARKIT_NAMES.index("jawOpen")] = 1
        posed = rig.pose(weights)
        if close_up:
            strong = np.linalg.norm(rig.deltas, axis=2).max(axis=0) > _CLOSE_UP_MOTION_M
            posed = posed[:, strong] if strong.any() else posed
        points = posed.reshape(-1, 3) @ self._turn.T
        low, high = points.min(axis=0), points.max(axis=0)
        margin = 1.08
        self._scale = min(
            self._columns / ((high[0] - low[0]) * margin),
            self._rows / ((high[1] - low[1]) * margin),
        )
        self._middle = 0.5 * (low + high)
        reach = float(np.abs(rig.deltas[..., 2]).sum(axis=0).max()) + float(high[2] - low[2])
        self._depth_scale = _DEPTH_LEVELS / (2.2 * reach)

    def _draw_still(self, triangles: np.ndarray) -> None:
        shade = np.linspace(0, 1, self._rows)[:, None, None] ** 1.2
        background = _BACKGROUND_TOP + shade * (_BACKGROUND_BOTTOM - _BACKGROUND_TOP)
        self._still_image = np.repeat(_packed(background), self._columns, axis=1)
        self._still_depth = np.zeros((self._rows, self._columns), dtype=np.int64)
        turned, screen = self._project(self.rig.neutral)
        around = self.rig.triangles
        self._draw(turned, screen, triangles, around, self._still_depth, self._still_image)
        self._still_picture = _averaged(self._still_image)
        # Keep only depths: later triangles are numbered from zero again.
        self._still_depth |= (1 << _NUMBER_BITS) - 1

    def _draw(
        self,
        turned: np.ndarray,
        screen: np.ndarray,
        triangles: np.ndarray,
        around: np.ndarray,
        depth: np.ndarray,
        image: np.ndarray,
    ) -> None:
        """Draw triangles [n, 3] over a depth buffer and an image [rows, columns], in place.

        `around` are the triangles that make the vertex normals. A depth buffer entry holds
        the sample's nearness in its upper half and the triangle's number in its lower half.
        """
        rows, columns = depth.shape
        a, b, c = (screen[triangles[:, corner]] for corner in range(3))
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (
            c[:, 0] - a[:, 0]
        )
        front = np.flatnonzero(area < -1e-6)  # rows run down, so counter-clockwise is negative
        if len(front) == 0:
            return
        triangles = triangles[front]
        lit = _light(turned, around, self._colors)
        values = np.concatenate([np.clip(lit, 1, 254), screen[:, 2:]], axis=1, dtype=np.float32)
        planes = make_planes(screen, triangles, values)
        lines, column, row = cover_lines(screen, triangles, columns, rows)
        number = np.repeat(np.arange(len(triangles)), lines)
        step, run = list_spans(np.maximum(column - column[:, :1], 0))
        # What is linear along a scan line is its start plus a slope, packed in whole numbers.
        first, slope = _ends(planes, lines, column, row)
        key = np.repeat((np.round(slope[:, 3]).astype(np.int64) << _NUMBER_BITS), run)
        key *= step
        key += np.repeat((first[:, 3].astype(np.int64) << _NUMBER_BITS) | number, run)
        pixel = np.repeat(row * columns + column[:, 0], run)
        pixel += step
        np.maximum.at(depth.reshape(-1), pixel, key)
        seen = np.flatnonzero(depth.reshape(-1)[pixel] == key)
        color = np.repeat(_packed(slope[:, :3]), run)
        color *= step
        color += np.repeat(_packed(first[:, :3]), run)
        image.reshape(-1)[pixel[seen]] = color[seen]


def _ends(
    planes: np.ndarray, lines: np.ndarray, column: np.ndarray, row: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values at the first sample of each scan line and their change per sample, [lines, 4] each.

    `lines` [triangles] counts the scan lines of each triangle. Values are kept in range: the
    plane of a triangle seen from its edge is so steep that rounding would carry it anywhere.
    """
    along_x, along_y, offset = (np.repeat(plane, lines, axis=0) for plane in planes)
    left = column[:, :1].astype(np.float32)
    steps = np.maximum(column[:, 1:] - 1 - column[:, :1], 0).astype(np.float32)
    first = along_y * row[:, None].astype(np.float32)
    first += offset
    first += along_x * left
    last = first + along_x * steps
    for value in (first, last):
        np.minimum(np.maximum(value, _LOWEST, out=value), _HIGHEST, out=value)
    last -= first
    last /= np.maximum(steps, 1)
    return first, last


def _averaged(image: np.ndarray) -> np.ndarray:
    """The mean color of each pixel's samples: packed [2 h, 2 w] -> [h, w, 3] uint8."""
    pairs = image[0::2] + image[1::2]  # packed colors add up field by field
    total = pairs[:, 0::2] + pairs[:, 1::2]
    picture = np.empty((*total.shape, 3), dtype=np.uint8)
    for channel in range(3):
        picture[..., channel] = (total >> (channel * _FIELD + _FRACTION + 2)) & 0xFF
    return picture


def _packed(color: np.ndarray) -> np.ndarray:
    """Pack colors [..., 3] in 0..255 to fixed-point numbers side by side in one, [...] int64.

    Sums and multiples of packed colors are those of the colors, also for negative slopes, as
    long as each result is one that fits into its field.
    """
    fixed = np.round(color * (1 << _FRACTION)).astype(np.int64)
    return fixed[..., 0] + (fixed[..., 1] << _FIELD) + (fixed[..., 2] << (2 * _FIELD))


def _light(turned: np.ndarray, triangles: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Vertex colors [vertices, 3] under the key and fill light, with a soft highlight."""
    normal = vertex_normals(turned, triangles)
    key = _KEY_LIGHT / np.linalg.norm(_KEY_LIGHT)
    fill = _FILL_LIGHT / np.linalg.norm(_FILL_LIGHT)
    # Half-Lambert: light wraps around the form, which keeps shadows soft.
    diffuse = _KEY_STRENGTH * (0.5 * (normal @ key) + 0.5) ** 1.5
    diffuse += _FILL_STRENGTH * np.maximum(normal @ fill, 0) + _AMBIENT
    halfway = key + np.array([0.0, 0.0, 1.0])
    gloss = np.maximum(normal @ (halfway / np.linalg.norm(halfway)), 0) ** _GLOSS_POWER
    # Dark surfaces are the inside of the mouth: no highlight there.
    shine = _GLOSS_STRENGTH * gloss * (colors.max(axis=1) / 255) ** 2
    return (colors * diffuse[:, None] + shine[:, None]).astype(np.float32)


def _clay_colors(rig: Rig) -> np.ndarray:
    """Colors for a rig that has none: clay, dark inside the mouth so that it can be read."""
    colors = np.tile(np.array(_CLAY_COLOR), (len(rig.neutral), 1))
    colors[find_inner_mouth(rig)] = _DARK_COLOR
    return colors
