"""Writes binary glTF 2.0 (.glb): rigs with morph targets, and animations of their weights."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.errors import RigError
from dualtalker.files import write_whole
from dualtalker.rig.gltf.format import (
    BIN_CHUNK,
    FLOAT,
    GLB_MAGIC,
    JSON_CHUNK,
    TRIANGLES,
    UNSIGNED_INT,
    UNSIGNED_SHORT,
    linear_from_srgb,
)
from dualtalker.rig.gltf.reader import open_glb
from dualtalker.rig.gltf.targets import list_drivers
from dualtalker.rig.rig import Rig, vertex_normals

_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_LARGEST_BUFFER = 1 << 29  # bytes: it is held in memory


def write_glb(rig: Rig, path: str | os.PathLike[str]) -> Path:
    """Write a rig as .glb: one mesh, its shapes as sparse morph targets named after ARKit.

    Loads in three.js, Blender and `load_rig`. Lip and upper-face vertices travel in the mesh's
    `extras`. Returns the path.
    """
    path = Path(path)
    writer = _Writer()
    mesh = _describe_mesh(rig, writer)
    document = {
        "asset": {"version": "2.0", "generator": "dualtalker"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": rig.name}],
        "meshes": [mesh],
        "materials": [
            {
                "name": "face",
                "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.5},
            }
        ],
        "bufferViews": writer.views,
        "accessors": writer.accessors,
        "buffers": [{"byteLength": len(writer.data)}],
    }
    write_whole(path, _pack(document, bytes(writer.data)))
    return path


def _describe_mesh(rig: Rig, writer: _Writer) -> dict[str, Any]:
    """Give the arrays of a rig to `writer`; return the glTF mesh that refers to them."""
    indices = rig.triangles.astype(np.uint32).ravel()
    primitive = {
        "attributes": _write_attributes(rig, writer),
        "indices": writer.add(indices, UNSIGNED_INT, "SCALAR", target=_ELEMENT_BUFFER),
        "mode": TRIANGLES,
        "material": 0,
        "targets": [{"POSITION": writer.add_sparse(delta)} for delta in rig.deltas],
    }
    landmarks = ("lip_upper", "lip_lower", "lip_vertices", "upper_face_vertices")
    extras: dict[str, Any] = {"targetNames": list(rig.names)}
    extras["dualtalker"] = {key: getattr(rig, key).tolist() for key in landmarks}
    return {
        "name": rig.name,
        "primitives": [primitive],
        "weights": [0.0] * len(rig.names),
        "extras": extras,
    }


def _write_attributes(rig: Rig, writer: _Writer) -> dict[str, int]:
    normals = vertex_normals(rig.neutral, rig.triangles)
    normals[~normals.any(axis=1)] = (0, 0, 1)  # glTF wants unit vectors, also of lone vertices
    attributes = {
        "POSITION": writer.add(rig.neutral, FLOAT, "VEC3", bounds=True),
        "NORMAL": writer.add(normals.astype(np.float32), FLOAT, "VEC3"),
    }
    if rig.colors is not None:
        # glTF's vertex colors are linear; 16 bits keep all 8-bit sRGB values apart.
        linear = np.round(linear_from_srgb(rig.colors) * 65535)
        opaque = np.full((len(linear), 1), 65535)
        color = np.concatenate([linear, opaque], axis=1).astype(np.uint16)
        attributes["COLOR_0"] = writer.add(color, UNSIGNED_SHORT, "VEC4", normalized=True)
    return attributes


def _pack(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    total = 12 + 8 + len(text) + 8 + len(binary)
    head = struct.pack("<III", GLB_MAGIC, 2, total)
    return b"".join(
        [
            head,
            struct.pack("<II", len(text), JSON_CHUNK),
            text,
            struct.pack("<II", len(binary), BIN_CHUNK),
            binary,
        ]
    )


class _Writer:
    """Collects buffer data, views and accessors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(
        self,
        array: np.ndarray,
        component: int,
        kind: str,
        bounds: bool = False,
        normalized: bool = False,
        target: int = _ARRAY_BUFFER,
    ) -> int:
        accessor: dict[str, Any] = {
            "bufferView": self._view(array, target),
            "componentType": component,
            "count": len(array),
            "type": kind,
        }
        if bounds:
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        if normalized:
            accessor["normalized"] = True
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def add_sparse(self, delta: np.ndarray) -> int:
        """A morph target that stores only what moves; most shapes move a part of the face."""
        moved = np.flatnonzero(np.abs(delta).max(axis=1) > 0)
        accessor: dict[str, Any] = {
            "componentType": FLOAT,
            "count": len(delta),
            "type": "VEC3",
            "min": delta.min(axis=0).tolist(),
            "max": delta.max(axis=0).tolist(),
        }
        if len(moved):
            accessor["sparse"] = {
                "count": len(moved),
                "indices": {
                    "bufferView": self._view(moved.astype(np.uint32)),
                    "componentType": UNSIGNED_INT,
                },
                "values": {"bufferView": self._view(delta[moved].astype(np.float32))},
            }
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def _view(self, array: np.ndarray, target: int | None = None) -> int:
        content = np.ascontiguousarray(array).tobytes()
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)}
        if target is not None:
            view["target"] = target
        self.data += content + b"\0" * (-len(content) % 4)
        self.views.append(view)
        return len(self.views) - 1


# ---- Animations ---------------------------------------------------------------------------------


def write_glb_animation(
    source: Path, path: Path, weights: np.ndarray, fps: float, name: str, extras: dict[str, Any]
) -> None:
    """Write the face of a .glb or .vrm with an animation of weights [frames, 52] at `path`.

    All else of the file stays: materials, textures, other animations. `name` and `extras` are the
    animation's. Each node whose mesh has targets that ARKit's weights drive gets a channel.

    Raises:
        RigError: the file is damaged, has no such target, or keeps its buffer elsewhere.
    """
    with open_glb(source) as (document, buffer):
        if buffer.size > _LARGEST_BUFFER:
            raise RigError(f"{buffer.size} bytes in its buffer; expected at most 512 MiB")
        buffers = document.get("buffers") or [{"byteLength": 0}]
        if "uri" in buffers[0]:
            raise RigError("its buffer is another file; expected one in the .glb itself")
        binary = _Binary(document, buffer.read(0, min(buffers[0]["byteLength"], buffer.size)))
        channels = _list_channels(document, weights)
        if not channels:
            raise RigError("no node shows a mesh whose morph targets ARKit's weights drive")
        times_s = (np.arange(len(weights)) / fps).astype(np.float32)
        bounds = {"min": [float(times_s[0])], "max": [float(times_s[-1])]}
        times = binary.add(times_s, **bounds)
        animation = {
            "name": name,
            "channels": [
                {"sampler": k, "target": {"node": node, "path": "weights"}}
                for k, (node, _) in enumerate(channels)
            ],
            "samplers": [
                {"input": times, "output": binary.add(values), "interpolation": "LINEAR"}
                for _, values in channels
            ],
            "extras": extras,
        }
        document.setdefault("animations", []).append(animation)
        buffers[0]["byteLength"] = len(binary.data)
        document["buffers"] = buffers
    write_whole(path, _pack(document, bytes(binary.data)))


def _list_channels(document: dict[str, Any], weights: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return the nodes to animate and the weights [frames, targets] of their meshes."""
    factors: dict[int, dict[int, list[tuple[str, float]]]] = {}
    for (mesh, _, target), parts in sorted(list_drivers(document).items()):
        # A mesh's primitives share the weights.
        factors.setdefault(mesh, {}).setdefault(target, parts)
    channels = []
    for number, node in enumerate(document.get("nodes", [])):
        driven = factors.get(node.get("mesh", -1))
        if driven is None:
            continue
        mesh = document["meshes"][node["mesh"]]
        count = len(mesh["primitives"][0].get("targets", ()))
        rest = node.get("weights") or mesh.get("weights") or [0.0] * count
        if len(rest) != count or max(driven) >= count:
            raise RigError(f"mesh {node['mesh']} has primitives with other targets than its first")
        values = np.tile(np.array(rest, np.float32), (len(weights), 1))
        for target, parts in driven.items():
            moved = sum(factor * weights[:, ARKIT_INDEX[name]] for name, factor in parts)
            values[:, target] = np.clip(moved, 0.0, 1.0)
        channels.append((number, values))
    return channels


class _Binary:
    """The buffer of a document, at whose end arrays are added."""

    def __init__(self, document: dict[str, Any], content: bytes) -> None:
        self.data = bytearray(content)
        self._views = document.setdefault("bufferViews", [])
        self._accessors = document.setdefault("accessors", [])

    def add(self, array: np.ndarray, **more: Any) -> int:
        """Add float32 numbers; return the index of their accessor."""
        self.data += b"\0" * (-len(self.data) % 4)
        content = np.ascontiguousarray(array, "<f4").tobytes()
        self._views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(content)})
        self.data += content
        self._accessors.append(
            {
                "bufferView": len(self._views) - 1,
                "componentType": FLOAT,
                "count": array.size,
                "type": "SCALAR",
                **more,
            }
        )
        return len(self._accessors) - 1
