"""Faces as meshes with blendshapes: their files, landmarks and decimation."""

from __future__ import annotations

from dualtalker.rig.decimation import decimate
from dualtalker.rig.files import load_rig, save_rig
from dualtalker.rig.gltf.targets import list_drivers
from dualtalker.rig.rig import Rig, build_rig, vertex_normals
from dualtalker.rig.shape_names import read_name

__all__ = [
    "Rig",
    "build_rig",
    "decimate",
    "list_drivers",
    "load_rig",
    "read_name",
    "save_rig",
    "vertex_normals",
]
