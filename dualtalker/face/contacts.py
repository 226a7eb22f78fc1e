"""Contacts of the lips and rounding, laid over a pose where it is known that they must be."""

from __future__ import annotations

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, expand
from dualtalker.face.finishing import smoothstep
from dualtalker.face.manner import SPEECH_SHAPES

JAW_OPEN = ARKIT_INDEX["jawOpen"]
MOUTH_CLOSE = ARKIT_INDEX["mouthClose"]
FUNNEL, PUCKER = ARKIT_INDEX["mouthFunnel"], ARKIT_INDEX["mouthPucker"]
# Shapes that part the lips: a closed mouth has none of them.
UNSHUT = tuple(
    ARKIT_INDEX[name]
    for name in (
        "mouthFunnel",
        "mouthLowerDownLeft",
        "mouthLowerDownRight",
        "mouthUpperUpLeft",
        "mouthUpperUpRight",
        "mouthShrugUpper",
        "tongueOut",
    )
)
# What the lower lip on the upper teeth allows no more.
UNBITTEN = tuple(
    ARKIT_INDEX[name]
    for name in (
        "mouthFunnel",
        "mouthLowerDownLeft",
        "mouthLowerDownRight",
        "mouthPressLeft",
        "mouthPressRight",
        "mouthRollUpper",
    )
)
# How far the jaw rises in a contact, of what it would be open without one: nearer to what captured
# motion shows than the 0.7 and 0.92 that were set by hand (docs/log/experiments.md).
JAW_RISE = 0.5
# How much of the rest the lower lip makes up for where it meets the teeth; shut lips need all.
LIP_RISE = 0.8

# The least that a contact presses, about as the shipped model's do: an expression then knows it.
_SEAL = expand({"mouthPress": 0.1, "mouthRollLower": 0.08, "mouthRollUpper": 0.06})
_BITE = expand({"mouthRollLower": 0.16, "mouthUpperUp": 0.05})
# The least rounding of each class: the shipped model's median on 138 s of labelled recordings.
ROUNDING = {
    "WW": expand({"mouthFunnel": 0.14, "mouthPucker": 0.42}),
    "UW": expand({"mouthFunnel": 0.13, "mouthPucker": 0.27}),
    "OW": expand({"mouthFunnel": 0.12, "mouthPucker": 0.24}),
}
_MOVING = 0.12  # a mouth that moves by less hears nothing, and is not rounded


def touch_lips(weights: np.ndarray, shut: float, bite: float, intensity: float) -> np.ndarray:
    """Return weights [52] blended toward contacts: lips shut, and lower lip on the upper teeth.

    `shut` and `bite` are how far, 0 to 1; shut lips win. As the network makes its own
    (`close_lips` and `bite_lip` of `training.network`): what parts the lips goes, the jaw rises
    by half, unless the pose has a contact already, and `mouthClose` makes up for the rest, wholly
    (ARKit's shape at the value of `jawOpen` shuts the lips) or by `LIP_RISE`. Round lips stay
    round: what goes of the funnel, which parts them, comes to the pucker. Below an `intensity` of
    1 the lips press by as much less.
    """
    press = min(intensity, 1.0)
    if bite > 0.0:
        weights = _raise_jaw(weights, bite, UNBITTEN, LIP_RISE)
        weights = np.maximum(weights, np.float32(bite * press) * _BITE)
    if shut > 0.0:
        weights = _raise_jaw(weights, shut, UNSHUT, 1.0)
        weights = np.maximum(weights, np.float32(shut * press) * _SEAL)
    return weights


def round_lips(weights: np.ndarray, least: np.ndarray, intensity: float) -> np.ndarray:
    """Return weights [52] that are no less than `least` [52] where the mouth moves at all."""
    heard = smoothstep(float(weights[SPEECH_SHAPES].max()) / _MOVING)
    return np.maximum(weights, np.float32(heard * min(intensity, 1.0)) * least)


def _raise_jaw(weights: np.ndarray, gate: float, gone: tuple[int, ...], lift: float) -> np.ndarray:
    jaw = float(weights[JAW_OPEN])
    touching = min(float(weights[MOUTH_CLOSE]) / (lift * jaw), 1.0) if jaw > 0.0 else 0.0
    shaped = weights.copy()
    shaped[list(gone)] *= np.float32(1.0 - gate)
    shaped[JAW_OPEN] *= np.float32(1.0 - gate * JAW_RISE * (1.0 - touching))
    aim = np.float32(lift) * shaped[JAW_OPEN]
    shaped[MOUTH_CLOSE] = (1.0 - gate) * shaped[MOUTH_CLOSE] + gate * aim
    shaped[PUCKER] = min(shaped[PUCKER] + weights[FUNNEL] - shaped[FUNNEL], 1.0)
    return shaped
