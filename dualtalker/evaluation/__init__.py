"""How good a face is: metrics, tables, reports and their pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dualtalker.evaluation.motion_files import (
    MotionTable,
    read_motion_csv,
    read_motion_table,
    write_motion_csv,
)
from dualtalker.evaluation.timecodes import NOMINAL_RATES_HZ, Counting

if TYPE_CHECKING:
    from dualtalker.evaluation.accuracy import (
        CAPTURED_COUNT,
        INTERVAL_ENDS,
        Recording,
        Tally,
        find_recorded_speech,
        gather_figures,
        measure_motions,
        measure_rest_gap,
        measure_speeds,
        tally_motions,
    )
    from dualtalker.evaluation.metrics import find_speech_frames, measure_loudness
    from dualtalker.evaluation.mouth import Mouth, measure_mouth
    from dualtalker.evaluation.pictures import (
        draw_panels,
        draw_sweep,
        draw_timing,
        film_columns,
        film_side_by_side,
        list_mouth_curves,
        paint_errors,
    )
    from dualtalker.evaluation.report import (
        SUBJECT,
        Picture,
        Report,
        ReportOptions,
        build_report,
        draw_pictures,
        find_start,
        frame_page,
        plan_report,
        write_report,
    )
    from dualtalker.evaluation.table import (
        AMPLITUDE,
        CAPTURED,
        FIGURES,
        INTERVAL,
        REPORTED,
        REQUIRED,
        Columns,
        Figure,
        Table,
        describe_shapes,
        format_cell,
    )

__all__ = [
    "AMPLITUDE",
    "CAPTURED",
    "CAPTURED_COUNT",
    "FIGURES",
    "INTERVAL",
    "INTERVAL_ENDS",
    "NOMINAL_RATES_HZ",
    "REPORTED",
    "REQUIRED",
    "SUBJECT",
    "Columns",
    "Counting",
    "Figure",
    "MotionTable",
    "Mouth",
    "Picture",
    "Recording",
    "Report",
    "ReportOptions",
    "Table",
    "Tally",
    "build_report",
    "describe_shapes",
    "draw_panels",
    "draw_pictures",
    "draw_sweep",
    "draw_timing",
    "film_columns",
    "film_side_by_side",
    "find_recorded_speech",
    "find_speech_frames",
    "find_start",
    "format_cell",
    "frame_page",
    "gather_figures",
    "list_mouth_curves",
    "measure_loudness",
    "measure_motions",
    "measure_mouth",
    "measure_rest_gap",
    "measure_speeds",
    "paint_errors",
    "plan_report",
    "read_motion_csv",
    "read_motion_table",
    "tally_motions",
    "write_motion_csv",
    "write_report",
]

_HOMES = {
    **dict.fromkeys(
        (
            "CAPTURED_COUNT",
            "INTERVAL_ENDS",
            "Recording",
            "Tally",
            "find_recorded_speech",
            "gather_figures",
            "measure_motions",
            "measure_rest_gap",
            "measure_speeds",
            "tally_motions",
        ),
        "accuracy",
    ),
    **dict.fromkeys(
        (
            "find_speech_frames",
            "measure_loudness",
        ),
        "metrics",
    ),
    **dict.fromkeys(
        (
            "AMPLITUDE",
            "CAPTURED",
            "FIGURES",
            "INTERVAL",
            "REPORTED",
            "REQUIRED",
            "Columns",
            "Figure",
            "Table",
            "describe_shapes",
            "format_cell",
        ),
        "table",
    ),
    **dict.fromkeys(
        ("Mouth", "measure_mouth"),
        "mouth",
    ),
    **dict.fromkeys(
        (
            "draw_panels",
            "draw_sweep",
            "draw_timing",
            "film_columns",
            "film_side_by_side",
            "list_mouth_curves",
            "paint_errors",
        ),
        "pictures",
    ),
    **dict.fromkeys(
        (
            "SUBJECT",
            "Picture",
            "Report",
            "ReportOptions",
            "build_report",
            "draw_pictures",
            "find_start",
            "frame_page",
            "plan_report",
            "write_report",
        ),
        "report",
    ),
}


def __getattr__(name: str) -> Any:
    """Import what measures and draws when it is first used: who writes motion does not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
