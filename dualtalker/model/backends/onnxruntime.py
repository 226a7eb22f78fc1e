"""Bundles in onnxruntime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dualtalker.errors import BackendError, BundleError
from dualtalker.model import EXPORT_COMMAND, Bundle, session_errors

if TYPE_CHECKING:
    import onnxruntime


class OnnxRuntimeBackend:
    """The session of a bundle, which backends of the same bundle share."""

    def __init__(self, bundle: Bundle) -> None:
        """Take the session and run one step on silence, so that the first real one is not slow.

        Raises:
            BackendError: onnxruntime is missing.
            BundleError: the graph does not load, fails, or answers with a wrong shape or values.
        """
        self._sidecar = bundle.sidecar
        self._session: onnxruntime.InferenceSession | None = bundle.session
        self._outputs = [self._sidecar.motion_output] + [s.output for s in self._sidecar.states]
        self._default_style = np.array([self._sidecar.default_style], np.float32)
        import onnxruntime  # the session has shown that it is here

        self.name = f"onnxruntime {onnxruntime.__version__} CPU, 1 thread"
        self._probe(bundle.onnx_path)

    def new_state(self) -> list[np.ndarray]:
        """Return the state before any audio: zeros, in the sidecar's order."""
        return [np.zeros(state.shape, np.float32) for state in self._sidecar.states]

    def step(
        self, audio: np.ndarray, state: list[np.ndarray], style: np.ndarray | None = None
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Run `audio` [1, input_samples] float32; return motion [1, graph_frames, channels].

        The new state comes with it. `style` [1, styles] is for graphs with a style input; None
        is the model's default.

        Raises:
            BackendError: it was closed, or onnxruntime fails.
        """
        if self._session is None:
            raise BackendError("this backend was closed; open the bundle again")
        feed = {self._sidecar.audio_input: audio}
        feed.update(zip((item.input for item in self._sidecar.states), state, strict=True))
        if self._sidecar.style_input:
            feed[self._sidecar.style_input] = self._default_style if style is None else style
        try:
            motion, *new_state = self._session.run(self._outputs, feed)
        except session_errors() as error:
            raise BackendError(
                f"{self.name} failed in a step: {error}. Start anew; if it fails again, write the "
                f"bundle anew with: {EXPORT_COMMAND}"
            ) from error
        return motion, new_state

    def close(self) -> None:
        """Let go of the session."""
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
