"""Faces as meshes with blendshapes: their files, landmarks and decimation."""

from __future__ import annotations

from dualtalker.rig.decimation import decimate
from dualtalker.rig.files import load_rig, save_rig
from dualtalker.rig.rig import Rig, build_rig, vertex_normals

__all__ = ["Rig", "build_rig", "decimate", "load_rig", "save_rig", "vertex_normals"]
