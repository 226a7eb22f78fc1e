"""Figures of matplotlib without a display and without global state."""

from __future__ import annotations

import io
from typing import Any


def new_figure(inches: tuple[float, float]) -> Any:
    """Return an empty figure of so many inches, 100 pixels each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_svg(figure: Any) -> str:
    """Return a figure as an `<svg>` element; the same figure gives the same text."""
    import matplotlib as mpl

    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "dualtalker"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]
