"""Runs a windowed graph hop by hop, so that the Talker need not know its kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from dualtalker.model import Sidecar
from dualtalker.model.backends.backend import Backend


class SlidingWindow:
    """Keeps the last window of audio, and of each answer the frames far from the window's ends.

    What a step gives depends on the last `window_samples` alone, and they do not depend on how the
    audio was cut: streaming equals offline as it does for a stateful graph.
    """

    def __init__(self, graph: Backend, sidecar: Sidecar) -> None:
        """`graph` takes `[1, window_samples]` and gives `[1, window_frames, channels]`."""
        self._graph = graph
        self._hop = sidecar.hop_samples
        self._history = sidecar.window_samples - sidecar.hop_samples
        self._valid = slice(sidecar.valid_start, sidecar.valid_start + sidecar.frames_per_step)
        self.name = graph.name

    def new_state(self) -> tuple[np.ndarray, Any]:
        """Return silence `[1, window - hop]` and the graph's own state."""
        return np.zeros((1, self._history), np.float32), self._graph.new_state()

    def step(
        self,
        audio: np.ndarray,
        state: tuple[np.ndarray, Any],
        style: np.ndarray | None = None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, Any]]:
        """Run `audio` [1, hop] float32; return motion [1, frames, channels] and the new state.

        The style holds for the whole window.
        """
        history, graph_state = state
        window = np.concatenate([history, audio], axis=1)
        motion, graph_state = self._graph.step(window, graph_state, style)
        return motion[:, self._valid], (window[:, self._hop :], graph_state)

    def close(self) -> None:
        """Free the graph's engine."""
        self._graph.close()
