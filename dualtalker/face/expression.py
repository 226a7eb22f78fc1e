"""Expressions over speech: poses of the whole face by name, of which the mouth's part yields.

The names are those of `hri_msgs/Expression`. The poses are ours, after Ekman and Friesen's action
units of each emotion (Facial Action Coding System, 1978) where there are such.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from numbers import Real
from typing import TypeAlias

import numpy as np

from dualtalker.arkit import ARKIT_NAMES, expand
from dualtalker.errors import DualtalkerError
from dualtalker.face.finishing import Overlay, smoothstep
from dualtalker.face.idle import LIDS
from dualtalker.face.manner import LINES_MM, PARTED_MM, SHUT_MM, SPEECH_SHAPES, Fader

# A name without Left or Right stands for both sides.
_POSES: dict[str, dict[str, float]] = {
    "neutral": {},
    "happy": {"mouthSmile": 0.6, "cheekSquint": 0.5, "eyeSquint": 0.25, "mouthDimple": 0.15},
    "excited": {
        "mouthSmile": 0.7,
        "cheekSquint": 0.4,
        "eyeWide": 0.3,
        "browOuterUp": 0.4,
        "browInnerUp": 0.3,
        "jawOpen": 0.08,
    },
    "amazed": {
        "browInnerUp": 0.6,
        "browOuterUp": 0.6,
        "eyeWide": 0.5,
        "jawOpen": 0.12,
        "mouthSmile": 0.3,
    },
    "surprised": {"browInnerUp": 0.8, "browOuterUp": 0.8, "eyeWide": 0.7, "jawOpen": 0.22},
    "sad": {
        "browInnerUp": 0.7,
        "mouthFrown": 0.75,
        "eyeLookDown": 0.25,
        "mouthShrugLower": 0.2,
        "eyeBlink": 0.15,
    },
    "despaired": {
        "browInnerUp": 0.9,
        "mouthFrown": 0.7,
        "eyeSquint": 0.4,
        "mouthShrugLower": 0.3,
        "eyeLookDown": 0.2,
        "mouthStretch": 0.2,
    },
    "disappointed": {"browInnerUp": 0.35, "mouthFrown": 0.4, "mouthPress": 0.25, "eyeBlink": 0.2},
    "rejected": {"browInnerUp": 0.5, "mouthFrown": 0.45, "eyeLookDown": 0.45, "eyeBlink": 0.25},
    "vulnerable": {"browInnerUp": 0.6, "eyeWide": 0.15, "mouthFrown": 0.2, "mouthPress": 0.15},
    "pleading": {"browInnerUp": 0.8, "eyeWide": 0.35, "mouthFrown": 0.25, "eyeLookUp": 0.1},
    "guilty": {"browInnerUp": 0.5, "eyeLookDown": 0.55, "mouthPress": 0.35, "eyeBlink": 0.2},
    "embarrassed": {
        "mouthSmile": 0.3,
        "mouthPress": 0.4,
        "eyeLookDown": 0.5,
        "browInnerUp": 0.3,
        "cheekSquint": 0.2,
    },
    "angry": {
        "browDown": 0.8,
        "eyeSquint": 0.35,
        "eyeWide": 0.15,
        "mouthPress": 0.4,
        "noseSneer": 0.3,
        "mouthFrown": 0.25,
    },
    "furious": {
        "browDown": 1.0,
        "eyeWide": 0.4,
        "noseSneer": 0.6,
        "mouthFrown": 0.35,
        "mouthUpperUp": 0.25,
        "mouthPress": 0.4,
    },
    "annoyed": {"browDown": 0.45, "eyeSquint": 0.3, "mouthPress": 0.3, "mouthFrown": 0.2},
    "disgusted": {
        "noseSneer": 0.8,
        "mouthUpperUp": 0.3,
        "browDown": 0.4,
        "eyeSquint": 0.35,
        "mouthFrown": 0.3,
        "cheekSquint": 0.3,
    },
    "scared": {
        "browInnerUp": 0.8,
        "browOuterUp": 0.4,
        "eyeWide": 0.7,
        "mouthStretch": 0.4,
        "jawOpen": 0.1,
    },
    "horrified": {
        "browInnerUp": 1.0,
        "browOuterUp": 0.5,
        "eyeWide": 0.9,
        "mouthStretch": 0.5,
        "jawOpen": 0.25,
        "mouthFrown": 0.3,
    },
    "skeptical": {
        "browOuterUpLeft": 0.7,
        "browDownRight": 0.45,
        "eyeSquintRight": 0.35,
        "mouthPress": 0.2,
        "mouthLeft": 0.1,
    },
    "suspicious": {"browDown": 0.4, "eyeSquint": 0.65, "mouthPress": 0.25, "eyeBlink": 0.15},
    "confused": {
        "browInnerUp": 0.35,
        "browDownLeft": 0.4,
        "browOuterUpRight": 0.5,
        "mouthFrown": 0.15,
        "mouthRight": 0.12,
        "eyeSquintLeft": 0.2,
    },
    "bored": {"eyeBlink": 0.4, "mouthFrown": 0.15, "eyeLookUp": 0.15, "browInnerUp": 0.1},
    "tired": {
        "eyeBlink": 0.6,
        "browInnerUp": 0.3,
        "mouthFrown": 0.25,
        "eyeLookDown": 0.2,
        "jawOpen": 0.03,
    },
    "asleep": {"eyeBlink": 1.0},
}
# Of the circumplex of affect (Russell 1980): where each name stands, (valence, arousal) in -1..1.
_AFFECTS: dict[str, tuple[float, float]] = {
    "neutral": (0.0, 0.0),
    "happy": (0.8, 0.3),
    "excited": (0.6, 0.8),
    "surprised": (0.1, 0.9),
    "scared": (-0.5, 0.9),
    "angry": (-0.7, 0.6),
    "disgusted": (-0.8, 0.2),
    "sad": (-0.8, -0.4),
    "tired": (-0.1, -0.9),
    "bored": (-0.4, -0.6),
    "asleep": (0.1, -1.0),
}
# How much of the mouth's part is left while speech moves the mouth.
_SPOKEN_SHARE = 0.5
# A mouth that moves by so much of a weight speaks; how fast that is believed, and doubted.
_MOVING = 0.12
_ATTACK_S, _RELEASE_S = 0.04, 0.35
# Contacts of the lips and of lip and teeth show in these.
_TOUCHING = np.array(
    [name.startswith(("mouthPress", "mouthRoll", "mouthClose")) for name in ARKIT_NAMES]
)
_TOUCH = 0.15  # of their sum: a contact is meant
# What parts the lips, or the lower lip from the teeth.
_PARTING = SPEECH_SHAPES & (LINES_MM > 0).any(axis=0)
_QUIET = SPEECH_SHAPES & ~_PARTING
_SPOKEN = np.flatnonzero(SPEECH_SHAPES)  # picked faster than by a mask

EXPRESSIONS: tuple[str, ...] = tuple(_POSES)
Expression: TypeAlias = str | Mapping[str, float] | tuple[float, float] | None


def pose_expression(expression: Expression, intensity: float = 1.0) -> np.ndarray:
    """Return the pose [52] of an expression, each weight in [0, 1].

    Args:
        expression: one of EXPRESSIONS, a mixture of them as a text (`"happy:0.6,surprised:0.4"`)
            or as weights by name, valence and arousal in [-1, 1], or None for the neutral face.
        intensity: 0 is the neutral face, 1 the pose as it stands, 2 the most.

    Raises:
        DualtalkerError: there is no such expression, or a number is out of its range.
    """
    if not isinstance(intensity, Real) or not 0.0 <= float(intensity) <= 2.0:
        raise DualtalkerError(f"intensity is {intensity!r}; expected 0 to 2")
    weights = _read_weights(expression)
    pose = sum(
        (share * expand(_POSES[name]) for name, share in weights.items()),
        np.zeros(len(ARKIT_NAMES)),
    )
    return np.clip(float(intensity) * pose, 0.0, 1.0).astype(np.float32)


def _read_weights(expression: Expression) -> dict[str, float]:
    if expression is None or expression == "":
        return {}
    if isinstance(expression, tuple):
        return _mix_affect(*expression)
    if isinstance(expression, str):
        parts = [part.partition(":") for part in expression.split(",")]
        try:
            expression = {
                name.strip().lower(): float(share) if colon else 1.0
                for name, colon, share in parts
            }
        except ValueError:
            raise DualtalkerError(
                f"expression {expression!r}; expected a name, or NAME:WEIGHT,NAME:WEIGHT"
            ) from None
    for name, share in expression.items():
        if name not in _POSES:
            near = difflib.get_close_matches(str(name), EXPRESSIONS, 3, 0.4) or EXPRESSIONS
            raise DualtalkerError(f"no expression {name!r}; did you mean {', '.join(near)}?")
        if not isinstance(share, Real) or not 0.0 <= float(share) <= 1.0:
            raise DualtalkerError(f"{name} has the weight {share!r}; expected 0 to 1")
    return {name: float(share) for name, share in expression.items()}


def _mix_affect(valence: float, arousal: float) -> dict[str, float]:
    """Mix the names around a place of the circumplex, by inverse squared distance."""
    for name, value in (("valence", valence), ("arousal", arousal)):
        if not isinstance(value, Real) or not -1.0 <= float(value) <= 1.0:
            raise DualtalkerError(f"{name} is {value!r}; expected -1 to 1")
    shares = {}
    for name, (x, y) in _AFFECTS.items():
        distance = math.hypot(float(valence) - x, float(arousal) - y)
        if distance < 1e-6:
            return {name: 1.0}
        shares[name] = 1.0 / distance**4
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


class ExpressionLayer(Overlay):
    """The expression of each instant, and how it goes together with speech.

    Brows, eyes and lids keep it while the face speaks. Of the mouth's part half is left; what
    would part the lips yields wholly, so that contacts stay contacts; after speech it comes back.
    Call `add` in order of time.
    """

    def __init__(self, channels: int) -> None:
        """The face is neutral."""
        self._poses = Fader(np.zeros(channels, np.float32))
        self._speech, self._time_s = 0.0, -math.inf

    def change(self, time_s: float, pose: np.ndarray, fade_s: float, hold_s: float | None) -> None:
        """From `time_s` on go over to a pose [52] in `fade_s`; back again after `hold_s`."""
        self._poses.change(time_s, pose, fade_s)
        if hold_s is not None:
            self._poses.change(time_s + fade_s + hold_s, np.zeros_like(pose), fade_s)

    def settle(self) -> None:
        """Be at the last pose now, as stream time begins anew."""
        self._poses.settle()
        self._speech, self._time_s = 0.0, -math.inf

    def add(self, time_s: float, spoken: np.ndarray, lively: np.ndarray) -> np.ndarray:
        """Return weights [52] with the expression at `time_s`, within [0, 1].

        `spoken` is the pose of speech alone, `lively` the same with life; both are kept.
        """
        self._listen(time_s, spoken)
        pose = self._poses.at(time_s)
        if not np.count_nonzero(pose):  # faster than `any`
            return lively
        shares = np.ones(len(pose), np.float32)
        shares[_QUIET] = 1.0 - (1.0 - _SPOKEN_SHARE) * self._speech
        shares[_PARTING] = (1.0 - self._speech) * (1.0 - _touch_of(spoken))
        added = np.clip(lively + shares * pose, 0.0, 1.0)
        added[LIDS] = np.maximum(lively[LIDS], pose[LIDS])
        return added

    def _listen(self, time_s: float, spoken: np.ndarray) -> None:
        """Follow how much speech moves the mouth, 0 to 1."""
        moving = smoothstep(float(spoken[_SPOKEN].max()) / _MOVING)
        step_s = min(max(time_s - self._time_s, 0.0), 1.0)
        tau_s = _ATTACK_S if moving > self._speech else _RELEASE_S
        self._speech += (1.0 - math.exp(-step_s / tau_s)) * (moving - self._speech)
        self._time_s = time_s


def _touch_of(spoken: np.ndarray) -> float:
    """Return how surely a pose of speech means a contact, 0 to 1."""
    meant = smoothstep(float(spoken[_TOUCHING].sum()) / _TOUCH)
    parted_mm = float((LINES_MM @ spoken).min())
    return meant * (1.0 - smoothstep((parted_mm - SHUT_MM) / (PARTED_MM - SHUT_MM)))
