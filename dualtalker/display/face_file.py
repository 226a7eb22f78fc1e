"""The face that viewers draw: a GLB file's bytes, and which weights drive its morph targets."""

from __future__ import annotations

import gzip
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualtalker.errors import RigError
from dualtalker.files import check_file, scratch_folder, sha256
from dualtalker.rig import list_drivers, load_rig, open_glb, save_rig
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
        return _read_face(Path(path))
    with scratch_folder() as folder:
        return _read_face(save_rig(rig, folder / "face.glb"))


def _read_face(path: Path) -> FaceFile:
    check_file(path, RigError, "a .glb or .vrm")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise RigError(
            f"{path}: {size / 2**20:.0f} MiB; expected at most {MOST_BYTES >> 20} for a screen. "
            "Make its textures smaller: gltf-transform resize --width 1024 --height 1024"
        )
    with open_glb(path) as (document, _):
        _check_packing(document, path)
        return FaceFile(path.read_bytes(), _map_targets(document))


def _map_targets(document: dict[str, Any]) -> dict[str, list[tuple[str, float]]]:
    """Return for each morph target of a GLB the ARKit weights that drive it, and factors.

    A key is "mesh/primitive/target", by their indices in the file.
    """
    drivers = list_drivers(document)
    return {"/".join(map(str, place)): parts for place, parts in drivers.items()}


def _check_packing(document: dict[str, Any], path: Path) -> None:
    """Refuse what the page has no decoder for; `load_rig` may read it, or not look at it."""
    needed = document.get("extensionsRequired") or []
    for extension, undone_by in _PACKED.items():
        if extension in needed:
            names = shlex.join([str(path), f"{path.stem}_plain.glb"])
            raise RigError(
                f"packed by {extension}, which the page does not unpack; undo it with: "
                f"npx @gltf-transform/cli {undone_by} {names}"
            )
