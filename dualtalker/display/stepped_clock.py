"""Simulated time between its ticks: /clock tells it 10 to 1000 times a second."""

from __future__ import annotations

from collections import deque

_WINDOW_S = 0.5  # of readings that count: longer than the slowest clock's tick
# The time was set, or a recording begins again.
_STEP_S = 1.0


class SteppedClock:
    """A clock that stands still between ticks, read as if it ran on.

    Right after a tick it is the least behind, so of half a second the reading that is the furthest
    ahead counts. Without that, what is shown jumps by up to a tick.
    """

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._behind_s: deque[tuple[float, float]] = deque()  # when, steady minus stepped time

    def read(self, stepped_s: float, now_s: float) -> float:
        """Return the time at `now_s` of the steady clock, when the other showed `stepped_s`."""
        behind_s = now_s - stepped_s
        if self._behind_s and abs(behind_s - self._behind_s[-1][1]) > _STEP_S:
            self._behind_s.clear()
        self._behind_s.append((now_s, behind_s))
        while now_s - self._behind_s[0][0] > _WINDOW_S:
            self._behind_s.popleft()
        return now_s - min(behind for _, behind in self._behind_s)
