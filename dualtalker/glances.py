"""When a face that listens to its own voice blinks and looks elsewhere. Shapes no muscles."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from dualtalker.finishing import (
    BLINK_CLOSE_S,
    BLINK_OPEN_S,
    DOUBLE_BLINK_AFTER_S,
    DOUBLE_BLINK_SHARE,
    SACCADE_S,
    blink_shape,
    draw_glance,
    smoothstep,
)

# Times between blinks are spread log-normally, as people's are roughly; the numbers are ours.
BLINK_MEDIAN_S = 3.9
BLINK_SPREAD = 0.5  # standard deviation of the logarithm
BLINK_MIN_S, BLINK_MAX_S = 1.0, 12.0  # apart, but for double blinks
PHRASE_END_SHARE, LOW_END_SHARE = (
    0.5,
    0.8,
)  # of phrase ends that have a blink, refractory time over
PHRASE_END_JITTER_S = 0.12
PHRASE_END_MIN_S = 1.8  # after the last blink: short phrases do not make the lids flutter

GLANCE_MIN_S, GLANCE_MAX_S = 0.4, 3.0  # apart, where nobody speaks
GLANCE_HOLD_S = 4.0  # how long a phrase can keep the eyes from moving
PHRASE_END_GLANCE_SHARE = 0.5

IGNORED_S = 60.0  # where nothing was asked for so long, what was missed is not made up for


class BlinkPlan:
    """Blinks one after the other; the end of a phrase brings the next one forward.

    Asked and told in order of time.
    """

    def __init__(self, seed: int) -> None:
        """The same seed, and the same phrases, give the same blinks."""
        self._rng = np.random.default_rng([seed, 4])
        self._last_s = -math.inf
        self._next_s = float(self._rng.uniform(0.5, 3.0))
        self._is_double = False  # the next is the second half of a double blink
        self._starts_s: deque[float] = deque(maxlen=64)

    def end_phrase(self, time_s: float, lowered: bool) -> None:
        """A phrase ends at `time_s`, later than all that was settled."""
        share = LOW_END_SHARE if lowered else PHRASE_END_SHARE
        wanted = self._rng.random() < share
        start_s = time_s + self._rng.uniform(0.0, PHRASE_END_JITTER_S)
        if wanted and start_s - self._last_s >= PHRASE_END_MIN_S and start_s < self._next_s:
            self._next_s = start_s

    def advance(self, time_s: float) -> None:
        """Settle all blinks that begin by `time_s`."""
        if time_s - self._next_s > IGNORED_S:
            self._next_s = time_s
        while self._next_s <= time_s:
            self._starts_s.append(self._next_s)
            self._last_s = self._next_s
            self._next_s += self._draw_interval()

    def at(self, time_s: float) -> float:
        """Return the lids' closure in [0, 1]; later calls must not ask for an earlier time."""
        while self._starts_s and time_s > self._starts_s[0] + BLINK_CLOSE_S + BLINK_OPEN_S:
            self._starts_s.popleft()
        return max((blink_shape(time_s - start_s) for start_s in self._starts_s), default=0.0)

    def _draw_interval(self) -> float:
        self._is_double = not self._is_double and self._rng.random() < DOUBLE_BLINK_SHARE
        if self._is_double:
            return DOUBLE_BLINK_AFTER_S
        interval_s = BLINK_MEDIAN_S * math.exp(BLINK_SPREAD * self._rng.standard_normal())
        return min(max(interval_s, BLINK_MIN_S), BLINK_MAX_S)


class GlancePlan:
    """Saccades one after the other; inside a phrase the eyes hold, at its end they move.

    Asked and told in order of time.
    """

    def __init__(self, seed: int) -> None:
        """The same seed, and the same phrases, give the same glances."""
        self._rng = np.random.default_rng([seed, 5])
        self._due_s = float(self._rng.uniform(0.0, GLANCE_MAX_S))
        self._held_s = -math.inf  # until then a phrase held the eyes
        self._moves = deque([(-math.inf, 0.0, 0.0, 0.0, 0.0)], maxlen=64)  # when, from, to

    def end_phrase(self, time_s: float) -> None:
        """A phrase ends at `time_s`, later than all that was settled."""
        if self._rng.random() < PHRASE_END_GLANCE_SHARE:
            self._due_s = min(self._due_s, time_s)

    def advance(self, time_s: float, speaking: bool) -> None:
        """Settle all glances that begin by `time_s`; `speaking` holds what is due."""
        if time_s - self._due_s > IGNORED_S:
            self._due_s = time_s
        due_s = self._due_s + (GLANCE_HOLD_S if speaking else 0.0)
        while due_s <= time_s:
            start_s = max(due_s, self._held_s)
            *_, right, up = self._moves[-1]
            while (aim := draw_glance(self._rng)) == (right, up):
                pass  # from home to home is no glance, and nobody is to stare
            self._moves.append((start_s, right, up, *aim))
            due_s = self._due_s = start_s + self._rng.uniform(GLANCE_MIN_S, GLANCE_MAX_S)
        if speaking:
            self._held_s = time_s

    def at(self, time_s: float) -> tuple[float, float]:
        """Return (right, up); later calls must not ask for an earlier time."""
        while len(self._moves) > 1 and self._moves[1][0] <= time_s:
            self._moves.popleft()
        start_s, old_right, old_up, right, up = self._moves[0]
        share = smoothstep((time_s - start_s) / SACCADE_S)
        return old_right + share * (right - old_right), old_up + share * (up - old_up)
