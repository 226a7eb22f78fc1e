"""How servos move: each towards the face of a little later, as its motor lags, within its limits.

A frame belongs to the instant at which its sound is heard. A joint whose motor lags by `lead_ms`
is sent at each instant to the face of `lead_ms` later, where that is known already.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

import numpy as np

from dualtalker.outputs.servos import Servos

_UNLIMITED = 1e9  # positions per s, and per s squared
_MOST_FRAMES = 1 << 14  # that wait for their time: more than two minutes at 120 Hz
_LEADS_TIMED = 100  # frames of which the lead is told
_MOVES = 0.01  # of a joint's range, from frame to frame
_SHARE = 10.0  # percent of frames may come later than told
# What could not be sent for so long is not made up for.
_LONGEST_PAUSE_S = 0.25


class ServoMotion:
    """Frames in as they come, positions out at the rate of the servos; times in s of one clock."""

    def __init__(self, servos: Servos) -> None:
        """All joints are at rest, and do not move."""
        joints = list(servos.joints.values())
        self._servos = servos
        self.step_s = 1.0 / servos.rate_hz
        self._low, self._high = servos.limits
        self._speed = self.step_s * np.array([joint.speed or _UNLIMITED for joint in joints])
        self._growth = self.step_s**2 * np.array(
            [joint.acceleration or _UNLIMITED for joint in joints]
        )
        leads_s = np.array([joint.lead_ms / 1e3 for joint in joints])
        self._groups = [(lead, np.flatnonzero(leads_s == lead)) for lead in np.unique(leads_s)]
        self.lead_s = float(leads_s.max())  # the longest that a joint needs
        self._times_s: list[float] = []
        self._targets: list[np.ndarray] = []
        self._came: deque[tuple[float, float]] = deque(maxlen=_LEADS_TIMED)
        self.moving = 0  # frames that moved a joint that leads, or any where none does
        self._now_s: float | None = None
        self.positions = servos.offsets
        self._target = self._asked = self.positions
        # How far a joint moves in a frame that counts.
        leads = (leads_s > 0.0) | (self.lead_s == 0.0)
        self._worth = np.where(leads, _MOVES * (self._high - self._low), np.inf)
        self._moved = np.zeros(len(joints))  # in the last step

    @property
    def velocities(self) -> np.ndarray:
        """Positions per second [joints]."""
        return self._moved / self.step_s

    def add(self, time_s: float, values: np.ndarray, now_s: float) -> None:
        """Take a frame, weights and the head's angles [55], whose sound is heard at `time_s`.

        It takes the place of frames of its time and later, as after an interruption.
        """
        kept = bisect_right(self._times_s, time_s)
        kept -= kept > 0 and self._times_s[kept - 1] == time_s
        del self._times_s[kept:], self._targets[kept:]
        target = self._servos.place(values)
        if (np.abs(target - self._asked) >= self._worth).any():
            self._came.append((time_s, time_s - now_s))
            self.moving += 1
        self._asked = target
        self._times_s.append(time_s)
        self._targets.append(target)
        if len(self._times_s) > _MOST_FRAMES:
            del self._times_s[0], self._targets[0]

    def available_s(self) -> float | None:
        """Return how long before its sound the face is known, of nearly all of the last frames.

        Frames that are `moving` count: between words nothing is late. From one frame to the next
        the face is known less far: that is taken off. None before two such frames have come.
        """
        if len(self._came) < 2:
            return None
        times_s, leads_s = np.array(self._came).T
        return float(np.percentile(leads_s, _SHARE) - np.median(np.abs(np.diff(times_s))))

    def advance(self, now_s: float) -> np.ndarray:
        """Move on to `now_s`, step by step; return the positions [joints]."""
        if self._now_s is None or not 0 <= now_s - self._now_s <= _LONGEST_PAUSE_S:
            self._now_s = now_s - self.step_s
        while self._now_s + self.step_s <= now_s + 1e-9:
            self._now_s += self.step_s
            self._step(self._now_s)
        return self.positions

    def _step(self, now_s: float) -> None:
        if not self._times_s:
            return
        target = self._find_target(now_s)
        # Beside a target that moves on as it does, a joint brakes in time to reach it.
        behind = self._target - self.positions
        wanted = target - self._target + np.sign(behind) * self._brake(np.abs(behind))
        self._target = target
        down = self._brake(self.positions - self._low)
        up = self._brake(self._high - self.positions)
        least = np.maximum.reduce([self._moved - self._growth, -self._speed, -down])
        most = np.minimum.reduce([self._moved + self._growth, self._speed, up])
        self._moved = np.clip(wanted, least, most)
        self.positions = np.clip(self.positions + self._moved, self._low, self._high)

    def _brake(self, distance: np.ndarray) -> np.ndarray:
        """Return the longest step after which a joint can still stop within a distance.

        Steps that shrink by `growth` g each sum up to the distance d: with n whole ones
        n (n + 1) / 2 <= d / g, the longest is n + (d / g - n (n + 1) / 2) / (n + 1) times g.
        """
        count = distance / self._growth
        whole = np.floor((np.sqrt(1.0 + 8.0 * count) - 1.0) / 2.0)
        return self._growth * (whole + (count - whole * (whole + 1.0) / 2.0) / (whole + 1.0))

    def _find_target(self, now_s: float) -> np.ndarray:
        """Return each joint's position for the face of its lead from now, between two frames."""
        target = np.empty_like(self.positions)
        past = 0
        for lead_s, joints in self._groups:
            after = bisect_right(self._times_s, now_s + lead_s)
            if lead_s == self._groups[0][0]:
                past = after - 1
            if after in (0, len(self._times_s)):  # of the first frame, or not known yet
                target[joints] = self._targets[min(after, len(self._targets) - 1)][joints]
                continue
            before_s, after_s = self._times_s[after - 1], self._times_s[after]
            part = (now_s + lead_s - before_s) / (after_s - before_s)
            one, other = self._targets[after - 1][joints], self._targets[after][joints]
            target[joints] = one + part * (other - one)
        if past > 0:
            del self._times_s[:past], self._targets[:past]
        return target
