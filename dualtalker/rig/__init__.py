"""Faces as meshes with blendshapes: their files, landmarks and decimation."""

from __future__ import annotations

from dualtalker.rig.decimation import decimate
from dualtalker.rig.files import load_rig, save_rig
from dualtalker.rig.rig import Rig, build_rig, vertex_normals
from dualtalker.rig.shape_names import arkit_name, read_name

__all__ = [
    "Rig",
    "arkit_name",
    "build_rig",
    "decimate",
    "load_rig",
    "read_name",
    "save_rig",
    "vertex_normals",
]
