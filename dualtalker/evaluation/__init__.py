"""How good a face is: metrics, tables, reports and their pictures."""

from __future__ import annotations

from dualtalker.evaluation.accuracy import (
    Recording,
    Tally,
    find_recorded_speech,
    measure_motions,
    measure_rest_gap,
    measure_speeds,
)
from dualtalker.evaluation.metrics import BILABIAL, LABIODENTAL, measure_loudness
from dualtalker.evaluation.motion_files import (
    MotionTable,
    read_motion_csv,
    read_motion_table,
    write_motion_csv,
)
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
    plan_report,
    write_report,
)
from dualtalker.evaluation.table import FIGURES, Columns, Figure
from dualtalker.evaluation.timecodes import NOMINAL_RATES_HZ, Counting

__all__ = [
    "BILABIAL",
    "FIGURES",
    "LABIODENTAL",
    "NOMINAL_RATES_HZ",
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
    "Tally",
    "build_report",
    "draw_panels",
    "draw_pictures",
    "draw_sweep",
    "draw_timing",
    "film_columns",
    "film_side_by_side",
    "find_recorded_speech",
    "find_start",
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
    "write_motion_csv",
    "write_report",
]
