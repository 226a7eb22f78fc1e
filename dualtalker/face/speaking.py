"""The upper face of someone who speaks: brows, blinks, glances and nods that follow the voice.

It moves brows, lids, eyes and, if asked, the head; never the mouth. The voice's melody comes from
`prosody`; what goes on when nobody speaks is `idle.IdleLife`, which this extends.

What people do, as measured by others:
- Brow raises go with pitch accents, and tend to begin before them (Gast 2023); viewers prefer
  them on the accented word (Krahmer and Swerts). But not every accent has one, nor every raise an
  accent: 71 % of rapid brow movements came with a rise of pitch (Cavé, Guaïtella and others).
- Adults blink 10 to 33 times a minute in conversation and 8 to 21 times at rest (Doughty 2001);
  a speaker's blinks gather at the ends of phrases and in pauses (Nakano and Kitazawa 2010).
- Heads nod with prominence; their motion correlates with pitch and loudness (Munhall and others
  2004).
All forms, sizes and times below are ours, inferred from that.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, MOUTH_INDICES
from dualtalker.errors import DualtalkerError
from dualtalker.face.finishing import Life, smoothstep
from dualtalker.face.idle import BlinkPlan, GlancePlan, IdleLife
from dualtalker.face.prosody import Cue, ProsodyTracker

INNER_RAISE, OUTER_RAISE = 0.42, 0.28  # weights of the strongest accent
WIDE_EYES = 0.12
LOWERED_SQUINT = 0.10  # after a phrase that ended low
ANSWERED_SHARE = 0.8  # of the accents that are found: not every one has its raise
SKEW = 0.2  # how unlike the outer brows of one raise may be, to either side
RAISE_S, SQUINT_S, NOD_S = 0.20, 0.35, 0.16  # how long each is aimed for
NOD = 0.06  # radians down on the strongest accent
POSE_YAW, POSE_ROLL = 0.05, 0.03  # largest turn of the head from phrase to phrase
HEAD_REACH = 0.2  # radians that no angle exceeds

# Speeds of the mouth, summed over its weights, that the model shows for noise and for speech.
# Measured for the shipped model: of 24 noises as training makes them, 23 are at 0 half of the
# time, though most pass the lower one for a moment; every other frame of speech is beyond it, and
# speech is remembered for 1 s.
MOUTH_STILL, MOUTH_SPEAKS = 6.5, 8.5
_MOUTH_MEAN_S = 0.25  # over which the mouth's speed is averaged
_SAME_ACCENT_S = 0.1  # an accent that is told again within this has grown
_VOICE_HOLD_S = 1.0  # how slowly a voice once believed in is doubted

# What springs move: their aims, and how fast they follow (rad/s of a critically damped one:
# 90 % of the way after 3.9 / rate seconds).
_AIMS = ("inner", "outer_left", "outer_right", "wide", "squint", "nod", "yaw", "roll")
_RATES = np.array([16.0, 16.0, 16.0, 18.0, 12.0, 12.0, 4.0, 4.0])
_SHAPE_AIM_COUNT = _AIMS.index("nod")  # the aims before it are shapes', those after turn the head
# The shapes that they raise, each with its aim.
_SHAPE_AIMS = [
    (ARKIT_INDEX[name], _AIMS.index(aim))
    for name, aim in (
        ("browInnerUp", "inner"),
        ("browOuterUpLeft", "outer_left"),
        ("browOuterUpRight", "outer_right"),
        ("eyeWideLeft", "wide"),
        ("eyeWideRight", "wide"),
        ("eyeSquintLeft", "squint"),
        ("eyeSquintRight", "squint"),
    )
]
_STILL_S = 3.0  # after which the slowest of them is at rest to 1e-14
_MOUTH = np.array(MOUTH_INDICES)


def make_life(
    idle_motion: bool, prosody: bool, head_motion: bool, seed: int, rate_hz: int
) -> Life:
    """Return what gives the upper face its life, or one that never moves where it is to have none.

    DualtalkerError for `head_motion` without `idle_motion`.
    """
    if not idle_motion:
        if head_motion:
            raise DualtalkerError(
                "head_motion is part of idle_motion, which is off; switch idle_motion on"
            )
        return Life()
    if not prosody and not head_motion:
        return IdleLife(seed)
    return SpeakingLife(seed, rate_hz, prosody, head_motion)


class SpeakingLife(IdleLife):
    """Idle life that listens: give it the audio, and the model's frames, in order.

    What is shown at an instant depends on the audio up to the model's lookahead beyond it, and
    not on how the audio was cut. Memory is constant.
    """

    def __init__(self, seed: int, rate_hz: int, prosody: bool = True, head: bool = False) -> None:
        """`rate_hz` is that of the audio; without `prosody` it is idle life with a head."""
        super().__init__(seed)
        self._has_head = head
        self._prosody = ProsodyTracker(rate_hz) if prosody else None
        self._blinks, self._glances = BlinkPlan(seed), GlancePlan(seed)
        self._springs = Springs(_RATES)
        self._rng = np.random.default_rng([seed, 6])
        self._aims = np.zeros(len(_AIMS))
        self._ends_s = np.full(len(_AIMS), math.inf)  # when each aim goes back to 0
        self._ends_s[:6] = -math.inf
        self._accent_s = -math.inf  # when the present one was last heard
        self._skew, self._answer = 0.0, False  # of the present accent
        self._aimed_until_s = -math.inf  # the springs have their aims until then
        self._still_from_s = -math.inf  # they show no more from then on
        self._horizon_s = -math.inf  # motion until then is settled
        self._sway_phase = self._rng.uniform(0, 2 * np.pi, (3, 2))
        self.restart()

    def restart(self) -> None:
        """New audio begins, unconnected to the last; face and speaker go on."""
        if self._prosody is not None:
            self._prosody.restart()
        self._cues: deque[Cue] = deque()
        self._heard_s = 0.0
        self._mouth: np.ndarray | None = None
        self._mouth_speed = self._voice = 0.0
        self._speaking = False

    def hear(self, samples: np.ndarray) -> None:
        """Take the audio [n] that the model takes next."""
        if self._prosody is not None:
            self._cues.extend(self._prosody.push(samples))

    def follow(self, time_s: float, heard_s: float, weights: np.ndarray) -> None:
        """The model depicts `time_s` by weights [52], having heard `heard_s` of this audio."""
        if self._prosody is None:
            return self.rest(time_s)
        self._watch_mouth(heard_s, weights)
        ended = lowered = False
        while self._cues and self._cues[0].end_s <= heard_s + 1e-9:
            cue = self._cues.popleft()
            self._speaking = cue.speaking
            if cue.accent > 0:
                self._raise(time_s, cue.accent * self._voice)
            ended, lowered = ended or cue.phrase_end, lowered or cue.lowered
        if time_s <= self._horizon_s:  # audio that comes late changes nothing that was shown
            return None
        if ended and self._voice > 0.3:
            self._end_phrase(time_s, lowered)
        return self._settle(time_s)

    def rest(self, time_s: float) -> None:
        """No audio comes: everything until `time_s` goes on without."""
        if time_s > self._horizon_s:
            self._speaking = False
            self._settle(time_s)

    def add(self, time_s: float, weights: np.ndarray) -> np.ndarray:
        """Return weights [52] with all this at `time_s`, within [0, 1]; the input is kept."""
        lively = super().add(time_s, weights)
        if time_s >= self._still_from_s:
            return lively
        raised = self._springs.at(time_s).astype(np.float32).tolist()
        for shape, aim in _SHAPE_AIMS:  # one by one: numpy takes longer over so few
            lively[shape] = min(max(lively.item(shape) + raised[aim], 0.0), 1.0)
        return lively

    def blink(self, time_s: float) -> float:
        """Return the lids' closure in [0, 1]."""
        return self._blinks.at(time_s) if self._prosody else super().blink(time_s)

    def gaze(self, time_s: float) -> tuple[float, float]:
        """Return where the eyes look: (toward the face's own right, up), each within ±0.16."""
        return self._glances.at(time_s) if self._prosody else super().gaze(time_s)

    def head(self, time_s: float) -> np.ndarray | None:
        """Return pitch, yaw, roll [3] float32 of the head in radians; None where not asked for.

        Order and signs are those of `arkit.HEAD_NAMES`.
        """
        if not self._has_head:
            return None
        rates = 2 * np.pi * np.array([[0.11, 0.23], [0.07, 0.17], [0.05, 0.13]])
        sway = np.sin(rates * time_s + self._sway_phase).mean(axis=1) * (0.015, 0.03, 0.015)
        angles = sway + self._springs.at(time_s)[5:8]
        return np.clip(angles, -HEAD_REACH, HEAD_REACH).astype(np.float32)

    def _watch_mouth(self, heard_s: float, weights: np.ndarray) -> None:
        """Believe in a voice where the model moves the mouth: it was taught what noise is."""
        step_s, self._heard_s = heard_s - self._heard_s, heard_s
        mouth = weights[_MOUTH]  # a copy
        if self._mouth is not None and step_s > 0:
            speed = float(np.abs(mouth - self._mouth).sum()) / step_s
            share = 1.0 - math.exp(-step_s / _MOUTH_MEAN_S)
            self._mouth_speed += share * (speed - self._mouth_speed)
        self._mouth = mouth
        voice = smoothstep((self._mouth_speed - MOUTH_STILL) / (MOUTH_SPEAKS - MOUTH_STILL))
        self._voice = max(voice, self._voice * math.exp(-step_s / _VOICE_HOLD_S))

    def _raise(self, time_s: float, strength: float) -> None:
        """Aim for raised brows, wider eyes and a nod; the stronger of two aims holds."""
        if time_s - self._accent_s > _SAME_ACCENT_S:  # not the same accent, grown
            self._skew = self._rng.uniform(-SKEW, SKEW)
            self._answer = self._rng.random() < ANSWERED_SHARE
        self._accent_s = time_s
        if not self._answer:
            return
        running = self._ends_s[0] > time_s
        left, right = OUTER_RAISE * (1.0 + self._skew), OUTER_RAISE * (1.0 - self._skew)
        aims = strength * np.array([INNER_RAISE, left, right, WIDE_EYES])
        self._aimed_until_s = -math.inf
        self._aims[:4] = np.maximum(aims, self._aims[:4]) if running else aims
        self._aims[5] = max(NOD * strength, self._aims[5] if running else 0.0)
        self._ends_s[:4], self._ends_s[5] = time_s + RAISE_S, time_s + NOD_S

    def _end_phrase(self, time_s: float, lowered: bool) -> None:
        self._blinks.end_phrase(time_s, lowered)
        self._glances.end_phrase(time_s)
        self._aimed_until_s = -math.inf
        if lowered:
            self._aims[4], self._ends_s[4] = LOWERED_SQUINT * self._voice, time_s + SQUINT_S
        self._aims[6] = self._rng.uniform(-POSE_YAW, POSE_YAW)
        self._aims[7] = self._rng.uniform(-POSE_ROLL, POSE_ROLL)

    def _settle(self, time_s: float) -> None:
        self._blinks.advance(time_s)
        self._glances.advance(time_s, self._speaking and self._voice > 0.3)
        if time_s >= self._aimed_until_s:
            running = self._ends_s > time_s
            aims = np.where(running, self._aims, 0.0)
            self._springs.aim(time_s, aims)
            self._aimed_until_s = float(self._ends_s[running].min(initial=math.inf))
            self._still_from_s = math.inf if aims[:_SHAPE_AIM_COUNT].any() else time_s + _STILL_S
        self._horizon_s = time_s


class Springs:
    """Critically damped springs that follow aims [n]: no overshoot, no jump in speed.

    Between two aims the curve is exact, so that it is the same at any frame rate.
    """

    def __init__(self, rates: np.ndarray) -> None:
        """`rates` [n] rad/s are how fast each follows."""
        self._rates = rates
        rest = np.zeros(len(rates))
        # When, where, how fast, and to where from then on. Frames ask in order of time.
        self._knots = deque([(-math.inf, rest, rest, rest)], maxlen=4096)

    def aim(self, time_s: float, aims: np.ndarray) -> None:
        """Go for `aims` [n] from `time_s` on, which must not be before the last call's."""
        place, speed = self._move(self._knots[-1], time_s)
        self._knots.append((time_s, place, speed, aims))

    def at(self, time_s: float) -> np.ndarray:
        """Return where they are, [n]; later calls must not ask for an earlier time."""
        while len(self._knots) > 1 and self._knots[1][0] <= time_s:
            self._knots.popleft()
        return self._move(self._knots[0], time_s)[0]

    def _move(
        self, knot: tuple[float, np.ndarray, np.ndarray, np.ndarray], time_s: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return place and speed at `time_s`: x'' = w² (aim - x) - 2 w x', solved exactly."""
        since_s, place, speed, aims = knot
        if math.isinf(since_s):
            return place, speed
        step_s, rates = max(time_s - since_s, 0.0), self._rates
        away = place - aims
        slope = speed + rates * away
        decay = np.exp(-rates * step_s)
        moved = (away + slope * step_s) * decay
        return aims + moved, slope * decay - rates * moved
