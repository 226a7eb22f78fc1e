"""Inference engines that run a model bundle, behind one small interface."""

from __future__ import annotations

from dualtalker.model.backends.backend import Backend
from dualtalker.model.backends.choice import available_backends, open_backend
from dualtalker.model.backends.cuda import open_cuda_bindings, open_device, open_pycuda
from dualtalker.model.backends.engine_files import (
    PORTABLE,
    EngineRecord,
    Target,
    check_engine,
    engine_folder,
    engine_path,
    write_engine,
)
from dualtalker.model.backends.onnxruntime import OnnxRuntimeBackend
from dualtalker.model.backends.sliding_window import SlidingWindow
from dualtalker.model.backends.tensorrt import (
    check_served,
    describe_target,
    import_tensorrt,
    library_name,
    make_logger,
    say_errors,
)

__all__ = [
    "PORTABLE",
    "Backend",
    "EngineRecord",
    "OnnxRuntimeBackend",
    "SlidingWindow",
    "Target",
    "available_backends",
    "check_engine",
    "check_served",
    "describe_target",
    "engine_folder",
    "engine_path",
    "import_tensorrt",
    "library_name",
    "make_logger",
    "open_backend",
    "open_cuda_bindings",
    "open_device",
    "open_pycuda",
    "say_errors",
    "write_engine",
]
