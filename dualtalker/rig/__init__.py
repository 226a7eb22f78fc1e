"""Faces as meshes with blendshapes: their files, landmarks and decimation."""

from __future__ import annotations

from dualtalker.rig.decimation import decimate
from dualtalker.rig.files import load_rig, save_rig
from dualtalker.rig.gltf.reader import open_glb
from dualtalker.rig.gltf.targets import list_drivers
from dualtalker.rig.gltf.writer import write_glb_animation
from dualtalker.rig.rig import Rig, build_rig, vertex_normals
from dualtalker.rig.shape_names import EXPRESSIONS, list_spellings, read_name
from dualtalker.rig.survey import ShapeGroup, Survey, survey_rig
from dualtalker.rig.visemes import VISEMES

__all__ = [
    "EXPRESSIONS",
    "VISEMES",
    "Rig",
    "ShapeGroup",
    "Survey",
    "build_rig",
    "decimate",
    "list_drivers",
    "list_spellings",
    "load_rig",
    "open_glb",
    "read_name",
    "save_rig",
    "survey_rig",
    "vertex_normals",
    "write_glb_animation",
]
