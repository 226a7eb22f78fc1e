"""Tells from the frames alone whether speech drives the mouth."""

from __future__ import annotations

import numpy as np

from dualtalker.arkit import MOUTH_INDICES

# In weight per second, of the fastest mouth shape. With the shipped model silence and white noise
# stay below 0.6, and speech is above it in four of five frames, with no pause in a sentence of
# more than 0.3 s (three VCTK sentences).
MOVING_PER_S = 1.0


class SpeechWatch:
    """True from the first frame in which a model moves the mouth, until it has rested for a while.

    Idle frames do not count, nor does the mouth's closing after the audio's end. A mouth that
    holds still for less than `hold_s` (a closure, a short pause between words) still speaks. All
    times are those that frames depict, so the answer is the same for any delivery.
    """

    def __init__(self, hold_s: float) -> None:
        self.hold_s = hold_s
        self._mouth = np.array(MOUTH_INDICES)
        self.reset()

    def reset(self) -> None:
        """Forget the past: nobody speaks."""
        self.speaking = False
        self._last: tuple[float, np.ndarray] | None = None
        self._until_s = -np.inf

    def update(self, weights: np.ndarray, time_s: float, idle: bool) -> bool:
        """Take the frame at `time_s` with ARKit weights [52]; return whether the face speaks.

        The weights are kept until the next frame, to be compared with.
        """
        if self._last is not None:
            last_s, last = self._last
            if time_s <= last_s:  # the clock was set back
                self._until_s = -np.inf
            elif not idle:
                moved = np.abs((weights - last)[self._mouth]).max()
                if moved > MOVING_PER_S * (time_s - last_s):
                    self._until_s = time_s + self.hold_s
        self._last = (time_s, weights)
        self.speaking = time_s <= self._until_s
        return self.speaking
