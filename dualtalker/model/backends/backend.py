"""The small interface of inference engines."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Backend(Protocol):
    """Runs a model step by step; the state belongs to the caller, so it can be reset.

    What a state is, is the backend's own affair: arrays, or memory of a GPU.
    """

    name: str

    def new_state(self) -> Any:
        """Return the state before any audio."""

    def step(
        self, audio: np.ndarray, state: Any, style: np.ndarray | None = None
    ) -> tuple[np.ndarray, Any]:
        """Run `audio` [1, hop] float32; return motion [1, frames, channels] and the new state.

        `style` [1, styles] float32 are weights for a graph with a style input; None is the
        model's default. The state given is used up: go on with the one returned.
        """

    def close(self) -> None:
        """Free the engine; it cannot be used afterwards."""
