"""Writes rigs as binary glTF 2.0 (.glb) with morph targets."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

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
from dualtalker.rig.rig import Rig, vertex_normals

_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963


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
    write_whole(path, pack_glb(document, bytes(writer.data)))
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


def pack_glb(document: dict[str, Any], binary: bytes) -> bytes:
    """Return the content of a .glb of a document and its buffer."""
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
