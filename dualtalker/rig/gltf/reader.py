"""Reads rigs from binary glTF 2.0 (.glb) with morph targets.

Nothing in a file is trusted: every offset and count is checked before it is used.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.errors import RigError
from dualtalker.rig.gltf.accessors import AccessorReader
from dualtalker.rig.gltf.container import Buffer, open_container
from dualtalker.rig.gltf.draco import undo_draco
from dualtalker.rig.gltf.format import TRIANGLES, find_item, srgb_from_linear
from dualtalker.rig.gltf.nodes import check_size, find_mesh_nodes
from dualtalker.rig.gltf.rest_pose import RestPose
from dualtalker.rig.gltf.targets import DocumentTargets, MeshTargets, read_extras, read_targets
from dualtalker.rig.placement import find_scale, find_turn
from dualtalker.rig.retargeting import Plan, complete_shapes, tell_ignored
from dualtalker.rig.rig import MAX_VERTICES, Rig, build_rig, check_moved

_MOST_FACES = 2000  # primitives with targets; an avatar has up to 100
_MOST_READS = 20_000  # of morph targets; 100 primitives have 5,200
_MOST_CORNERS = 12 * MAX_VERTICES

_log = logging.getLogger("dualtalker")


def read_glb(path: Path, scale: float | None = None) -> Rig:
    """Read a .glb or .vrm: all meshes with morph targets that ARKit knows, as one rig, in metres.

    Meshes without such targets (body, clothes) are left out. Where shapes have other names, and
    which stand in for missing ones: `rig.shape_names`, `rig.retargeting`. Skinned meshes rest as
    their skeleton does. `scale` is metres per unit; axes and, without `scale`, the unit are
    mended where the face is clearly laid otherwise (`rig.placement`). What is too much is refused
    by the file's JSON, before any of it is read. RigError on any damage, and on compression,
    with the command that undoes it.
    """
    with open_glb(path) as (document, buffer):
        reader = AccessorReader(document, buffer, MAX_VERTICES, path.name)
        rest_pose = RestPose(reader)
        faces = _find_faces(document, reader, find_mesh_nodes(document))
        undo_draco(reader, [face.primitive for _, face in faces])
        parts = [_read_face(node, face, rest_pose, reader) for node, face in faces]
        return _merge(path, parts, scale)


def list_targets(path: Path) -> DocumentTargets:
    """Return the morph targets of a .glb or .vrm, of which nothing but the JSON is read.

    Raises:
        RigError: the file is damaged.
    """
    with open_glb(path) as (document, _):
        return read_targets(document)


@contextlib.contextmanager
def open_glb(path: Path) -> Iterator[tuple[dict[str, Any], Buffer]]:
    """Open a file; whatever is wrong with it, also later, is a RigError that names it."""
    try:
        with path.open("rb") as file:
            yield open_container(file)
    except RigError as error:
        raise RigError(f"{path}: {error}") from error
    except (
        KeyError,
        TypeError,
        AttributeError,
        LookupError,
        ValueError,
        ArithmeticError,
    ) as error:
        raise RigError(f"{path}: glTF structure is damaged ({error!r})") from error
    except OSError as error:
        raise RigError(f"{path}: cannot be read ({error})") from error


@dataclass
class _Face:
    """A primitive with morph targets that are used, of which nothing but the JSON is read."""

    mesh: dict[str, Any]
    primitive: dict[str, Any]
    plan: Plan
    count: int  # vertices
    corners: int  # of triangles


def _find_faces(
    document: dict[str, Any], reader: AccessorReader, nodes: Sequence[int]
) -> list[tuple[int, _Face]]:
    """Find all primitives with used targets, each with its node; refuse more than can be read."""
    targets = read_targets(document)
    faces: dict[int, list[_Face]] = {}
    for (index, number), own in targets.primitives.items():
        if own.plan:
            mesh = document["meshes"][index]
            faces.setdefault(index, []).append(_face_of(mesh, number, own, reader))
    found: list[tuple[int, _Face]] = []
    shapes = len(targets.names)
    vertices = reads = corners = 0
    for node in nodes:
        index = document["nodes"][node]["mesh"]
        find_item(document, "meshes", index)
        for face in faces.get(index, []):
            vertices += face.count
            reads += sum(map(len, face.plan.values()))
            corners += face.corners
            check_moved(vertices, shapes)
            found.append((node, face))
            if reads > _MOST_READS or corners > _MOST_CORNERS or len(found) > _MOST_FACES:
                raise RigError(
                    f"found over {_MOST_FACES} primitives, {_MOST_READS} morph targets or "
                    f"{_MOST_CORNERS} corners of triangles; expected fewer. Export the face alone"
                )
    if not found:
        raise RigError(_tell_nothing(targets))
    tell_ignored("", [use for own in targets.primitives.values() if own.plan for use in own.uses])
    for own in targets.primitives.values():
        if own.note and not own.plan:
            _log.warning("left out %s: %s", own.mesh, own.note)
    return found


def _face_of(
    mesh: dict[str, Any], index: int, targets: MeshTargets, reader: AccessorReader
) -> _Face:
    primitive = mesh["primitives"][index]
    count = corners = reader.count(primitive["attributes"]["POSITION"])
    if "indices" in primitive:
        corners = reader.count(primitive["indices"], whole=True)
    return _Face(mesh, primitive, targets.plan, count, corners)


def _tell_nothing(targets: DocumentTargets) -> str:
    """Say what was found in a file in which nothing is a face."""
    others = sorted({use.raw[:40] for own in targets.primitives.values() for use in own.uses})
    notes = [f"{own.mesh} has {own.note}" for own in targets.primitives.values() if own.note]
    found = f" (others: {others[:8]})" if others else ""
    return (
        f"found no mesh with ARKit morph targets{found}"
        + "".join(f"; {note}" for note in notes[:4])
        + "; export the face with its shape keys, named as jawOpen, mouthSmileLeft and so on "
        "(`dualtalker rig --names` lists what is understood)"
    )


def _read_face(
    node: int, face: _Face, rest_pose: RestPose, reader: AccessorReader
) -> dict[str, Any]:
    """Read a primitive as its node places it."""
    primitive = face.primitive
    if primitive.get("mode", TRIANGLES) != TRIANGLES:
        raise RigError(f"found primitive mode {primitive['mode']}; expected 4 (triangles)")
    attributes = primitive["attributes"]
    position = reader.read(attributes["POSITION"], "VEC3", "POSITION")
    check_size("vertices lead", position)
    matrix = rest_pose.find_matrices(node, attributes, face.count)
    linear = matrix[:, :3, :3]
    triangles = _read_triangles(primitive, face.count, reader)
    with np.errstate(over="ignore", invalid="ignore"):  # numpy 1.24 warns; their size is told
        mirrored = np.median(np.linalg.det(linear)) < 0
    if mirrored:
        triangles = triangles[:, ::-1]
    shapes = {name: np.zeros_like(position, dtype=np.float32) for name in face.plan}
    for name, moved in face.plan.items():
        for index, weight in moved:
            delta = _read_target(primitive["targets"], index, face.count, reader)
            check_size("a morph target leads", delta)
            shapes[name] += (weight * _turned(linear, delta)).astype(np.float32)
    return {
        "neutral": _turned(linear, position) + matrix[:, :3, 3],
        "triangles": triangles,
        "shapes": shapes,
        "colors": _read_colors(attributes, face.count, reader),
        "extras": read_extras(face.mesh).get("dualtalker"),
    }


def _turned(linear: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Vectors [n, 3] by matrices [1 or n, 3, 3]."""
    if len(linear) == 1:
        return vectors @ linear[0].T
    return (linear @ vectors[:, :, None])[:, :, 0]


def _read_target(
    targets: list[dict[str, Any]], index: int, count: int, reader: AccessorReader
) -> np.ndarray:
    """Read the displacement [count, 3] of a morph target; zeros where it moves no position."""
    if index >= len(targets) or "POSITION" not in targets[index]:
        return np.zeros((count, 3))
    return reader.read(targets[index]["POSITION"], "VEC3", f"morph target {index}", count)


def _read_triangles(primitive: dict[str, Any], count: int, reader: AccessorReader) -> np.ndarray:
    if "indices" in primitive:
        indices = reader.read_whole(primitive["indices"], "indices")
    else:
        indices = np.arange(count)
    if len(indices) % 3:
        raise RigError(f"found {len(indices)} indices; expected a multiple of 3")
    return indices.astype(np.int64).reshape(-1, 3)


def _read_colors(
    attributes: dict[str, Any], count: int, reader: AccessorReader
) -> np.ndarray | None:
    if "COLOR_0" not in attributes:
        return None
    colors = reader.read(attributes["COLOR_0"], ("VEC3", "VEC4"), "COLOR_0", count)[:, :3]
    return srgb_from_linear(colors)


def _merge(path: Path, parts: list[dict[str, Any]], scale: float | None) -> Rig:
    """Join primitives to one rig; a shape that only some of them have leaves the others still."""
    starts = np.cumsum([0] + [len(part["neutral"]) for part in parts])
    neutral = np.concatenate([part["neutral"] for part in parts])
    placed = zip(parts, starts[:-1], strict=True)
    triangles = np.concatenate([part["triangles"] + start for part, start in placed])
    found: dict[str, np.ndarray] = {}
    for part, start in zip(parts, starts[:-1], strict=True):
        for name, own in part.pop("shapes").items():
            delta = found.setdefault(name, np.zeros(neutral.shape, dtype=np.float32))
            delta[start : start + len(own)] = own
    is_ours = any(isinstance(part["extras"], dict) for part in parts)
    if not is_ours:
        turn = find_turn(neutral, triangles, found)
        neutral = neutral @ turn.T
        found = {name: delta @ turn.T for name, delta in found.items()}
    names, deltas = complete_shapes(found, neutral)
    if scale is None:
        scale = 1.0 if is_ours else find_scale(path.name, neutral, names, deltas, is_metric=True)
    return build_rig(
        path.stem,
        neutral * scale,
        triangles,
        names,
        deltas if scale == 1.0 else deltas * np.float32(scale),
        _join_colors(parts),
        **_read_landmarks(parts),
    )


def _join_colors(parts: list[dict[str, Any]]) -> np.ndarray | None:
    if any(part["colors"] is None for part in parts):
        return None
    return np.concatenate([part["colors"] for part in parts])


def _read_landmarks(parts: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """What `write_glb` put into the extras of a rig's only mesh."""
    extras = parts[0]["extras"] if len(parts) == 1 else None
    if not isinstance(extras, dict):
        return {}
    keys = ("lip_upper", "lip_lower", "lip_vertices", "upper_face_vertices")
    return {key: _whole_numbers(key, extras[key]) for key in keys if key in extras}


def _whole_numbers(key: str, values: object) -> np.ndarray:
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise RigError(f"extras.dualtalker.{key}: expected a list of whole numbers")
    return np.array(values, dtype=np.int64)
