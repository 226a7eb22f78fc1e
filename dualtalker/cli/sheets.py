"""Pictures of a face in many poses, as commands draw them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dualtalker.cli.progress import open_bar

if TYPE_CHECKING:
    import numpy as np

    from dualtalker.rig import Rig


def draw_sheet(
    path: Path, rig: Rig, weights: np.ndarray, captions: Sequence[str], columns: int, size_px: int
) -> None:
    """Draw poses `[faces, 52]` with their captions into a picture, whole or not at all."""
    from dualtalker.drawing import draw_faces
    from dualtalker.files import written_output

    with (
        open_bar("faces", len(captions), "face") as bar,
        written_output(path) as part,
    ):
        draw_faces(
            part, rig, weights, captions, columns=columns, size_px=size_px, progress=bar.update
        )
    print(f"drawn: {path}")
