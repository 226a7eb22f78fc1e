"""Bundles in onnxruntime on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dualtalker.errors import BackendError, BundleError
from dualtalker.model import EXPORT_COMMAND, Bundle, Sidecar, session_errors

if TYPE_CHECKING:
    import onnxruntime


class BoundState:
    """A stream's tensors, bound once: onnxruntime reads and writes them where they lie.

    The state lies in two sets of arrays, each in turn read by a step that writes the other.
    """

    def __init__(self, session: onnxruntime.InferenceSession, sidecar: Sidecar) -> None:
        self.audio = np.zeros((1, sidecar.input_samples), np.float32)
        shape = (1, sidecar.graph_frames, len(sidecar.output_names))
        self.motion = np.zeros(shape, np.float32)
        styles = len(sidecar.style_names)
        self.style = np.zeros((1, styles), np.float32) if sidecar.style_input else None
        # Kept here, as onnxruntime does not own them.
        self._sets = [[np.zeros(s.shape, np.float32) for s in sidecar.states] for _ in range(2)]
        self._bindings = [self._bind(session, sidecar, i) for i in range(2)]

    @property
    def binding(self) -> onnxruntime.IOBinding:
        """What the next step reads and writes."""
        return self._bindings[0]

    def turn(self) -> None:
        """What was written is read next."""
        self._bindings.reverse()

    def _bind(
        self, session: onnxruntime.InferenceSession, sidecar: Sidecar, first: int
    ) -> onnxruntime.IOBinding:
        """Bind all tensors; states are read from the set `first`, written to the other."""
        binding = session.io_binding()

        def bind(name: str, array: np.ndarray, write: bool = False) -> None:
            to = binding.bind_output if write else binding.bind_input
            to(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)

        bind(sidecar.audio_input, self.audio)
        if self.style is not None:
            bind(sidecar.style_input, self.style)
        bind(sidecar.motion_output, self.motion, write=True)
        for i, state in enumerate(sidecar.states):
            bind(state.input, self._sets[first][i])
            bind(state.output, self._sets[1 - first][i], write=True)
        return binding


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

    def new_state(self) -> BoundState:
        """Return the state before any audio: zeros.

        Raises:
            BackendError: it was closed.
        """
        return BoundState(self._open_session(), self._sidecar)

    def step(
        self, audio: np.ndarray, state: BoundState, style: np.ndarray | None = None
    ) -> tuple[np.ndarray, BoundState]:
        """Run `audio` [1, input_samples] float32; return motion [1, graph_frames, channels].

        The new state comes with it. `style` [1, styles] is for graphs with a style input; None
        is the model's default.

        Raises:
            BackendError: it was closed, audio or style has another shape, or onnxruntime fails.
        """
        session = self._open_session()
        self._fill("audio", state.audio, audio)
        if state.style is not None:
            self._fill("style", state.style, self._default_style if style is None else style)
        try:
            session.run_with_iobinding(state.binding)
        except session_errors() as error:
            raise BackendError(
                f"{self.name} failed in a step: {error}. Start anew; if it fails again, write the "
                f"bundle anew with: {EXPORT_COMMAND}"
            ) from error
        state.turn()
        return state.motion.copy(), state

    def close(self) -> None:
        """Let go of the session."""
        self._session = None

    def _fill(self, name: str, to: np.ndarray, values: np.ndarray) -> None:
        if values.shape != to.shape:
            raise BackendError(
                f"{self.name} failed in a step: {name} is {values.shape}, expected {to.shape}"
            )
        to[:] = values

    def _open_session(self) -> onnxruntime.InferenceSession:
        if self._session is None:
            raise BackendError("this backend was closed; open the bundle again")
        return self._session

    def _probe(self, path: Path) -> None:
        """Let the graph itself say which shapes it gives, in one step on silence."""
        state = [np.zeros(item.shape, np.float32) for item in self._sidecar.states]
        feed = dict(zip((item.input for item in self._sidecar.states), state, strict=True))
        feed[self._sidecar.audio_input] = np.zeros((1, self._sidecar.input_samples), np.float32)
        if self._sidecar.style_input:
            feed[self._sidecar.style_input] = self._default_style
        try:
            motion, *new_state = self._open_session().run(self._outputs, feed)
        except session_errors() as error:
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
