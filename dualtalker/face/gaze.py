"""Where the face looks: eyes first, the head after them, within what they can do."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from dualtalker.errors import DualtalkerError
from dualtalker.face.finishing import Overlay
from dualtalker.face.idle import LIDS, LOOKS, blink_shape, turn_eyes
from dualtalker.face.manner import Fader
from dualtalker.face.speaking import Springs

# An eye turned so far has the look weight 1; people seldom turn theirs further without the head.
EYE_REACH_RAD = 0.52
# What the head does of a turn beyond _COMFORT_RAD, and how far it goes: yaw, pitch.
_HEAD_SHARE = 0.75
_COMFORT_RAD = 0.12
_HEAD_REACH_RAD = np.array([0.6, 0.35])
# Critically damped springs: eyes arrive within 0.1 s, the head within half a second.
_RATES = np.array([40.0, 40.0, 8.0, 8.0])
_COME_S = 0.2  # in which glances give way to a target, or come back
_GLANCE_SHARE = 0.25  # of idle glances that is left around a target
_BLINK_RAD = 0.35  # larger shifts of gaze are hidden by a blink


def direction_of(x: float, y: float, z: float) -> tuple[float, float]:
    """Return yaw and pitch (rad) of a point in the head's frame: x ahead, y left, z up, metres.

    Signs are those of `arkit.HEAD_NAMES`: positive to the face's own left, and down.

    Raises:
        DualtalkerError: a number is not finite, or the point is the head itself.
    """
    if not all(math.isfinite(value) for value in (x, y, z)) or math.hypot(x, y, z) < 1e-6:
        raise DualtalkerError(f"cannot look at ({x}, {y}, {z}); expected a point before the head")
    return math.atan2(y, x), -math.atan2(z, math.hypot(x, y))


class GazeLayer(Overlay):
    """Eyes and head on a target; without one, glances as they come. Call in order of time."""

    def __init__(self) -> None:
        """There is no target."""
        self._springs = Springs(_RATES)
        self._target: np.ndarray | None = None
        self._share = Fader(np.zeros(1), _COME_S)  # of the target, beside glances
        self._blinks_s: deque[float] = deque(maxlen=16)

    def look(self, time_s: float, direction: tuple[float, float] | None, has_head: bool) -> None:
        """From `time_s` on look along yaw and pitch (rad), or at nothing.

        Raises:
            DualtalkerError: an angle is not finite.
        """
        if direction is None:
            aims, share = np.zeros(4), 0.0
        else:
            if not all(math.isfinite(angle) for angle in direction):
                raise DualtalkerError(f"cannot look along {direction}; expected angles in rad")
            wanted = np.array(direction, np.float64)
            beyond = np.sign(wanted) * np.maximum(np.abs(wanted) - _COMFORT_RAD, 0.0)
            head = np.clip(_HEAD_SHARE * beyond, -_HEAD_REACH_RAD, _HEAD_REACH_RAD) * has_head
            aims, share = np.concatenate([wanted, head]), 1.0
        before = np.zeros(2) if self._target is None else self._target
        if np.abs(aims[:2] - before).max() > _BLINK_RAD:
            self._blinks_s.append(time_s)
        self._target = None if direction is None else aims[:2]
        self._springs.aim(time_s, aims)
        self._share.change(time_s, np.array([share]))

    def let_head_follow(self, time_s: float, has_head: bool) -> None:
        """From `time_s` on share the present target with the head, or leave it to the eyes."""
        if self._target is not None:
            self.look(time_s, (float(self._target[0]), float(self._target[1])), has_head)

    def head(self, time_s: float) -> np.ndarray:
        """Return what is added to pitch, yaw and roll [3] of the head (rad)."""
        yaw, pitch = self._springs.at(time_s)[2:]
        return np.array([pitch, yaw, 0.0], np.float32)

    def add(self, time_s: float, spoken: np.ndarray, lively: np.ndarray) -> np.ndarray:
        """Return weights [52] with the gaze at `time_s`; the inputs are kept."""
        share = float(self._share.at(time_s)[0])
        if share == 0.0 and self._target is None:
            return lively
        place = self._springs.at(time_s)
        yaw, pitch = np.clip((place[:2] - place[2:]) / EYE_REACH_RAD, -1.0, 1.0)
        looked = lively.copy()
        looked[LOOKS] *= np.float32(1.0 - share * (1.0 - _GLANCE_SHARE))
        turn_eyes(looked, -yaw, -pitch)
        closed = max((blink_shape(time_s - start_s) for start_s in self._blinks_s), default=0.0)
        looked[LIDS] = np.maximum(looked[LIDS], np.float32(closed))
        return np.clip(looked, 0.0, 1.0)
