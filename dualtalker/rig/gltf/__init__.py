"""Binary glTF 2.0 (.glb): rigs with morph targets, read and written."""

from __future__ import annotations

from dualtalker.rig.gltf.reader import list_targets, read_glb
from dualtalker.rig.gltf.writer import write_glb

__all__ = ["list_targets", "read_glb", "write_glb"]
