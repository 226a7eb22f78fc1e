"""From a model bundle to fp16 and TensorRT engines: building, parity and speed."""

from __future__ import annotations

from dualtalker.engine.benchmark import Workload, benchmark, draw_report, format_report
from dualtalker.engine.build_engine import build
from dualtalker.engine.compare import (
    Reference,
    collect_figures,
    compare,
    format_comparisons,
)
from dualtalker.engine.convert import convert
from dualtalker.engine.parity import measure_difference, run_stream
from dualtalker.engine.signals import make_test_signal, read_speech, uneven_weights
from dualtalker.engine.stamp import plan_bundle, write_sidecar
from dualtalker.engine.tensorrt_builder import BuildOptions
from dualtalker.engine.timing import Latency, summarize, time_calls, time_hot, time_streams

__all__ = [
    "BuildOptions",
    "Latency",
    "Reference",
    "Workload",
    "benchmark",
    "build",
    "collect_figures",
    "compare",
    "convert",
    "draw_report",
    "format_comparisons",
    "format_report",
    "make_test_signal",
    "measure_difference",
    "plan_bundle",
    "read_speech",
    "run_stream",
    "summarize",
    "time_calls",
    "time_hot",
    "time_streams",
    "uneven_weights",
    "write_sidecar",
]
