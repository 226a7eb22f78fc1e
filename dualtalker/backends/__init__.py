"""The small interface of inference engines, and the choice among them. No engine lives here."""

from __future__ import annotations

import logging
from typing import Protocol

import numpy as np

from dualtalker.bundle import Bundle
from dualtalker.errors import BackendError

ENGINES = ("auto", "onnxruntime", "tensorrt")

log = logging.getLogger("dualtalker")


class Backend(Protocol):
    """Runs one step of a stateful model; the state belongs to the caller, so it can be reset."""

    name: str

    def new_state(self) -> list[np.ndarray]:
        """Return the state before any audio: zeros, in the sidecar's order."""
        ...

    def step(
        self, audio: np.ndarray, state: list[np.ndarray]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Run `audio` [1, hop] float32; return motion [1, frames, channels] and the new state."""
        ...

    def close(self) -> None:
        """Free the engine; it cannot be used afterwards."""
        ...


def open_backend(bundle: Bundle, engine: str = "auto", threads: int = 1) -> Backend:
    """Open `bundle` in the engine asked for; "auto" takes the first that is available.

    There is no silent fall-back: an engine asked for by name either runs or raises, and the one in
    use is logged.

    Raises:
        BackendError: the engine is unknown or cannot run here.
    """
    if engine not in ENGINES:
        raise BackendError(f"engine {engine!r} is unknown; expected one of {', '.join(ENGINES)}")
    reasons = available_backends()
    name = engine
    if engine == "auto":
        name = next((name for name, reason in reasons.items() if reason is None), "onnxruntime")
    reason = reasons[name]
    if reason is not None:
        usable = [name for name, reason in reasons.items() if reason is None] or ["none"]
        raise BackendError(f"engine {name!r} cannot run: {reason}. Usable: {', '.join(usable)}")
    from dualtalker.backends.onnxruntime import OnnxRuntimeBackend

    backend = OnnxRuntimeBackend(bundle, threads=threads)
    log.info("model %s runs in %s", bundle.onnx_path.name, backend.name)
    return backend


def available_backends() -> dict[str, str | None]:
    """Return each engine's name and why it cannot run here (None: it can), best first."""
    return {"onnxruntime": _onnxruntime_reason(), "tensorrt": _tensorrt_reason()}


def _onnxruntime_reason() -> str | None:
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        return f"{error}; install it with: python -m pip install onnxruntime"
    return None


def _tensorrt_reason() -> str:
    return (
        "this version of dualtalker has no TensorRT runner yet; use engine=onnxruntime, which "
        "runs the same bundle"
    )
