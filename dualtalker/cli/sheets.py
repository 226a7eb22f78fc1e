"""Pictures of a face in many poses, as commands draw them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from dualtalker.rig import Rig


def draw_sheet(
    path: Path, rig: Rig, weights: np.ndarray, captions: Sequence[str], columns: int, size_px: int
) -> None:
    """Draw poses `[faces, 52]` with their captions into a picture, whole or not at all."""
    from tqdm import tqdm

    from dualtalker.drawing import draw_faces
    from dualtalker.files import written_output

    # disable=None: no bar where the output is not a terminal.
    with (
        tqdm(total=len(captions), desc="faces", unit="face", disable=None, leave=False) as bar,
        written_output(path) as part,
    ):
        draw_faces(
            part, rig, weights, captions, columns=columns, size_px=size_px, progress=bar.update
        )
    print(f"drawn: {path}")
