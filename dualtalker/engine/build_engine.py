"""Bundle -> TensorRT engine file, on the machine that will run it: `dualtalker engine build`."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dualtalker.engine.half_precision import convert_to_fp16
from dualtalker.engine.operators import check_operators
from dualtalker.engine.stamp import read_graph
from dualtalker.engine.tensorrt_builder import (
    BuildError,
    BuildOptions,
    Built,
    build_engine,
    find_target,
)
from dualtalker.errors import BackendError
from dualtalker.files import sha256, write_whole
from dualtalker.model import Bundle, load_bundle
from dualtalker.model.backends import (
    EngineRecord,
    Target,
    check_engine,
    engine_folder,
    engine_path,
    import_tensorrt,
    write_engine,
)


@dataclass
class BuildResult:
    """What `build` did."""

    path: Path
    record: EngineRecord
    seconds: float  # 0 where the engine was there already
    layers: int


def build(
    bundle_path: Path | None = None,
    folder: Path | None = None,
    precision: str = "fp16",
    *,
    rebuild: bool = False,
    options: BuildOptions | None = None,
    trt: Any = None,
) -> BuildResult:
    """Build the engine, or find it built already.

    Args:
        bundle_path: the bundle's .onnx file, fp32 or fp16; None is the shipped model.
        folder: where to write; None is `engine_folder()`.
        precision: "fp16" or "fp32", of weights and products.
        rebuild: build even if a fitting engine is there.
        options: what the build may cost; its timing cache is the folder's.
        trt: the module `tensorrt` or `tensorrt_rtx`; None is what is installed.

    Raises:
        DualtalkerError: bad bundle, refused operator, no TensorRT or GPU, full disk, interrupted;
            says what mends it. No half-written file is left.
    """
    bundle = load_bundle(bundle_path)
    trt = import_tensorrt() if trt is None else trt
    target = find_target(trt)
    folder = folder or engine_folder()
    path = engine_path(folder, bundle, target, precision)
    if not rebuild:
        with contextlib.suppress(BackendError):
            return BuildResult(path, check_engine(path, bundle, target), 0.0, 0)
    graph = prepare_graph(bundle, precision)
    cache_path = folder / f"{target.label}.timing"
    timing_cache = cache_path.read_bytes() if cache_path.is_file() else b""
    options = replace(options or BuildOptions(), timing_cache=timing_cache)
    start_s = time.monotonic()
    built = build_engine(trt, graph, options)
    record = _write(path, cache_path, bundle, target, precision, built)
    return BuildResult(path, record, time.monotonic() - start_s, built.layers)


def prepare_graph(bundle: Bundle, precision: str) -> bytes:
    """Return the ONNX bytes to build from, checked and in the precision asked for.

    Raises:
        OperatorError, PrecisionError, BuildError: the graph is not for TensorRT, or not for this
            precision.
        DualtalkerError: the package onnx is missing.
    """
    model = read_graph(bundle.onnx_path)
    check_operators(model)
    has = bundle.sidecar.precision
    if has == precision:
        return model.SerializeToString()
    if has != "fp32":
        raise BuildError(f"{bundle.onnx_path} is {has} already: build {precision} from fp32")
    converted = convert_to_fp16(model)
    check_operators(converted)
    return converted.SerializeToString()


def _write(
    path: Path, cache_path: Path, bundle: Bundle, target: Target, precision: str, built: Built
) -> EngineRecord:
    record = EngineRecord(
        target=target,
        precision=precision,
        onnx_sha256=bundle.digest,
        engine_sha256=sha256(built.engine),
        log_sha256=sha256(built.log_text),
        built_utc=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
    )
    try:
        write_engine(path, bundle, built.engine, built.log_text, record)
        if built.timing_cache:
            write_whole(cache_path, built.timing_cache)
    except OSError as error:
        size_mb = len(built.engine) / 1e6
        raise BuildError(
            f"cannot write {path} ({size_mb:.1f} MB): {error}. Free space or give another folder "
            "with -o; no half-written file was left"
        ) from error
    return record
