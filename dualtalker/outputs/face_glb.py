"""Writes a talking face as one .glb for three.js, Blender and game engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dualtalker.files import scratch_folder
from dualtalker.rig import Rig, save_rig, write_glb_animation


def write_face_glb(
    path: Path,
    weights: np.ndarray,
    fps: float,
    rig: Rig,
    source: Path | None = None,
    sound: str = "",
) -> None:
    """Write a face with keyframes of weights [frames, 52], one a frame, linear between them.

    A `source` that is a .glb or .vrm is animated as it is, with its materials; else the rig is
    written. The animation's `extras` name the `sound` that goes with it and its `fps`.

    Raises:
        RigError: the source cannot be animated.
    """
    name = Path(sound).stem or "speech"
    extras = {"sound": sound, "fps": fps}
    if source is not None and source.suffix.lower() in (".glb", ".vrm"):
        write_glb_animation(source, path, weights, fps, name, extras)
        return
    with scratch_folder() as folder:
        face = save_rig(rig, folder / "face.glb")
        write_glb_animation(face, path, weights, fps, name, extras)
