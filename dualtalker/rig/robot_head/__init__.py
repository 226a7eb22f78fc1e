"""The default face: a procedural robot head with all 52 ARKit blendshapes."""

from __future__ import annotations

from dualtalker.rig.robot_head.build import build_head

__all__ = ["build_head"]
