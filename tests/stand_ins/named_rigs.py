"""Binary glTF as other programs write it: meshes, names in several places, VRM expressions."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.rig import Rig


@dataclass
class Mesh:
    """Vertices and morph targets under one name; `names_on` says where the names are."""

    neutral: np.ndarray
    triangles: np.ndarray
    targets: Sequence[np.ndarray]
    names: Sequence[str] | None = None
    names_on: str = "mesh"
    name: str = "Face"
    more: dict[str, Any] = field(default_factory=dict)


def mesh_of(rig: Rig, names: Sequence[str], **more: Any) -> Mesh:
    """The mesh of a rig, its shapes under other names."""
    return Mesh(rig.neutral, rig.triangles, list(rig.deltas), list(names), **more)


def write_meshes(
    path: Path, meshes: Sequence[Mesh], extensions: dict[str, Any] | None = None
) -> Path:
    """Write one node for each mesh; node k shows mesh k."""
    data, views, accessors = bytearray(), [], []

    def add(array: np.ndarray, component: int, kind: str) -> int:
        content = array.tobytes()
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": len(content)})
        data.extend(content)
        accessor = {"bufferView": len(views) - 1, "componentType": component, "type": kind}
        accessors.append(accessor | {"count": len(array)})
        return len(accessors) - 1

    described = []
    for mesh in meshes:
        primitive: dict[str, Any] = {
            "attributes": {"POSITION": add(mesh.neutral.astype("<f4"), 5126, "VEC3")},
            "indices": add(mesh.triangles.astype("<u4").reshape(-1, 1), 5125, "SCALAR"),
            "targets": [{"POSITION": add(t.astype("<f4"), 5126, "VEC3")} for t in mesh.targets],
        }
        record: dict[str, Any] = {"name": mesh.name, "primitives": [primitive], **mesh.more}
        if mesh.names is not None and mesh.names_on == "target":
            for target, name in zip(primitive["targets"], mesh.names, strict=True):
                target["extras"] = {"name": name}
        elif mesh.names is not None:
            holder = record if mesh.names_on == "mesh" else primitive
            holder["extras"] = {"targetNames": list(mesh.names)}
        described.append(record)
    document: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(meshes)))}],
        "nodes": [{"mesh": index} for index in range(len(meshes))],
        "meshes": described,
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(data)}],
    }
    if extensions:
        document["extensions"] = extensions
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    data += b"\0" * (-len(data) % 4)
    head = struct.pack("<III", 0x46546C67, 2, 28 + len(text) + len(data))
    head += struct.pack("<II", len(text), 0x4E4F534A)
    path.write_bytes(head + text + struct.pack("<II", len(data), 0x004E4942) + data)
    return path
