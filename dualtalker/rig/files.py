"""Reads and writes face rigs: .npz, .glb with morph targets, folders of OBJ files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from dualtalker.errors import RigError
from dualtalker.files import FOLDER, tell_fault, written_whole
from dualtalker.rig.archive import OPTIONAL_ARRAYS, read_archive
from dualtalker.rig.gltf.reader import read_glb
from dualtalker.rig.gltf.writer import write_glb
from dualtalker.rig.obj_folder import read_folder
from dualtalker.rig.rig import Rig

_EXPECTED = ".npz, .glb, .vrm or a folder of OBJ files"


def load_rig(path: str | os.PathLike[str], scale: float | None = None) -> Rig:
    """Load a rig from a `.npz` of `save_rig`, a `.glb`, a `.vrm` or a folder of OBJ files.

    A folder holds `neutral.obj` (or `base.obj`, `generic_neutral_mesh.obj`) and one OBJ per shape
    named after it, all with the same vertices in the same order. Shape names are ARKit's in any
    usual spelling, those of Character Creator, or a VRM's expressions (docs/rigs.md); halves of a
    central shape are added up, and whole-mouth shapes stand in for missing ones. `scale` is
    metres per unit of the file. By default a .npz is in metres; so are .glb and .vrm, unless the
    mouth is too small or wide for any face; for these, and for OBJ files, which have no unit, it
    is the power of ten that makes the mouth's width human. Faces of .glb, .vrm and OBJ that lie
    on their back or look away, as files with z up do, are turned (`rig.placement`).

    RigError says which file is at fault, what was found and what was expected.
    """
    path = Path(path)
    kind = find_kind(path)
    if kind == FOLDER:
        return read_folder(path, scale)
    if kind == ".npz":
        return read_archive(path, 1.0 if scale is None else scale)
    return read_glb(path, scale)


def find_kind(path: Path) -> str:
    """Return the ending of a rig's file, in lower case, or FOLDER; RigError for anything else."""
    fault = tell_fault(path)
    if fault == FOLDER:
        return FOLDER
    if fault is not None:
        raise RigError(f"{path}: {fault}; expected {_EXPECTED}")
    ending = path.suffix.lower()
    if ending not in (".npz", ".glb", ".vrm"):
        raise RigError(
            f"{path}: found the ending {path.suffix!r}; expected {_EXPECTED} "
            "(other formats: export as .glb with shape keys, for example from Blender)"
        )
    return ending


def save_rig(rig: Rig, path: str | os.PathLike[str]) -> Path:
    """Write a rig as `.npz`, from which `load_rig` gives the same, or `.glb`; return the path.

    A `.glb` is binary glTF with morph targets, for three.js, Blender and `load_rig`.
    """
    path = Path(path)
    if path.suffix.lower() == ".glb":
        return write_glb(rig, path)
    if path.suffix.lower() != ".npz":
        raise RigError(f"{path}: found the ending {path.suffix!r}; expected .npz or .glb")
    arrays = {key: getattr(rig, key) for key in ("neutral", "triangles", "deltas")}
    arrays |= {key: getattr(rig, key) for key in OPTIONAL_ARRAYS if getattr(rig, key) is not None}
    with written_whole(path) as part, part.open("wb") as file:
        np.savez_compressed(file, name=rig.name, names=np.array(rig.names), **arrays)
    return path
