"""A face rig: a neutral mesh and ARKit blendshapes on it, posed linearly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.errors import RigError
from dualtalker.rig.landmarks import find_lip_pairs, find_lip_vertices, find_upper_face_vertices

# Lip pairs this near to the middle, as a share of the half width, are central.
_CENTRAL_SHARE = 0.35
# The largest side of a rig's bounding box: from a toy to a stage set.
MIN_EXTENT_M = 0.001
MAX_EXTENT_M = 1000.0
# More is a mistake or an attack.
MAX_VERTICES = 400_000
MAX_MOVED = 200_000 * len(ARKIT_NAMES)  # vertices times shapes: 125 MB of deltas


@dataclass(eq=False)
class Rig:
    """A face mesh with named blendshapes; `build_rig` checks and completes the fields.

    Positions are metres: x toward the face's own left, y up, z out of the face.
    """

    name: str
    neutral: np.ndarray  # [vertices, 3] float32
    triangles: np.ndarray  # [triangles, 3] int32, counter-clockwise seen from outside
    names: tuple[str, ...]  # ARKit names of the shapes, in ARKit's order
    deltas: np.ndarray  # [shapes, vertices, 3] float32, displacement at weight 1
    colors: np.ndarray | None  # [vertices, 3] uint8, sRGB
    lip_upper: np.ndarray  # [pairs] int32, inner edge of the upper lip
    lip_lower: np.ndarray  # [pairs] int32, the vertex of the lower lip below it
    lip_vertices: np.ndarray  # [n] int32, both lips
    upper_face_vertices: np.ndarray  # [n] int32, brows, lids and nose

    @property
    def missing(self) -> tuple[str, ...]:
        """ARKit shapes this rig does not have; posing ignores them."""
        return tuple(name for name in ARKIT_NAMES if name not in self.names)

    def pose(self, weights: np.ndarray, names: Sequence[str] = ARKIT_NAMES) -> np.ndarray:
        """Return neutral + sum of weight * delta. weights [..., names] -> [..., vertices, 3] m.

        Shapes that the rig lacks are ignored (`missing` lists them). RigError where the last axis
        of `weights` does not match `names`.
        """
        own = self._own_weights(weights, names)
        flat = self.deltas.reshape(len(self.names), -1)
        moved = own.reshape(-1, len(self.names)) @ flat + self.neutral.reshape(1, -1)
        return moved.reshape(*own.shape[:-1], *self.neutral.shape)

    def lip_gap(self, weights: np.ndarray, names: Sequence[str] = ARKIT_NAMES) -> np.ndarray:
        """Return the vertical distance between the lips in metres. weights [..., names] -> [...].

        The mean over the central lip pairs of upper minus lower height; it is the plain mesh
        measure, so it is negative where the lips cross. Zero weights give the rest gap.
        """
        rest_m, slopes_m = self.lip_gap_line
        return rest_m + self._own_weights(weights, names) @ slopes_m

    @cached_property
    def lip_gap_line(self) -> tuple[float, np.ndarray]:
        """The gap as a line in the weights: rest gap (m), and metres per unit weight [shapes]."""
        upper, lower = self.central_lip_pairs
        rest_m = float((self.neutral[upper, 1] - self.neutral[lower, 1]).mean())
        slopes_m = (self.deltas[:, upper, 1] - self.deltas[:, lower, 1]).mean(axis=1)
        return rest_m, slopes_m.astype(np.float32)

    @cached_property
    def central_lip_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """The pairs near the middle of the mouth: two index arrays [pairs]."""
        x = 0.5 * (self.neutral[self.lip_upper, 0] + self.neutral[self.lip_lower, 0])
        middle, half = 0.5 * (x.max() + x.min()), 0.5 * (x.max() - x.min())
        offset = np.abs(x - middle)
        central = offset <= max(_CENTRAL_SHARE * half, offset.min() + 1e-9)
        return self.lip_upper[central], self.lip_lower[central]

    def _own_weights(self, weights: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Reorder weights [..., names] to this rig's shapes; absent ones are zero."""
        weights = np.asarray(weights, dtype=np.float32)
        if weights.ndim == 0 or weights.shape[-1] != len(names):
            raise RigError(
                f"weights have shape {list(weights.shape)}; "
                f"expected [..., {len(names)}], one for each of the given shape names"
            )
        if tuple(names) == self.names:
            return weights
        column = {name: index for index, name in enumerate(names)}
        own = np.zeros((*weights.shape[:-1], len(self.names)), dtype=np.float32)
        for index, name in enumerate(self.names):
            if name in column:
                own[..., index] = weights[..., column[name]]
        return own


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Return unit normals [vertices, 3] float64, means over the triangles around; 0 without any.

    Each triangle counts by its area.
    """
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    facing = np.repeat(np.cross(b - a, c - a), 3, axis=0)
    corners = triangles.ravel()
    sums = [np.bincount(corners, facing[:, axis], len(vertices)) for axis in range(3)]
    normals = np.stack(sums, axis=1)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def build_rig(
    name: str,
    neutral: np.ndarray,
    triangles: np.ndarray,
    names: Sequence[str],
    deltas: np.ndarray,
    colors: np.ndarray | None = None,
    lip_upper: np.ndarray | None = None,
    lip_lower: np.ndarray | None = None,
    lip_vertices: np.ndarray | None = None,
    upper_face_vertices: np.ndarray | None = None,
) -> Rig:
    """Check the parts of a rig, find the landmarks that are not given, and return it.

    Array shapes as in `Rig`; blendshapes are put into ARKit's order. RigError names the field
    that lies, what was found and what was expected.
    """
    neutral = _checked(f"{name}: neutral", neutral, np.float32, (None, 3))
    _check_size(name, neutral)
    count = len(neutral)
    triangles = _checked_indices(f"{name}: triangles", triangles, count, (None, 3))
    names = _checked_names(name, names)
    check_moved(count, len(names))
    deltas = _checked(f"{name}: deltas", deltas, np.float32, (len(names), count, 3))
    order = sorted(range(len(names)), key=lambda index: ARKIT_INDEX[names[index]])
    names, deltas = tuple(names[index] for index in order), deltas[order]
    if colors is not None:
        colors = _checked(f"{name}: colors", colors, np.uint8, (count, 3))
    if lip_vertices is None:
        lip_vertices = find_lip_vertices(neutral, names, deltas)
    lip_vertices = _checked_indices(f"{name}: lip_vertices", lip_vertices, count, (None,))
    if (lip_upper is None) != (lip_lower is None):
        raise RigError(f"{name}: lip_upper and lip_lower belong together; only one is given")
    if lip_upper is None or lip_lower is None:
        lip_upper, lip_lower = find_lip_pairs(neutral, names, deltas, lip_vertices)
    lip_upper, lip_lower = _checked_pairs(name, lip_upper, lip_lower, count)
    if upper_face_vertices is None:
        upper_face_vertices = find_upper_face_vertices(names, deltas, lip_vertices)
    upper = _checked_indices(f"{name}: upper_face_vertices", upper_face_vertices, count, (None,))
    shapes = (neutral, triangles, names, deltas, colors)
    return Rig(name, *shapes, lip_upper, lip_lower, lip_vertices, upper)


def check_moved(vertex_count: int, shape_count: int) -> None:
    """Refuse so many vertices and shapes that room for their deltas would be a burden: RigError.

    For readers, which know both before they read the deltas.
    """
    if vertex_count > MAX_VERTICES or vertex_count * shape_count > MAX_MOVED:
        raise RigError(
            f"found {vertex_count} vertices and {shape_count} shapes; expected at most "
            f"{MAX_VERTICES} vertices, and at most {MAX_MOVED} vertices times shapes. Export the "
            "face alone, without subdivision"
        )


def _check_size(name: str, neutral: np.ndarray) -> None:
    """A face of no size or of planetary size is a mistake that would fail only when drawn."""
    if len(neutral) < 3:
        raise RigError(f"{name}: neutral has {len(neutral)} vertices; a face needs at least 3")
    extent_m = float(np.ptp(neutral.astype(np.float64), axis=0).max())
    if not MIN_EXTENT_M <= extent_m <= MAX_EXTENT_M:
        raise RigError(
            f"{name}: neutral spans {extent_m:g} m; expected {MIN_EXTENT_M:g} to "
            f"{MAX_EXTENT_M:g} m. Give `scale`, the metres in one unit of the file"
        )


def _checked_names(name: str, names: Sequence[str]) -> tuple[str, ...]:
    names = tuple(names)
    unknown = [shape for shape in names if shape not in ARKIT_INDEX]
    if unknown or len(set(names)) != len(names) or not names:
        found = (
            f"unknown {unknown}" if unknown else f"{len(names)} names, {len(set(names))} distinct"
        )
        raise RigError(f"{name}: names: found {found}; expected ARKit names, each once")
    return names


def _checked_pairs(
    name: str, upper: np.ndarray, lower: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    upper = _checked_indices(f"{name}: lip_upper", upper, count, (None,))
    lower = _checked_indices(f"{name}: lip_lower", lower, count, (len(upper),))
    if len(upper) == 0:
        raise RigError(f"{name}: lip_upper is empty; expected at least one lip pair")
    return upper, lower


def _checked(
    what: str, array: np.ndarray, dtype: type[np.generic], shape: tuple[int | None, ...]
) -> np.ndarray:
    """Return `array` as a contiguous `dtype` after checking shape (None: any) and finiteness."""
    array = np.asarray(array)
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype.kind not in "iuf":
        wanted = ["any" if want is None else want for want in shape]
        raise RigError(
            f"{what}: found {array.dtype} {list(array.shape)}; expected numbers {wanted}"
        )
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite: told below
        result = np.ascontiguousarray(array, dtype=dtype)
    if result.dtype.kind == "f" and not np.isfinite(result).all():
        raise RigError(f"{what}: found NaN or infinite values; expected finite float32 numbers")
    return result


def _checked_indices(
    what: str, array: np.ndarray, vertex_count: int, shape: tuple[int | None, ...]
) -> np.ndarray:
    array = np.asarray(array)
    if array.size and array.dtype.kind not in "iu":
        raise RigError(f"{what}: found {array.dtype}; expected whole numbers")
    if array.size and (array.min() < 0 or array.max() >= vertex_count):
        raise RigError(
            f"{what}: found indices {array.min()} to {array.max()}; "
            f"expected 0 to {vertex_count - 1} for {vertex_count} vertices"
        )
    return _checked(what, array if array.size else array.astype(np.int32), np.int32, shape)
