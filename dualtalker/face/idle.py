"""Blinks, glances and small brow motion of a face at rest, and their timing while it speaks."""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache

import numpy as np

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.errors import DualtalkerError
from dualtalker.face.finishing import Life, smoothstep

BLINK_SLOT_S = 4.0  # mean time between blinks; neighbors are 2 to 6 s apart
BLINK_CLOSE_S = 0.10
BLINK_OPEN_S = 0.15
DOUBLE_BLINK_SHARE = 0.12
DOUBLE_BLINK_AFTER_S = 0.35
GAZE_SLOT_S = 1.7  # mean time between saccades
SACCADE_S = 0.05
GAZE_REACH = 0.16  # largest look weight of an idle glance
BROW_REACH = 0.07  # largest brow weight of idle motion

# Times between blinks are spread log-normally, as people's are roughly; the numbers are ours.
BLINK_MEDIAN_S = 3.9
BLINK_SPREAD = 0.5  # standard deviation of the logarithm
BLINK_MIN_S, BLINK_MAX_S = 1.0, 12.0  # apart, but for double blinks
# Shares of phrase ends that have a blink, refractory time over.
PHRASE_END_SHARE, LOW_END_SHARE = 0.5, 0.8
PHRASE_END_JITTER_S = 0.12
PHRASE_END_MIN_S = 1.8  # after the last blink: short phrases do not make the lids flutter

GLANCE_MIN_S, GLANCE_MAX_S = 0.4, 3.0  # apart, where nobody speaks
GLANCE_HOLD_S = 4.0  # how long a phrase can keep the eyes from moving
PHRASE_END_GLANCE_SHARE = 0.5

IGNORED_S = 60.0  # where nothing was asked for so long, what was missed is not made up for


class IdleLife(Life):
    """Blinks, glances and small brow motion: a function of seed and time alone.

    Time is cut into slots; each slot's event has a seeded place in it, so any instant can be asked
    for, in any order, at any frame rate. Mouth channels are never touched. Blink lengths follow
    the usual 100 to 150 ms of lid closing and opening; 2 to 6 s apart is what people do at rest.
    """

    def __init__(self, seed: int = 0) -> None:
        """The same seed gives the same life."""
        self._seed = seed
        rng = np.random.default_rng([seed, 3])
        rates_hz, phases = rng.uniform(0.05, 0.25, 4), rng.uniform(0, 2 * np.pi, 4)
        # Lists: numpy takes longer over four numbers.
        self._brow_waves = list(zip((2 * np.pi * rates_hz).tolist(), phases.tolist(), strict=True))

    def add(self, time_s: float, weights: np.ndarray) -> np.ndarray:
        """Return weights [52] with idle life at `time_s`, within [0, 1]; the input is kept."""
        lively = weights.copy()
        blink = self.blink(time_s)
        if blink > 0.0:
            lively[LIDS] = np.maximum(lively[LIDS], np.float32(blink))
        turn_eyes(lively, *self.gaze(time_s))
        add_weights(lively, _BROWS, self.brow(time_s))
        return lively

    def blink(self, time_s: float) -> float:
        """Return the lids' closure in [0, 1]."""
        slot = math.floor(time_s / BLINK_SLOT_S)
        closure = 0.0
        for i in (slot - 1, slot, slot + 1):
            for start_s in _blink_times(self._seed, i):
                closure = max(closure, blink_shape(time_s - start_s))
        return closure

    def gaze(self, time_s: float) -> tuple[float, float]:
        """Return where the eyes look: (toward the face's own right, up), each within ±0.16."""
        slot = math.floor(time_s / GAZE_SLOT_S)
        # The slot's saccade may still be to come: then the eyes rest where the one before led.
        if time_s < _glance(self._seed, slot)[0]:
            slot -= 1
        start_s, right, up = _glance(self._seed, slot)
        _, old_right, old_up = _glance(self._seed, slot - 1)
        share = smoothstep((time_s - start_s) / SACCADE_S)
        return old_right + share * (right - old_right), old_up + share * (up - old_up)

    def brow(self, time_s: float) -> float:
        """Return the raise of the inner brows, within [0, 0.07]."""
        waves = sum(math.sin(rate * time_s + phase) for rate, phase in self._brow_waves)
        return BROW_REACH * (0.5 + 0.5 * waves / len(self._brow_waves))


class BlinkPlan:
    """Blinks one after the other; the end of a phrase brings the next one forward.

    Asked and told in order of time; the same seed and phrases give the same.
    """

    def __init__(self, seed: int) -> None:
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

    Asked and told in order of time; the same seed and phrases give the same.
    """

    def __init__(self, seed: int) -> None:
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


def check_seed(seed: object) -> int:
    """Return a seed as an int; raises DualtalkerError unless it is whole and not negative."""
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise DualtalkerError(f"seed is {seed!r}; expected a whole number, 0 or more")
    return int(seed)


def face_indices(*names: str) -> np.ndarray:
    """Return where these shapes are among ARKit's 52."""
    return np.array([ARKIT_INDEX[name] for name in names])


LIDS = face_indices("eyeBlinkLeft", "eyeBlinkRight")
_LOOK_RIGHT = face_indices("eyeLookInLeft", "eyeLookOutRight")
_LOOK_LEFT = face_indices("eyeLookOutLeft", "eyeLookInRight")
_LOOK_UP = face_indices("eyeLookUpLeft", "eyeLookUpRight")
_LOOK_DOWN = face_indices("eyeLookDownLeft", "eyeLookDownRight")
LOOKS = np.concatenate([_LOOK_RIGHT, _LOOK_LEFT, _LOOK_UP, _LOOK_DOWN])
_BROWS = face_indices("browInnerUp", "browOuterUpLeft", "browOuterUpRight")


def turn_eyes(weights: np.ndarray, right: float, up: float) -> None:
    """Add a look to weights [52], toward the face's own right and up, each in [-1, 1]."""
    for indices, amount in (
        (_LOOK_RIGHT, right),
        (_LOOK_LEFT, -right),
        (_LOOK_UP, up),
        (_LOOK_DOWN, -up),
    ):
        if amount > 0:
            add_weights(weights, indices, amount)


def add_weights(weights: np.ndarray, indices: np.ndarray, amount: float) -> None:
    """Add to some of the weights [52], up to 1, one by one: numpy takes longer over so few."""
    more = float(np.float32(amount))
    for index in indices.tolist():
        weights[index] = min(weights.item(index) + more, 1.0)


def blink_shape(since_s: float) -> float:
    """Return the lids' closure in [0, 1], `since_s` after a blink began."""
    if since_s < 0.0:
        return 0.0
    if since_s < BLINK_CLOSE_S:
        return smoothstep(since_s / BLINK_CLOSE_S)
    return 1.0 - smoothstep((since_s - BLINK_CLOSE_S) / BLINK_OPEN_S)


def draw_glance(rng: np.random.Generator) -> tuple[float, float]:
    """Return where a glance leads, (right, up) each within ±0.16; half of them lead home."""
    right, up = rng.uniform(-GAZE_REACH, GAZE_REACH), rng.uniform(-GAZE_REACH, GAZE_REACH) / 2
    return (0.0, 0.0) if rng.random() < 0.5 else (right, up)


@lru_cache(maxsize=64)
def _blink_times(seed: int, slot: int) -> tuple[float, ...]:
    """Return when the blinks of a slot start: within ±1 s of its middle, so 2 to 6 s apart."""
    rng = _slot_rng(seed, 1, slot)
    start_s = (slot + 0.5) * BLINK_SLOT_S + rng.uniform(-1.0, 1.0)
    if rng.random() < DOUBLE_BLINK_SHARE:
        return (start_s, start_s + DOUBLE_BLINK_AFTER_S)
    return (start_s,)


@lru_cache(maxsize=64)
def _glance(seed: int, slot: int) -> tuple[float, float, float]:
    """Return when a slot's saccade starts and where it leads (right, up)."""
    rng = _slot_rng(seed, 2, slot)
    start_s = (slot + rng.uniform(0.1, 0.9)) * GAZE_SLOT_S
    right, up = draw_glance(rng)
    return start_s, right, up


def _slot_rng(seed: int, kind: int, slot: int) -> np.random.Generator:
    # Seeds must not be negative, and slots before time zero exist: fold them to odd numbers.
    return np.random.default_rng([seed, kind, 2 * slot if slot >= 0 else -2 * slot - 1])
