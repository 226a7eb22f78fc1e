"""What happens to weights after the model: limits, smoothing, closing, idle life."""

from __future__ import annotations

import math
from collections import deque
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.errors import DualtalkerError

CLOSING_S = 0.18  # from the last spoken frame to a mouth at rest, once audio is missing
FADE_S = 0.06  # from idle back to the model's face, so that nothing jumps
SWITCH_S = 0.25  # in which idle life comes or goes, where it is switched on or off
SMOOTHING_STEP = 0.1  # of the way that the low-pass goes to a new time constant with each frame
KEPT_S = 2.0  # how far frames can be taken back

BLINK_SLOT_S = 4.0  # mean time between blinks; neighbors are 2 to 6 s apart
BLINK_CLOSE_S = 0.10
BLINK_OPEN_S = 0.15
DOUBLE_BLINK_SHARE = 0.12
DOUBLE_BLINK_AFTER_S = 0.35
GAZE_SLOT_S = 1.7  # mean time between saccades
SACCADE_S = 0.05
GAZE_REACH = 0.16  # largest look weight of an idle glance
BROW_REACH = 0.07  # largest brow weight of idle motion


class Smoother:
    """A one-pole low-pass over model frames: causal, the same for any chunking and output rate."""

    def __init__(self, time_constant_s: float, frame_s: float) -> None:
        """A time constant of 0 changes nothing."""
        self._frame_s = frame_s
        self._keep = self._aim = self._share_of(time_constant_s)
        self._last: np.ndarray | None = None

    def change(self, time_constant_s: float) -> None:
        """Get to another time constant over some frames, so that nothing jumps."""
        self._aim = self._share_of(time_constant_s)

    def _share_of(self, time_constant_s: float) -> float:
        return math.exp(-self._frame_s / time_constant_s) if time_constant_s > 0 else 0.0

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return the smoothed weights [channels]."""
        if self._keep != self._aim:
            self._keep += SMOOTHING_STEP * (self._aim - self._keep)
            if abs(self._aim - self._keep) < 0.01:
                self._keep = self._aim
        if self._keep and self._last is not None:
            weights = weights + np.float32(self._keep) * (self._last - weights)
        self._last = weights
        return weights

    def reset(self) -> None:
        """Forget the past."""
        self._last = None


class _Made(NamedTuple):
    """A frame as it was made."""

    time_s: float
    spoken: np.ndarray  # [channels] without life
    lively: np.ndarray  # [channels] with it
    head: np.ndarray | None


class FaceFinisher:
    """Turns the model's weights into what is shown, also where the model has nothing to say.

    Call it once per output frame, in order of time. Life is added last; the mouth's closing and
    fading start from the last frame shown.
    """

    def __init__(self, channels: int, life: IdleLife | None) -> None:
        """`life` None switches idle motion off."""
        self._life = life
        self._switch = (-math.inf, 0.0, 1.0)  # since when life goes from which share to which
        self._made: deque[_Made] = deque()  # in the last KEPT_S
        self._again: dict[float, _Made] = {}  # frames taken back, by their time
        self._shown_s = 0.0
        self._shown = np.zeros(channels, np.float32)
        self._closing: tuple[float, np.ndarray] | None = None
        self._fade: tuple[float, np.ndarray] | None = None
        self.head: np.ndarray | None = None  # of the last frame: `IdleLife.head`

    def hear(self, samples: np.ndarray) -> None:
        """Take the audio [n] that the model takes next."""
        if self._life is not None:
            self._life.hear(samples)

    def follow(self, time_s: float, heard_s: float, weights: np.ndarray) -> None:
        """The model depicts `time_s` by weights [channels], having heard `heard_s` of audio."""
        if self._life is not None:
            self._life.follow(time_s, heard_s, weights)

    def restart(self) -> None:
        """New audio begins, unconnected to the last."""
        if self._life is not None:
            self._life.restart()

    def speak(self, time_s: float, weights: np.ndarray) -> np.ndarray:
        """Finish the model's weights [channels] for a frame at `time_s`."""
        weights = np.clip(weights, 0.0, 1.0)
        self._closing = None
        if self._fade is not None:
            since_s, start = self._fade
            share = smoothstep((time_s - since_s) / FADE_S)
            weights = start + np.float32(share) * (weights - start)
            if share >= 1.0:
                self._fade = None
        return self._show(time_s, weights)

    def rest(self, time_s: float) -> np.ndarray:
        """Make the frame at `time_s` without a model: the mouth closes and stays closed."""
        if self._closing is None:
            self._closing = (self._shown_s, self._shown)
        since_s, start = self._closing
        share = smoothstep((time_s - since_s) / CLOSING_S)
        weights = start * np.float32(1.0 - share)
        if self._life is not None:
            self._life.rest(time_s)
        finished = self._show(time_s, weights)
        self._fade = (self._shown_s, self._shown)
        return finished

    def cut(self) -> None:
        """The model starts anew: its next frames fade in from what is shown now."""
        self._fade = (self._shown_s, self._shown)

    def switch_life(self, life: IdleLife | None) -> None:
        """From the last frame on let life come or go, within SWITCH_S."""
        share = 0.0 if self._life is None else self._life_share(self._shown_s)
        self._switch = (self._shown_s, share, 0.0 if life is None else 1.0)
        if self._life is None:
            self._life = life

    def take_back(self, time_s: float) -> None:
        """The frames from `time_s` on were not shown: go on from the one before.

        Their life stays theirs and is given to the frames that come in their place, because it
        is made in order of time and once.
        """
        while self._made and self._made[-1].time_s >= time_s:
            made = self._made.pop()
            self._again.setdefault(made.time_s, made)
        silent = np.zeros_like(self._shown)
        last = self._made[-1] if self._made else _Made(time_s, silent, silent, None)
        self._shown_s, self._shown = last.time_s, last.spoken
        self._closing, self._fade = None, (self._shown_s, self._shown)

    def _show(self, time_s: float, weights: np.ndarray) -> np.ndarray:
        self._shown_s, self._shown = time_s, weights
        before = self._again.pop(time_s, None)
        if before is not None:
            lively = np.clip(weights + (before.lively - before.spoken), 0.0, 1.0)
            self.head = before.head
        else:
            self._again.clear()
            lively = self._enliven(time_s, weights)
        self._made.append(_Made(time_s, weights, lively, self.head))
        while self._made[0].time_s < time_s - KEPT_S:
            self._made.popleft()
        return lively.copy()

    def _enliven(self, time_s: float, weights: np.ndarray) -> np.ndarray:
        if self._life is None:
            return weights
        share = self._life_share(time_s)
        if share == 0.0 and self._switch[2] == 0.0:
            self._life, self.head = None, None
            return weights
        self.head = self._life.head(time_s)
        lively = self._life.add(time_s, weights)
        if share == 1.0:
            return lively
        if self.head is not None:
            self.head = np.float32(share) * self.head
        return weights + np.float32(share) * (lively - weights)

    def _life_share(self, time_s: float) -> float:
        since_s, start, aim = self._switch
        return start + (aim - start) * smoothstep((time_s - since_s) / SWITCH_S)


class IdleLife:
    """Blinks, glances and small brow motion: a function of seed and time alone.

    Time is cut into slots; each slot's event has a seeded place in it, so any instant can be asked
    for, in any order, at any frame rate. Mouth channels are never touched. Blink lengths follow
    the usual 100 to 150 ms of lid closing and opening; 2 to 6 s apart is what people do at rest.
    """

    def __init__(self, seed: int = 0) -> None:
        """The same seed gives the same life."""
        self._seed = seed
        rng = np.random.default_rng([seed, 3])
        self._brow_hz = rng.uniform(0.05, 0.25, 4)
        self._brow_phase = rng.uniform(0, 2 * np.pi, 4)

    def hear(self, samples: np.ndarray) -> None:
        """Idle life does not listen; `expression.SpeakingLife` does."""

    def follow(self, time_s: float, heard_s: float, weights: np.ndarray) -> None:
        """Idle life does not mind the model either."""

    def rest(self, time_s: float) -> None:
        """Nor does it change where audio is missing."""

    def restart(self) -> None:
        """Nor where audio begins."""

    def head(self, time_s: float) -> np.ndarray | None:
        """Idle life keeps the head as it is."""
        return None

    def add(self, time_s: float, weights: np.ndarray) -> np.ndarray:
        """Return weights [52] with idle life at `time_s`, within [0, 1]; the input is kept."""
        lively = weights.copy()
        blink = self.blink(time_s)
        for i in _BLINKS:
            lively[i] = max(lively[i], blink)
        right, up = self.gaze(time_s)
        for indices, amount in (
            (_LOOK_RIGHT, right),
            (_LOOK_LEFT, -right),
            (_LOOK_UP, up),
            (_LOOK_DOWN, -up),
        ):
            if amount > 0:
                lively[indices] = np.minimum(lively[indices] + np.float32(amount), 1.0)
        lively[_BROWS] = np.minimum(lively[_BROWS] + np.float32(self.brow(time_s)), 1.0)
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
        waves = np.sin(2 * np.pi * self._brow_hz * time_s + self._brow_phase)
        return BROW_REACH * float(0.5 + 0.5 * waves.mean())


def check_seed(seed: object) -> int:
    """Return a seed as an int; raises DualtalkerError unless it is whole and not negative."""
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise DualtalkerError(f"seed is {seed!r}; expected a whole number, 0 or more")
    return int(seed)


def smoothstep(share: float) -> float:
    """Return 3 s² - 2 s³ of `share` clipped to [0, 1]: leaves and arrives with zero speed."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3.0 - 2.0 * share)


def face_indices(*names: str) -> np.ndarray:
    """Return where these shapes are among ARKit's 52."""
    return np.array([ARKIT_INDEX[name] for name in names])


_BLINKS = face_indices("eyeBlinkLeft", "eyeBlinkRight")
_LOOK_RIGHT = face_indices("eyeLookInLeft", "eyeLookOutRight")
_LOOK_LEFT = face_indices("eyeLookOutLeft", "eyeLookInRight")
_LOOK_UP = face_indices("eyeLookUpLeft", "eyeLookUpRight")
_LOOK_DOWN = face_indices("eyeLookDownLeft", "eyeLookDownRight")
_BROWS = face_indices("browInnerUp", "browOuterUpLeft", "browOuterUpRight")


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
