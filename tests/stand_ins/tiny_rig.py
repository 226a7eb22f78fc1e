"""A rig of 45 vertices with five shapes, and the same as a folder of OBJ files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dualtalker.rig import Rig, build_rig

SHAPES = ("mouthSmileLeft", "jawOpen", "mouthRollUpper", "mouthRollLower", "browDownLeft")


def tiny_rig(colored: bool = True) -> Rig:
    """Two strips of lip vertices 1 mm apart, a chin below and a brow above."""
    x = np.linspace(-0.025, 0.025, 9)
    rows = [(0.05, 0.0), (0.010, 0.0), (0.0005, 0.005), (-0.0005, 0.005), (-0.03, 0.0)]
    neutral = np.array([[across, y, z] for y, z in rows for across in x])
    cells = [(row * 9 + column) for row in range(4) for column in range(8)]
    triangles = [(cell, cell + 9, cell + 10) for cell in cells]
    triangles += [(cell, cell + 10, cell + 1) for cell in cells]
    deltas = np.zeros((len(SHAPES), len(neutral), 3))
    row = np.arange(len(neutral)) // 9
    deltas[1, row >= 3, 1] = -0.03
    deltas[0, (row >= 1) & (neutral[:, 0] > 0.01)] = [0.004, 0.006, -0.002]
    deltas[2, row == 2, 2] = -0.004
    deltas[3, row == 3, 2] = -0.004
    deltas[4, (row == 0) & (neutral[:, 0] > 0), 1] = -0.008
    colors = (np.arange(neutral.size).reshape(-1, 3) * 7 % 256).astype(np.uint8)
    return build_rig(
        "tiny", neutral, np.array(triangles), SHAPES, deltas, colors if colored else None
    )


def write_obj(path: Path, vertices: np.ndarray, faces: str) -> None:
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    path.write_text("# made by a test\n" + "\n".join(lines) + "\n" + faces)


def write_obj_folder(folder: Path, rig: Rig, units_per_m: float = 1.0) -> None:
    quads = [(c, c + 9, c + 10, c + 1) for r in range(4) for c in range(r * 9, r * 9 + 8)]
    faces = "".join("f " + " ".join(f"{v + 1}/{v + 1}" for v in quad) + "\n" for quad in quads)
    write_obj(folder / "Neutral.obj", rig.neutral * units_per_m, faces)
    spelled = {"mouthSmileLeft": "mouthSmile_L", "jawOpen": "JAWOPEN"}
    for name, delta in zip(rig.names, rig.deltas, strict=True):
        posed = (rig.neutral + delta) * units_per_m
        write_obj(folder / f"{spelled.get(name, name)}.obj", posed, faces)


def parts(rig: Rig) -> dict:
    return {
        "name": "changed",
        "neutral": rig.neutral.copy(),
        "triangles": rig.triangles.copy(),
        "names": rig.names,
        "deltas": rig.deltas.copy(),
    }
