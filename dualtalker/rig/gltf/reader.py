"""Reads rigs from binary glTF 2.0 (.glb) with morph targets.

Nothing in a file is trusted: every offset and count is checked before it is used.
"""

from __future__ import annotations

import json
import logging
import struct
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.errors import RigError
from dualtalker.rig.gltf.accessors import AccessorReader
from dualtalker.rig.gltf.format import (
    BIN_CHUNK,
    GLB_MAGIC,
    JSON_CHUNK,
    TRIANGLES,
    find_item,
    srgb_from_linear,
)
from dualtalker.rig.gltf.targets import DocumentTargets, read_targets
from dualtalker.rig.gltf.vrm import faces_backward
from dualtalker.rig.retargeting import Plan, complete_shapes, tell_ignored
from dualtalker.rig.rig import MAX_VERTICES, Rig, build_rig

_log = logging.getLogger("dualtalker")


def read_glb(path: Path, scale: float = 1.0) -> Rig:
    """Read a .glb or .vrm: all meshes with morph targets that ARKit knows, as one rig, in metres.

    Meshes without such targets (body, clothes) are left out. Where shapes have other names, and
    which stand in for missing ones: `rig.shape_names`, `rig.retargeting`. Skinned meshes stay in
    their bind pose. RigError on any damage, and on compression extensions, which it cannot undo.
    """
    try:
        document, binary = _unpack(path.read_bytes())
        parts = _collect(document, AccessorReader(document, binary, MAX_VERTICES))
        return _merge(path, parts, scale)
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


def _unpack(content: bytes) -> tuple[dict[str, Any], bytes]:
    if len(content) < 20:
        raise RigError(f"found {len(content)} bytes; a .glb has at least 20")
    magic, version, total = struct.unpack_from("<III", content)
    if magic != GLB_MAGIC or version != 2:
        raise RigError("found no glTF 2.0 header; export as 'glTF binary (.glb)', version 2")
    if total != len(content):
        raise RigError(f"the header says {total} bytes, the file has {len(content)}: truncated?")
    chunks: dict[int, bytes] = {}
    place = 12
    while place < total:
        if place + 8 > total:
            raise RigError(f"a chunk header at byte {place} is cut off")
        length, kind = struct.unpack_from("<II", content, place)
        if place + 8 + length > total:
            raise RigError(f"the chunk at byte {place} claims {length} bytes beyond the end")
        chunks.setdefault(kind, content[place + 8 : place + 8 + length])
        place += 8 + length
    try:
        document = json.loads(chunks.get(JSON_CHUNK, b"").decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RigError(f"the JSON chunk cannot be read ({error})") from error
    if not isinstance(document, dict):
        raise RigError("the JSON chunk is not an object")
    return document, chunks.get(BIN_CHUNK, b"")


def _collect(document: dict[str, Any], reader: AccessorReader) -> list[dict[str, Any]]:
    """Read all primitives with morph targets that are used, in world coordinates."""
    parts: list[dict[str, Any]] = []
    targets = read_targets(document)
    total = 0
    for node, matrix in _world_nodes(document):
        mesh = find_item(document, "meshes", node["mesh"])
        for index, primitive in enumerate(mesh["primitives"]):
            own = targets.primitives.get((node["mesh"], index))
            if own is None or not own.plan:
                continue
            part = _read_primitive(primitive, own.plan, matrix, reader)
            part["extras"] = (mesh.get("extras") or {}).get("dualtalker")
            total += len(part["neutral"])
            if total > MAX_VERTICES:
                raise RigError(f"found over {MAX_VERTICES} vertices; expected fewer")
            parts.append(part)
    if not parts:
        raise RigError(_tell_nothing(targets))
    tell_ignored("", [use for own in targets.primitives.values() if own.plan for use in own.uses])
    for own in targets.primitives.values():
        if own.note and not own.plan:
            _log.warning("left out %s: %s", own.mesh, own.note)
    return parts


def _tell_nothing(targets: DocumentTargets) -> str:
    """Say what was found in a file in which nothing is a face."""
    others = sorted({use.raw for own in targets.primitives.values() for use in own.uses})
    notes = [f"{own.mesh} has {own.note}" for own in targets.primitives.values() if own.note]
    found = f" (others: {others[:8]})" if others else ""
    return (
        f"found no mesh with ARKit morph targets{found}"
        + "".join(f"; {note}" for note in notes[:4])
        + "; export the face with its shape keys, named as jawOpen, mouthSmileLeft and so on "
        "(`dualtalker rig --names` lists what is understood)"
    )


def _read_primitive(
    primitive: dict[str, Any],
    plan: Plan,
    matrix: np.ndarray,
    reader: AccessorReader,
) -> dict[str, Any]:
    if primitive.get("mode", TRIANGLES) != TRIANGLES:
        raise RigError(f"found primitive mode {primitive['mode']}; expected 4 (triangles)")
    if primitive.get("extensions"):
        raise RigError(
            f"found the extension {sorted(primitive['extensions'])}; export without compression"
        )
    attributes = primitive["attributes"]
    position = reader.read(attributes["POSITION"], "VEC3")
    linear = matrix[:3, :3]
    triangles = _read_triangles(primitive, len(position), reader)
    if np.linalg.det(linear) < 0:
        triangles = triangles[:, ::-1]
    shapes = {name: np.zeros_like(position, dtype=np.float32) for name in plan}
    for name, moved in plan.items():
        for index, weight in moved:
            delta = _read_target(primitive["targets"], index, len(position), reader)
            shapes[name] += (weight * (delta @ linear.T)).astype(np.float32)
    return {
        "neutral": position @ linear.T + matrix[:3, 3],
        "triangles": triangles,
        "shapes": shapes,
        "colors": _read_colors(attributes, len(position), reader),
    }


def _read_target(
    targets: list[dict[str, Any]], index: int, count: int, reader: AccessorReader
) -> np.ndarray:
    """Read the displacement [count, 3] of a morph target; zeros where it moves no position."""
    if index >= len(targets) or "POSITION" not in targets[index]:
        return np.zeros((count, 3))
    delta = reader.read(targets[index]["POSITION"], "VEC3")
    if len(delta) != count:
        raise RigError(
            f"morph target {index} has {len(delta)} vertices; expected {count} as in its mesh"
        )
    return delta


def _read_triangles(primitive: dict[str, Any], count: int, reader: AccessorReader) -> np.ndarray:
    if "indices" in primitive:
        indices = reader.read(primitive["indices"], "SCALAR", whole=True).ravel()
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
    colors = reader.read(attributes["COLOR_0"], ("VEC3", "VEC4"))[:, :3]
    if len(colors) != count:
        raise RigError(f"found {len(colors)} vertex colors; expected {count}")
    return srgb_from_linear(colors)


def _merge(path: Path, parts: list[dict[str, Any]], scale: float) -> Rig:
    """Join primitives to one rig; a shape that only some of them have leaves the others still."""
    starts = np.cumsum([0] + [len(part["neutral"]) for part in parts])
    neutral = np.concatenate([part["neutral"] for part in parts]) * scale
    found: dict[str, np.ndarray] = {}
    for part, start in zip(parts, starts[:-1], strict=True):
        for name, own in part["shapes"].items():
            delta = found.setdefault(name, np.zeros(neutral.shape, dtype=np.float32))
            delta[start : start + len(own)] = own * scale
    names, stacked = complete_shapes(found, neutral)
    colors = None
    if all(part["colors"] is not None for part in parts):
        colors = np.concatenate([part["colors"] for part in parts])
    landmarks: dict[str, Any] = {}
    if len(parts) == 1 and isinstance(parts[0]["extras"], dict):
        for key in ("lip_upper", "lip_lower", "lip_vertices", "upper_face_vertices"):
            if key in parts[0]["extras"]:
                landmarks[key] = _whole_numbers(key, parts[0]["extras"][key])
    placed = zip(parts, starts[:-1], strict=True)
    return build_rig(
        path.stem,
        neutral,
        np.concatenate([part["triangles"] + start for part, start in placed]),
        names,
        stacked,
        colors,
        **landmarks,
    )


def _whole_numbers(key: str, values: object) -> np.ndarray:
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise RigError(f"extras.dualtalker.{key}: expected a list of whole numbers")
    return np.array(values, dtype=np.int64)


def _world_nodes(document: dict[str, Any]) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Nodes of the default scene that have a mesh, with their world matrices [4, 4]."""
    scenes = document.get("scenes") or [{"nodes": list(range(len(document.get("nodes", []))))}]
    scene = scenes[document.get("scene", 0)]
    root = np.diag([-1.0, 1.0, -1.0, 1.0]) if faces_backward(document) else np.eye(4)
    waiting = [(index, root) for index in scene.get("nodes", [])]
    visited: set[int] = set()
    found = []
    while waiting:
        index, above = waiting.pop(0)
        node = find_item(document, "nodes", index)
        if index in visited:
            raise RigError(f"node {index} is reached twice; a scene must be a tree")
        visited.add(index)
        matrix = above @ _local_matrix(node)
        waiting += [(child, matrix) for child in node.get("children", [])]
        if "mesh" in node:
            # By the specification a skinned mesh ignores its node's transform.
            found.append((node, root if "skin" in node else matrix))
    return found


def _local_matrix(node: dict[str, Any]) -> np.ndarray:
    if "matrix" in node:
        return _numbers(node["matrix"], 16).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = _numbers(node.get("rotation", [0, 0, 0, 1]), 4)
    matrix[:3, :3] = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    ) * _numbers(node.get("scale", [1, 1, 1]), 3)
    matrix[:3, 3] = _numbers(node.get("translation", [0, 0, 0]), 3)
    return matrix


def _numbers(values: object, count: int) -> np.ndarray:
    if (
        not isinstance(values, list)
        or len(values) != count
        or not all(type(value) in (int, float) for value in values)
    ):
        raise RigError(f"a node's transform has {values!r}; expected {count} numbers")
    array = np.array(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise RigError(f"a node's transform has {values!r}; expected finite numbers")
    return array
