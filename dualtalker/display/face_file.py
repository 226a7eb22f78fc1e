"""The face that viewers draw: a GLB file's bytes, and which weights drive its morph targets."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import struct
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualtalker.errors import RigError
from dualtalker.files import check_file, sha256
from dualtalker.rig import list_drivers, load_rig, save_rig
from dualtalker.rig.robot_head import build_head

# Larger files take a screen longer to load than people wait.
MOST_BYTES = 64 * 2**20
# What the page's glTF loader has no decoder for, and the command of gltf-transform that undoes it.
_PACKED = {
    "KHR_draco_mesh_compression": "copy",
    "EXT_meshopt_compression": "copy",
    "KHR_meshopt_compression": "copy",
    "KHR_texture_basisu": "ktxdecompress",
}


@dataclass(frozen=True)
class FaceFile:
    """A face in the form that a page loads."""

    glb: bytes
    shapes: dict[str, list[tuple[str, float]]]
    digest: str = field(init=False)  # SHA-256 of the GLB
    packed: bytes = field(init=False, repr=False)  # the same by gzip, as browsers take it

    def __post_init__(self) -> None:
        """Compress once for all viewers."""
        object.__setattr__(self, "digest", sha256(self.glb))
        object.__setattr__(self, "packed", gzip.compress(self.glb, 6, mtime=0))


def load_face(path: str | os.PathLike[str] | None = None) -> FaceFile:
    """Return the face of a rig's file; None is the robot head.

    A .glb or .vrm goes to the page as it is, with its materials and textures; .npz and folders of
    OBJ files are made into a GLB.

    Raises:
        RigError: it cannot be read, has no shape that ARKit has, is larger than MOST_BYTES, or is
            packed in a way that no page unpacks.
    """
    rig = build_head() if path is None else load_rig(path)  # also where the file itself is sent
    if path is not None and Path(path).suffix.lower() in (".glb", ".vrm"):
        glb = _read(Path(path))
        _check_packing(glb, Path(path))
    else:
        with tempfile.TemporaryDirectory() as folder:
            glb = save_rig(rig, Path(folder) / "face.glb").read_bytes()
    return FaceFile(glb, map_targets(glb))


def map_targets(glb: bytes) -> dict[str, list[tuple[str, float]]]:
    """Return for each morph target of a GLB the ARKit weights that drive it, and factors.

    A key is "mesh/primitive/target", by their indices in the file.
    """
    drivers = list_drivers(_read_document(glb))
    return {"/".join(map(str, place)): parts for place, parts in drivers.items()}


def _read_document(glb: bytes) -> dict[str, Any]:
    length = struct.unpack_from("<I", glb, 12)[0]
    document: dict[str, Any] = json.loads(glb[20 : 20 + length])
    return document


def _check_packing(glb: bytes, path: Path) -> None:
    """Refuse what the page has no decoder for; `load_rig` may read it, or not look at it."""
    needed = _read_document(glb).get("extensionsRequired") or []
    for extension, undone_by in _PACKED.items():
        if extension in needed:
            names = shlex.join([str(path), f"{path.stem}_plain.glb"])
            raise RigError(
                f"{path}: packed by {extension}, which the page does not unpack; undo it with: "
                f"npx @gltf-transform/cli {undone_by} {names}"
            )


def _read(path: Path) -> bytes:
    check_file(path, RigError, "a .glb or .vrm")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise RigError(
            f"{path}: {size / 2**20:.0f} MiB; expected at most {MOST_BYTES >> 20} for a screen. "
            "Make its textures smaller: gltf-transform resize --width 1024 --height 1024"
        )
    return path.read_bytes()
