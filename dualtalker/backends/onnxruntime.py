"""Bundles in onnxruntime on the CPU. Checks of the sidecar live in `bundle`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dualtalker.bundle import Bundle
from dualtalker.errors import BackendError, BundleError

if TYPE_CHECKING:
    import onnxruntime


class OnnxRuntimeBackend:
    """One onnxruntime session; one thread by default, since small networks lose with more."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        """Open the session and run one step on silence, so that the first real one is not slow.

        Raises:
            BackendError: onnxruntime is missing.
            BundleError: the graph does not load, fails, or answers with a wrong shape or values.
        """
        self._sidecar = bundle.sidecar
        self._session: onnxruntime.InferenceSession | None = open_session(
            bundle.onnx_path, threads
        )
        self._outputs = [self._sidecar.motion_output] + [s.output for s in self._sidecar.states]
        self._default_style = np.array([self._sidecar.default_style], np.float32)
        self.name = f"onnxruntime {_version()} CPU, {threads} thread{'s' * (threads != 1)}"
        self._probe(bundle.onnx_path)

    def new_state(self) -> list[np.ndarray]:
        """Return the state before any audio: zeros, in the sidecar's order."""
        return [np.zeros(state.shape, np.float32) for state in self._sidecar.states]

    def step(
        self, audio: np.ndarray, state: list[np.ndarray], style: np.ndarray | None = None
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Run `audio` [1, input_samples] float32; return motion [1, graph_frames, channels].

        The new state comes with it. `style` [1, styles] is for graphs with a style input; None
        is the model's default. A windowed graph is fed by `windowed.SlidingWindow`.

        Raises:
            BackendError: it was closed, or onnxruntime fails.
        """
        motion, *new_state = self._run(self._outputs, audio, state, style)
        return motion, new_state

    def _run(
        self,
        outputs: list[str],
        audio: np.ndarray,
        state: list[np.ndarray],
        style: np.ndarray | None,
    ) -> list[np.ndarray]:
        if self._session is None:
            raise BackendError("this backend was closed; open the bundle again")
        feed = {self._sidecar.audio_input: audio}
        feed.update(zip((item.input for item in self._sidecar.states), state, strict=True))
        if self._sidecar.style_input:
            feed[self._sidecar.style_input] = self._default_style if style is None else style
        try:
            return list(self._session.run(outputs, feed))
        except _session_errors() as error:
            raise BackendError(
                f"{self.name} failed in a step: {error}. Start anew; if it fails again, write the "
                "bundle anew with: python -m engines.export_onnx CHECKPOINT -o NAME.onnx"
            ) from error

    def close(self) -> None:
        """Free the session."""
        self._session = None

    def _probe(self, path: Path) -> None:
        silence = np.zeros((1, self._sidecar.input_samples), np.float32)
        state = self.new_state()
        try:
            motion, new_state = self.step(silence, state)
        except BackendError as error:
            raise BundleError(f"{path}: one step on silence failed: {error}") from error
        expected = (1, self._sidecar.graph_frames, len(self._sidecar.output_names))
        if motion.shape != expected:
            raise BundleError(f"{path}: motion is {motion.shape}, the sidecar promises {expected}")
        for item, before, after in zip(self._sidecar.states, state, new_state, strict=True):
            if before.shape != after.shape:
                raise BundleError(
                    f"{path}: state {item.output!r} changes from {before.shape} to {after.shape} "
                    "in one step; expected the same shape"
                )
        if not all(np.isfinite(array).all() for array in (motion, *new_state)):
            raise BundleError(f"{path}: one step on silence gives non-finite numbers")


def open_session(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU; raises BackendError (no onnxruntime) or BundleError."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            f"onnxruntime cannot be imported ({error}); install it with: "
            "python -m pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except _session_errors() as error:
        raise BundleError(
            f"{path}: onnxruntime {_version()} cannot load this graph: {error}. Write it anew "
            "with: python -m engines.export_onnx CHECKPOINT -o NAME.onnx"
        ) from error


def _session_errors() -> tuple[type[Exception], ...]:
    """All that onnxruntime raises for a bad graph: its classes share no public base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile")
    more = ("NotImplemented", "RuntimeException")
    kinds = [getattr(state, name) for name in names + more if hasattr(state, name)]
    return (*kinds, RuntimeError, ValueError, MemoryError)


def _version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
