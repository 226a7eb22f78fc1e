"""Which inference engine runs a bundle: the one asked for, or the fastest that loads."""

from __future__ import annotations

import logging
import time

import numpy as np

from dualtalker.errors import BackendError
from dualtalker.model import Bundle
from dualtalker.model.backends.backend import Backend
from dualtalker.model.backends.cuda import check_driver, open_device
from dualtalker.model.backends.onnxruntime import OnnxRuntimeBackend
from dualtalker.model.backends.sliding_window import SlidingWindow
from dualtalker.model.backends.tensorrt import (
    TensorRtBackend,
    check_served,
    describe_target,
    import_tensorrt,
)

ENGINES = ("auto", "onnxruntime", "tensorrt")

log = logging.getLogger("dualtalker")


def open_backend(bundle: Bundle, engine: str = "auto") -> Backend:
    """Open `bundle` in the engine asked for; "auto" takes the fastest of those that load.

    There is no silent fall-back: an engine asked for by name either runs or raises, "auto" logs
    why the others were not taken, and the one in use is logged.

    Raises:
        BackendError: the engine is unknown or cannot run here.
        BundleError: the model itself is bad.
    """
    if engine not in ENGINES:
        raise BackendError(f"engine {engine!r} is unknown; expected one of {', '.join(ENGINES)}")
    if engine == "auto":
        backend = _open_fastest(bundle)
    else:
        try:
            backend = _open(engine, bundle)
        except BackendError as error:
            reasons = available_backends()
            usable = [name for name, reason in reasons.items() if reason is None] or ["none"]
            raise BackendError(
                f"engine {engine!r} cannot run: {error}. Usable: {', '.join(usable)}"
            ) from error
    if not backend.name.startswith("onnxruntime"):
        bundle.free_session()
    log.info("model %s runs in %s", bundle.onnx_path.name, backend.name)
    return backend


def available_backends() -> dict[str, str | None]:
    """Return each engine's name and why it cannot run here (None: it can).

    TensorRT also needs an engine of the model, which is looked for when a bundle is opened.
    """
    return {"onnxruntime": _onnxruntime_reason(), "tensorrt": _tensorrt_reason()}


def _open(engine: str, bundle: Bundle) -> Backend:
    if engine == "tensorrt":
        check_driver()
    make = TensorRtBackend if engine == "tensorrt" else OnnxRuntimeBackend
    graph: Backend = make(bundle)
    return graph if bundle.sidecar.kind == "stateful" else SlidingWindow(graph, bundle.sidecar)


def _open_fastest(bundle: Bundle) -> Backend:
    """Open what loads; where that is more than one, time a few steps and keep the fastest."""
    opened: list[Backend] = []
    reasons = []
    for engine in ("tensorrt", "onnxruntime"):
        try:
            opened.append(_open(engine, bundle))
        except BackendError as error:
            reasons.append(f"{engine}: {error}")
            log.info("engine auto: not %s: %s", engine, error)
    if not opened:
        raise BackendError("no engine can run: " + "; ".join(reasons))
    if len(opened) == 1:
        return opened[0]
    times_ms = [1000 * time_step(backend, bundle.sidecar.hop_samples) for backend in opened]
    best = opened[times_ms.index(min(times_ms))]
    for backend, step_ms in zip(opened, times_ms, strict=True):
        if backend is not best:
            log.info(
                "engine auto: not %s: %.2f ms a step, %.2f ms in %s",
                backend.name, step_ms, min(times_ms), best.name,
            )  # fmt: skip
            backend.close()
    return best


def time_step(backend: Backend, hop_samples: int, steps: int = 20) -> float:
    """Return the median seconds of a step on silence."""
    silence = np.zeros((1, hop_samples), np.float32)
    state = backend.new_state()
    times_s = []
    for _ in range(steps):
        start_s = time.perf_counter()
        _, state = backend.step(silence, state)
        times_s.append(time.perf_counter() - start_s)
    return float(np.median(times_s))


def _onnxruntime_reason() -> str | None:
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        return f"{error}; install it with: python -m pip install onnxruntime"
    return None


def _tensorrt_reason() -> str | None:
    """Ask TensorRT and the driver."""
    try:
        check_driver()
        trt, device = import_tensorrt(), open_device()
        try:
            check_served(trt, describe_target(trt, device))
        finally:
            device.close()
    except BackendError as error:
        return str(error)
    return None
