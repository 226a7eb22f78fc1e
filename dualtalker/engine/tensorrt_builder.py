"""ONNX bytes -> engine bytes through TensorRT's Python API. Reads and writes no engine files.

Written once for `tensorrt` 10.3 to 11 and `tensorrt_rtx`: networks are strongly typed, so that
the precision is what the graph says; what one of the libraries lacks is asked for by `hasattr`.
"""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from dualtalker.errors import BackendError, DualtalkerError
from dualtalker.model.backends import (
    PORTABLE,
    Target,
    check_served,
    describe_target,
    library_name,
    make_logger,
    open_device,
    say_errors,
)


class BuildError(DualtalkerError):
    """TensorRT made no engine."""


class BuildInterrupted(BuildError):
    """Somebody pressed Ctrl-C."""


@dataclass
class Built:
    """What a build gives."""

    engine: bytes
    log_text: str
    timing_cache: bytes | None  # None: this library keeps none
    layers: int


@dataclass
class BuildOptions:
    """What a build may cost."""

    workspace_mb: int = 1024
    timing_cache: bytes = b""
    verbose: bool = False
    progress: bool = False
    log_lines: list[str] = field(default_factory=list)


def find_target(trt: Any) -> Target:
    """Return the machine that engines are built for.

    `tensorrt_rtx` builds without a GPU, for all kinds it knows; `tensorrt` measures on the GPU.

    Raises:
        BackendError: there is no GPU, and this library needs one, or none of its GPUs.
    """
    try:
        device = open_device()
    except BackendError as error:
        if library_name(trt) == "tensorrt_rtx":
            return Target(PORTABLE, "", 0, "tensorrt_rtx", str(trt.__version__))
        raise BackendError(
            f"TensorRT builds an engine on the GPU that will run it, and there is none: {error}"
        ) from error
    try:
        target = describe_target(trt, device)
        check_served(trt, target)
        return target
    finally:
        device.close()


def build_engine(trt: Any, onnx_bytes: bytes, options: BuildOptions) -> Built:
    """Build one engine.

    Raises:
        BuildError: the parser or the builder refuses; says which layer and what mends it.
        BuildInterrupted: by SIGINT or SIGTERM; nothing was made.
    """
    lines = options.log_lines
    logger = make_logger(trt, lines, "VERBOSE" if options.verbose else "INFO")
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # TensorRT's way to say that it got no CUDA context
        raise BuildError(f"TensorRT cannot start: {say_errors(lines)}") from error
    network = _parse(trt, builder, logger, onnx_bytes, lines)
    config = _configure(trt, builder, options)
    cache = _attach_timing_cache(trt, config, options.timing_cache)
    with _Progress(trt, options.progress) as progress:
        config.progress_monitor = progress.monitor
        plan = builder.build_serialized_network(network, config)
    if progress.cancelled:
        raise BuildInterrupted("interrupted; no engine was written")
    if plan is None:
        raise BuildError(_explain_failure(say_errors(lines), options.workspace_mb))
    timing = None if cache is None else bytes(config.get_timing_cache().serialize())
    return Built(bytes(plan), "\n".join(lines) + "\n", timing, network.num_layers)


def _parse(trt: Any, builder: Any, logger: Any, onnx_bytes: bytes, lines: list[str]) -> Any:
    # Strongly typed is the only kind that TensorRT 11 has; it may drop the flag with the choice.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, logger)
    if parser.parse(onnx_bytes):
        return network
    reasons = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        node = " ".join(
            str(getattr(error, name)())
            for name in ("node_name", "node_operator")
            if hasattr(error, name)
        )
        reasons.append(f"  node {node}: {error.desc()}")
    raise BuildError(
        f"TensorRT {trt.__version__} cannot read this graph:\n"
        + ("\n".join(reasons) or f"  {say_errors(lines)}")
        + "\nExport it anew with: python -m engines.export_onnx CHECKPOINT --out NAME.onnx"
    )


def _configure(trt: Any, builder: Any, options: BuildOptions) -> Any:
    config = builder.create_builder_config()
    pool = trt.MemoryPoolType.WORKSPACE
    config.set_memory_pool_limit(pool, options.workspace_mb << 20)
    # fp32 means fp32: TF32 has fp16's ten bits of mantissa.
    if hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)
    return config


def _attach_timing_cache(trt: Any, config: Any, content: bytes) -> Any | None:
    """Reuse measurements of earlier builds; a cache of another GPU or version starts empty."""
    if library_name(trt) == "tensorrt_rtx":  # measures nothing when it builds
        return None
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        if cache is None or not config.set_timing_cache(cache, False):
            return None
    return cache


def _explain_failure(reason: str, workspace_mb: int) -> str:
    text = reason.lower()
    if "memory" in text or "bad_alloc" in text:
        return (
            f"out of memory while building ({reason}). Close other programs, allow less with "
            f"--workspace-mb (now {workspace_mb}), or add swap (docs/jetson.md)"
        )
    return f"TensorRT made no engine: {reason}. The whole log: --verbose"


class _Progress:
    """Shows TensorRT's phases as one bar, and turns Ctrl-C or SIGTERM into a clean end.

    A Python exception must not fly through the library's C++ frames, so the signal is only noted
    and the next step answers TensorRT that the build is to stop.
    """

    def __init__(self, trt: Any, show: bool) -> None:
        from tqdm import tqdm

        self.cancelled = False
        self._bar = tqdm(unit=" steps", disable=not show, desc="building", leave=False)
        self._lock = threading.Lock()  # TensorRT calls from several threads
        outer = self

        class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.IProgressMonitor.__init__(self)

            def phase_start(self, name: str, parent: str | None, steps: int) -> None:
                outer._start(name, parent, steps)

            def step_complete(self, name: str, step: int) -> bool:
                return outer._step()

            def phase_finish(self, name: str) -> None:
                pass

        self.monitor = Monitor()

    def __enter__(self) -> _Progress:
        # Signals reach the main thread only; elsewhere the build cannot be interrupted.
        self._before: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._cancel)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._bar.close()

    def _cancel(self, _signal: int, _frame: FrameType | None) -> None:
        self.cancelled = True

    def _start(self, name: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._bar.total = (self._bar.total or 0) + steps
            self._bar.set_description(name[:40], refresh=parent is None)

    def _step(self) -> bool:
        with self._lock:
            self._bar.update()
        return not self.cancelled
