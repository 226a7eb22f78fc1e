"""Binary glTF as other programs write it: meshes, names in several places, VRM expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.rig import Rig
from made_glb import Accessors, write_container


@dataclass
class Mesh:
    """Vertices and morph targets under one name; `names_on` says where the names are."""

    neutral: np.ndarray
    triangles: np.ndarray
    targets: Sequence[np.ndarray]
    names: Sequence[str] | None = None
    names_on: str = "mesh"
    name: str = "Face"


def mesh_of(rig: Rig, names: Sequence[str], **more: Any) -> Mesh:
    """The mesh of a rig, its shapes under other names."""
    return Mesh(rig.neutral, rig.triangles, list(rig.deltas), list(names), **more)


def write_meshes(
    path: Path, meshes: Sequence[Mesh], extensions: dict[str, Any] | None = None
) -> Path:
    """Write one node for each mesh; node k shows mesh k."""
    made = Accessors()
    described = [_describe(mesh, made) for mesh in meshes]
    nodes = [{"mesh": index} for index in range(len(meshes))]
    more: dict[str, Any] = {"meshes": described, "scenes": [{"nodes": list(range(len(nodes)))}]}
    if extensions:
        more["extensions"] = extensions
    return write_container(path, made.document(nodes, {}, **more), bytes(made.data))


def _describe(mesh: Mesh, made: Accessors) -> dict[str, Any]:
    primitive: dict[str, Any] = {
        "attributes": {"POSITION": made.add(mesh.neutral.astype("<f4"))},
        "indices": made.add(mesh.triangles.astype("<u4").ravel()),
        "targets": [{"POSITION": made.add(t.astype("<f4"))} for t in mesh.targets],
    }
    record: dict[str, Any] = {"name": mesh.name, "primitives": [primitive]}
    if mesh.names is not None and mesh.names_on == "target":
        for target, name in zip(primitive["targets"], mesh.names, strict=True):
            target["extras"] = {"name": name}
    elif mesh.names is not None:
        holder = record if mesh.names_on == "mesh" else primitive
        holder["extras"] = {"targetNames": list(mesh.names)}
    return record
