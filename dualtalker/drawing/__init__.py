"""Pictures: a software renderer, videos and curves."""

from __future__ import annotations

from dualtalker.drawing.curves import (
    draw_faces,
    draw_waveform,
    pick_moments,
    plot_curves,
    plot_upper_face,
    write_contact_sheet,
)
from dualtalker.drawing.figures import new_figure, to_svg
from dualtalker.drawing.renderer import Renderer
from dualtalker.drawing.video import import_encoders, write_face_video, write_video

__all__ = [
    "Renderer",
    "draw_faces",
    "draw_waveform",
    "import_encoders",
    "new_figure",
    "pick_moments",
    "plot_curves",
    "plot_upper_face",
    "to_svg",
    "write_contact_sheet",
    "write_face_video",
    "write_video",
]
