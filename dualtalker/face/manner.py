"""How the face is to speak at each instant: style and intensity, faded where they change."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from numbers import Real

import numpy as np

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import DualtalkerError
from dualtalker.face.finishing import smoothstep
from dualtalker.model import Sidecar, Style, mix_style

CHANGE_S = Fraction(1, 10)  # from one style or intensity to the next, so that nothing jumps
MAX_INTENSITY = 2.0

# What intensity makes larger or smaller: all that speech moves below the eyes.
_PARTS = ("jaw", "mouth", "cheek", "nose", "tongue")
SPEECH_SHAPES = np.array([name.startswith(_PARTS) for name in ARKIT_NAMES])
# Millimetres by which each shape parts the lips of the default head (`Rig.lip_gap_line`), and by
# which it lowers the lower lip from the upper teeth (`metrics.lower_lip_drop`), left and right
# alike: here, so that the head need not be built to speak; a test holds them together.
_PARTING_MM = {
    "jawForward": (1.4, 1.4),
    "jawOpen": (38.6, 38.6),
    "mouthClose": (-38.6, -38.6),
    "mouthFunnel": (13.9, 8.1),
    "mouthPucker": (-1.9, -1.0),
    "mouthSmile": (0.0, -0.8),
    "mouthFrown": (0.0, 0.5),
    "mouthDimple": (0.0, -0.1),
    "mouthStretch": (0.0, 0.5),
    "mouthRollLower": (-1.4, -1.4),
    "mouthRollUpper": (0.9, 0.0),
    "mouthShrugLower": (-7.7, -7.7),
    "mouthShrugUpper": (5.7, 0.0),
    "mouthPress": (-1.5, -1.2),
    "mouthLowerDown": (3.7, 3.7),
    "mouthUpperUp": (4.1, 0.0),
    "cheekPuff": (-0.4, -0.2),
    "noseSneer": (3.0, 0.0),
}
LINES_MM = np.array(
    [_PARTING_MM.get(re.sub("(Left|Right)$", "", n), (0.0, 0.0)) for n in ARKIT_NAMES], np.float32
).T
# Lips, or lip and teeth, parted by less touch and are left so; from the second on all is scaled.
SHUT_MM = 1.5
PARTED_MM = 5.0


def scale_speech(weights: np.ndarray, intensity: float) -> np.ndarray:
    """Return weights [52] in [0, 1] with the motion of speech made larger or smaller.

    Ours. All that moves below the eyes is multiplied by one gain, so that the pose keeps its
    shape: on any linear rig the lips' gap beyond rest is multiplied by it too, and lips that are
    pressed together stay so. Up to 1 the gain is the intensity `s`. Beyond it would drive weights
    past 1: then with `m`, the largest of them, the gain is `s - (s - 1) m^(1 / (s - 1))`, which
    takes `m` along the flattest monotone curve that starts with slope `s` and ends at 1. Lips
    that are all but shut, or the lower lip on the teeth, are not multiplied up: what is left of
    a contact, or of silence, must not grow into an opening.
    """
    if intensity == 1.0:
        return weights
    gain = intensity
    if intensity > 1.0:
        more = intensity - 1.0
        largest = float(np.clip(weights[SPEECH_SHAPES].max(), 0.0, 1.0))
        parted_mm = float((LINES_MM @ weights).min())
        share = smoothstep((parted_mm - SHUT_MM) / (PARTED_MM - SHUT_MM))
        gain = 1.0 + share * (more - more * largest ** (1.0 / more))
    scaled = weights.copy()
    scaled[SPEECH_SHAPES] = np.clip(weights[SPEECH_SHAPES] * np.float32(gain), 0.0, 1.0)
    return scaled


def check_intensity(intensity: object) -> float:
    """Return an intensity as a float; raises DualtalkerError unless it is 0 to 2."""
    if not isinstance(intensity, Real) or not 0.0 <= float(intensity) <= MAX_INTENSITY:
        raise DualtalkerError(
            f"intensity is {intensity!r}; expected 0 (a still mouth) to {MAX_INTENSITY:g}, where "
            "1 is as trained"
        )
    return float(intensity)


class Fader:
    """A value as a function of stream time: it goes over to each new one within some seconds.

    Asked in any steps it gives the same, so that frames do not depend on chunks; ask for times
    that never go back beyond the last change but one.
    """

    def __init__(self, value: np.ndarray, fade_s: Fraction | float = CHANGE_S) -> None:
        """`fade_s` is how long a change takes, where it does not tell."""
        self._fade_s = fade_s
        # (since when, over how long, from which value, to which); pieces of the future in order.
        self._pieces: list[_Piece] = [(-math.inf, fade_s, value, value)]

    @property
    def target(self) -> np.ndarray:
        """The value that was asked for last."""
        return self._pieces[-1][3]

    def change(
        self, time_s: Fraction | float, value: np.ndarray, fade_s: Fraction | float | None = None
    ) -> None:
        """From stream time `time_s` on go over to `value`; what was to begin later is void."""
        while len(self._pieces) > 1 and self._pieces[-1][0] >= time_s:
            self._pieces.pop()
        start = _value_of(self._pieces[-1], time_s)
        if self._pieces[-1][0] >= time_s:
            self._pieces.pop()
        self._pieces.append((time_s, self._fade_s if fade_s is None else fade_s, start, value))

    def at(self, time_s: Fraction | float) -> np.ndarray:
        """Return the value at `time_s`; the array is not to be changed."""
        while len(self._pieces) > 1 and self._pieces[1][0] <= time_s:
            del self._pieces[0]
        if self._pieces[0][0] == -math.inf:  # as it was from the beginning: mostly
            return self._pieces[0][3]
        return _value_of(self._pieces[0], time_s)

    def settle(self) -> None:
        """Be at the last value now, as stream time begins anew."""
        self._pieces = [(-math.inf, self._fade_s, self.target, self.target)]


_Piece = tuple[Fraction | float, Fraction | float, np.ndarray, np.ndarray]


def _value_of(piece: _Piece, time_s: Fraction | float) -> np.ndarray:
    since_s, fade_s, start, target = piece
    if time_s >= since_s + fade_s:
        return target
    if time_s <= since_s:
        return start
    share = smoothstep(float((time_s - since_s) / fade_s))
    mixed: np.ndarray = start + np.float32(share) * (target - start)
    return mixed


def _change(fader: Fader, time_s: Fraction, value: np.ndarray) -> None:
    """Go over to a value; one that is asked for already is on its way."""
    if not np.array_equal(value, fader.target):
        fader.change(time_s, value)


class Manner:
    """Style and intensity of one Talker, as functions of stream time."""

    def __init__(self, sidecar: Sidecar, style: Style, intensity: float) -> None:
        """Raises DualtalkerError where the model has no such style, or intensity is not 0 to 2."""
        self._sidecar = sidecar
        mixed = mix_style(style, sidecar)
        self._style = None if mixed is None else Fader(mixed)
        self._intensity = Fader(np.array([check_intensity(intensity)]))

    @property
    def style(self) -> dict[str, float]:
        """Weights of the trained styles that are asked for; empty where there is no choice."""
        if self._style is None:
            return {}
        return dict(zip(self._sidecar.style_names, self._style.target[0].tolist(), strict=True))

    @property
    def intensity(self) -> float:
        """The intensity that is asked for."""
        return float(self._intensity.target[0])

    def change_style(self, style: Style, time_s: Fraction) -> None:
        """Go over to another style from stream time `time_s` on; raises DualtalkerError."""
        mixed = mix_style(style, self._sidecar)
        if self._style is not None and mixed is not None:
            _change(self._style, time_s, mixed)

    def change_intensity(self, intensity: float, time_s: Fraction) -> None:
        """Go over to another intensity from stream time `time_s` on; raises DualtalkerError."""
        _change(self._intensity, time_s, np.array([check_intensity(intensity)]))

    def style_at(self, time_s: Fraction) -> np.ndarray | None:
        """Return what the graph's style input gets, [1, styles]; None where it has none."""
        return None if self._style is None else self._style.at(time_s)

    def intensity_at(self, time_s: Fraction) -> float:
        """Return the intensity in [0, 2]."""
        return float(self._intensity.at(time_s)[0])

    def settle(self) -> None:
        """Stream time begins anew: what was asked for last holds at once."""
        self._intensity.settle()
        if self._style is not None:
            self._style.settle()
