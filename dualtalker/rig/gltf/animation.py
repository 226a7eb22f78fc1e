"""Adds a talking face to a binary glTF file: keyframes of its morph weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.errors import RigError
from dualtalker.files import write_whole
from dualtalker.rig.gltf.format import FLOAT
from dualtalker.rig.gltf.reader import open_glb
from dualtalker.rig.gltf.targets import list_drivers
from dualtalker.rig.gltf.writer import pack_glb

_LARGEST_BUFFER = 1 << 29  # bytes: it is held in memory


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
    write_whole(path, pack_glb(document, bytes(binary.data)))


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
