"""What happens to weights after the model: limits, smoothing, closing, fading."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CLOSING_S = 0.18  # from the last spoken frame to a mouth at rest, once audio is missing
FADE_S = 0.06  # from idle back to the model's face, so that nothing jumps
SWITCH_S = 0.25  # in which idle life comes or goes, where it is switched on or off
SMOOTHING_STEP = 0.1  # of the way that the low-pass goes to a new time constant with each frame
KEPT_S = 2.0  # how far frames can be taken back


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


class Life:
    """What the upper face does beside the model's motion: nothing; `IdleLife` does something."""

    def hear(self, samples: np.ndarray) -> None:
        """Take the audio [n] that the model takes next."""

    def follow(self, time_s: float, heard_s: float, weights: np.ndarray) -> None:
        """The model depicts `time_s` by weights [channels], having heard `heard_s` of audio."""

    def rest(self, time_s: float) -> None:
        """No audio comes until `time_s`."""

    def restart(self) -> None:
        """New audio begins, unconnected to the last."""

    def head(self, time_s: float) -> np.ndarray | None:
        """Return pitch, yaw, roll [3] of the head in radians, or None where it is not moved."""
        return None

    def add(self, time_s: float, weights: np.ndarray) -> np.ndarray:
        """Return weights [channels] with life at `time_s`, within [0, 1]; the input is kept."""
        return weights


class _Share(NamedTuple):
    """How much of a life is shown: since when it goes from which share to which."""

    since_s: float
    start: float
    aim: float

    def at(self, time_s: float) -> float:
        return self.start + (self.aim - self.start) * smoothstep(
            (time_s - self.since_s) / SWITCH_S
        )


class LifeMixture(Life):
    """One life, and for SWITCH_S after a switch the one before beside it: nothing jumps."""

    def __init__(self, life: Life) -> None:
        """Begin with a life in full."""
        self._parts = [(life, _Share(-math.inf, 1.0, 1.0))]

    def switch(self, time_s: float, life: Life) -> None:
        """From `time_s` on let a life come, and what was there before go."""
        shares = [(before, share.at(time_s)) for before, share in self._parts]
        self._parts = [
            (before, _Share(time_s, share, 0.0)) for before, share in shares if share > 0.0
        ]
        self._parts.append((life, _Share(time_s, 0.0, 1.0)))

    def hear(self, samples: np.ndarray) -> None:
        """Take the audio [n] that the model takes next."""
        for life, _ in self._parts:
            life.hear(samples)

    def follow(self, time_s: float, heard_s: float, weights: np.ndarray) -> None:
        """As `Life.follow`."""
        for life, _ in self._parts:
            life.follow(time_s, heard_s, weights)

    def rest(self, time_s: float) -> None:
        """No audio comes until `time_s`."""
        for life, _ in self._parts:
            life.rest(time_s)

    def restart(self) -> None:
        """New audio begins, unconnected to the last."""
        for life, _ in self._parts:
            life.restart()

    def head(self, time_s: float) -> np.ndarray | None:
        """Return pitch, yaw, roll [3] of the head in radians, or None where none moves it."""
        turned = None
        for life, share in self._parts:
            head = life.head(time_s)
            if head is not None:
                part = np.float32(share.at(time_s)) * head
                turned = part if turned is None else turned + part
        return turned

    def add(self, time_s: float, weights: np.ndarray) -> np.ndarray:
        """Return weights [channels] with all lives' shares at `time_s`."""
        if len(self._parts) == 1:  # the one before is gone
            only, whole = self._parts[0]
            if whole.start == 1.0 == whole.aim:
                return only.add(time_s, weights)
        shown = [(life, share.at(time_s), share.aim) for life, share in self._parts]
        self._parts = [
            part for part, (_, share, aim) in zip(self._parts, shown, strict=True) if share or aim
        ]
        lively = weights
        for life, share, _ in shown:
            moved = life.add(time_s, weights)
            if share == 1.0:
                return moved
            lively = lively + np.float32(share) * (moved - weights)
        return lively


class Overlay:
    """What is asked of the face beside speech: here nothing; `ExpressionLayer`, `GazeLayer`."""

    def head(self, time_s: float) -> np.ndarray:
        """Return what is added to pitch, yaw and roll [3] of the head (rad)."""
        return np.zeros(3, np.float32)

    def add(self, time_s: float, spoken: np.ndarray, lively: np.ndarray) -> np.ndarray:
        """Return weights [channels] at `time_s`, in [0, 1]; both inputs are kept.

        `spoken` is the pose of speech alone, `lively` the same with life.
        """
        return lively


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

    def __init__(self, channels: int, life: Life, overlays: Sequence[Overlay] = ()) -> None:
        """Frames have `channels` weights; `life` is to be given what it wants to hear and see.

        `overlays` come last, in this order.
        """
        self.life = LifeMixture(life)
        self._overlays = tuple(overlays)
        self._made: deque[_Made] = deque()  # in the last KEPT_S
        self._again: dict[float, _Made] = {}  # frames taken back, by their time
        self._shown_s = 0.0
        self._shown = np.zeros(channels, np.float32)
        self._closing: tuple[float, np.ndarray] | None = None
        self._fade: tuple[float, np.ndarray] | None = None
        self.head: np.ndarray | None = None  # of the last frame: `Life.head`

    def speak(self, time_s: float, weights: np.ndarray) -> np.ndarray:
        """Finish the model's weights [channels] for a frame at `time_s`."""
        weights = np.minimum(np.maximum(weights, 0.0), 1.0)  # as `clip`, in half its time
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
        self.life.rest(time_s)
        finished = self._show(time_s, weights)
        self._fade = (self._shown_s, self._shown)
        return finished

    def cut(self) -> None:
        """The model starts anew: its next frames fade in from what is shown now."""
        self._fade = (self._shown_s, self._shown)

    def switch_life(self, life: Life) -> None:
        """From the last frame on let another life take the place of this one, in SWITCH_S."""
        self.life.switch(self._shown_s, life)

    def take_back(self, time_s: float, resting: bool = False) -> None:
        """The frames from `time_s` on were not shown: go on from the one before.

        Their life stays theirs and is given to the frames that come in their place, because it
        is made in order of time and once. Where all were made by `rest`, a mouth that closes goes
        on doing so (`resting`).
        """
        while self._made and self._made[-1].time_s >= time_s:
            made = self._made.pop()
            self._again.setdefault(made.time_s, made)
        silent = np.zeros_like(self._shown)
        last = self._made[-1] if self._made else _Made(time_s, silent, silent, None)
        self._shown_s, self._shown = last.time_s, last.spoken
        self._fade = (self._shown_s, self._shown)
        if not resting:
            self._closing = None

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
        self.head = self.life.head(time_s)
        lively = self.life.add(time_s, weights)
        for overlay in self._overlays:
            lively = overlay.add(time_s, weights, lively)
            if self.head is not None:
                self.head = self.head + overlay.head(time_s)
        return lively


def smoothstep(share: float) -> float:
    """Return 3 s² - 2 s³ of `share` clipped to [0, 1]: leaves and arrives with zero speed."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3.0 - 2.0 * share)
