"""From a model bundle to fp16 and TensorRT engines: building, parity and speed."""

from __future__ import annotations

from dualtalker.engine.build_engine import BuildConfig, build
from dualtalker.engine.convert import ConvertConfig, convert
from dualtalker.engine.parity import measure_difference, run_stream
from dualtalker.engine.signals import make_test_signal, read_speech, uneven_weights
from dualtalker.engine.stamp import write_sidecar
from dualtalker.engine.timing import Latency, summarize, time_hot, time_streams

__all__ = [
    "BuildConfig",
    "ConvertConfig",
    "Latency",
    "build",
    "convert",
    "make_test_signal",
    "measure_difference",
    "read_speech",
    "run_stream",
    "summarize",
    "time_hot",
    "time_streams",
    "uneven_weights",
    "write_sidecar",
]
