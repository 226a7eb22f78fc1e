"""Mouth motion by rule from timed phone classes; where the classes come from is no matter here.

Dominance functions after Cohen & Massaro, "Modeling coarticulation in synthetic visual speech"
(1993): every segment s pulls channel c toward its target with a weight that decays with distance,

    F_c(t) = sum_s D_sc(t) T_sc / sum_s D_sc(t),    D_sc(t) = alpha_sc exp(-theta |tau|)

where tau is the time to the segment's central half. On top of it lie constraints that no
neighbor may soften: lips shut in /p b m/, lower lip on the teeth in /f v/, rest in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES, MOUTH_INDICES, expand
from dualtalker.rig import VISEMES
from dualtalker.speech import BILABIAL, LABIODENTAL, PHONE_CLASSES, SILENCE, Phone
from training.data.clips import MOTION_RATE_HZ, frame_count

THETA_PER_S = 18.0
CORE = 0.5  # the part of a segment around its center that counts as distance zero

CLOSURE_RAMP_S = 0.055  # lips travel from open to shut, and back
_SHORTEST_CLOSURE_S = 0.050  # with 20 ms frames always at least two, mostly three of them
LONGEST_CLOSURE_S = 0.160  # a prolonged /m/ at an end; the mouth rests sealed after it anyway
LABIODENTAL_RAMP_S = 0.050
REST_ATTACK_S = 0.14  # the mouth prepares this long before sound starts
REST_RELEASE_S = 0.18  # and falls shut within this time after it ends

CLOSED_JAW = 0.07

# Channels that part the lips, or push one of them past the other: they vanish in a closure.
PARTING = ("mouthLowerDown", "mouthUpperUp", "mouthFunnel", "mouthShrug", "tongueOut")


@dataclass(frozen=True)
class Target:
    """The ideal shape of a class, and how strongly it insists (alpha) on jaw and on lips.

    Names without Left or Right stand for both sides. In a closure /p b m/ have more (`_SEAL`).
    """

    alpha_jaw: float
    alpha_lip: float
    shape: dict[str, float]


# Own values, set against the shapes of two ARKit rigs and 8 s of articulograph data.
TARGETS: dict[str, Target] = {
    SILENCE: Target(0.6, 0.35, {}),
    "AA": Target(1.0, 0.5, VISEMES["AA"]),
    "AE": Target(
        1.0,
        0.6,
        {"jawOpen": 0.5, "mouthStretch": 0.2, "mouthLowerDown": 0.3, "mouthUpperUp": 0.12},
    ),
    "AH": Target(0.8, 0.4, {"jawOpen": 0.36, "mouthLowerDown": 0.2}),
    "AX": Target(0.4, 0.2, {"jawOpen": 0.22, "mouthLowerDown": 0.15}),
    "AO": Target(1.0, 0.9, {"jawOpen": 0.45, "mouthFunnel": 0.45, "mouthPucker": 0.15}),
    "OW": Target(1.0, 1.0, VISEMES["OW"]),
    "UW": Target(0.9, 1.2, VISEMES["UW"]),
    "EH": Target(0.9, 0.6, VISEMES["EH"]),
    "ER": Target(0.7, 0.7, {"jawOpen": 0.24, "mouthFunnel": 0.3, "mouthPucker": 0.15}),
    "IY": Target(0.8, 0.8, VISEMES["IY"]),
    "IH": Target(
        0.7,
        0.5,
        {"jawOpen": 0.22, "mouthStretch": 0.22, "mouthSmile": 0.1, "mouthLowerDown": 0.25},
    ),
    "PP": Target(1.6, 2.2, {"jawOpen": 0.06, "mouthRollLower": 0.25, "mouthRollUpper": 0.2}),
    "FF": Target(1.5, 2.0, VISEMES["FF"]),
    "TH": Target(1.0, 0.6, VISEMES["TH"]),
    "DD": Target(1.0, 0.25, {"jawOpen": 0.13, "mouthLowerDown": 0.22}),
    "NN": Target(0.9, 0.2, {"jawOpen": 0.14, "mouthLowerDown": 0.2}),
    "LL": Target(0.8, 0.25, {"jawOpen": 0.22, "mouthLowerDown": 0.22, "tongueOut": 0.05}),
    "SS": Target(
        1.5,
        0.7,
        {"jawOpen": 0.06, "mouthStretch": 0.22, "mouthLowerDown": 0.32, "mouthUpperUp": 0.1},
    ),
    "CH": Target(1.4, 1.1, {"jawOpen": 0.08, "mouthFunnel": 0.55, "mouthPucker": 0.25}),
    "RR": Target(0.8, 0.8, {"jawOpen": 0.16, "mouthFunnel": 0.3, "mouthPucker": 0.25}),
    "KK": Target(0.6, 0.1, {"jawOpen": 0.2, "mouthLowerDown": 0.18}),
    "HH": Target(0.15, 0.05, {"jawOpen": 0.22}),
    "WW": Target(1.0, 1.4, {"jawOpen": 0.1, "mouthFunnel": 0.25, "mouthPucker": 0.85}),
    "YY": Target(0.8, 0.7, {"jawOpen": 0.13, "mouthStretch": 0.3, "mouthSmile": 0.15}),
    # Spanish [β]: the lips approach each other but stay apart.
    "BH": Target(1.2, 1.2, {"jawOpen": 0.1, "mouthRollLower": 0.1}),
}

# What the rules speak about. Eyes and brows do not follow from phones, so they carry no evidence.
RULE_MASK = np.zeros(len(ARKIT_NAMES), bool)
RULE_MASK[list(MOUTH_INDICES)] = True


def _columns(names: Sequence[str]) -> list[int]:
    return [index for index, name in enumerate(ARKIT_NAMES) if name.startswith(tuple(names))]


_JAW = ARKIT_INDEX["jawOpen"]
_CLOSE = ARKIT_INDEX["mouthClose"]
_PARTING = _columns(PARTING)
_SHAPES = np.stack([expand(TARGETS[name].shape) for name in PHONE_CLASSES])
_ALPHA_JAW = np.array([TARGETS[name].alpha_jaw for name in PHONE_CLASSES])
_ALPHA_LIP = np.array([TARGETS[name].alpha_lip for name in PHONE_CLASSES])
_SEAL = expand({"mouthPress": 0.3, "mouthRollLower": 0.25, "mouthRollUpper": 0.2})
_BITE = expand({"mouthRollLower": 0.4, "mouthUpperUp": 0.2, "mouthShrugLower": 0.2})


def rule_motion(
    segments: Sequence[Phone],
    duration_s: float,
    rate_hz: float = MOTION_RATE_HZ,
    effort: float = 1.0,
) -> np.ndarray:
    """Return weights float32 [frames, 52] in [0, 1] for phone classes that cover the duration.

    Frame k depicts k / rate_hz. `effort` scales the jaw's travel: speakers differ. Eyes, brows
    and cheeks stay 0 (`RULE_MASK` says which channels mean something).
    """
    times_s = _frame_times(duration_s, rate_hz)
    motion = _blend(segments, times_s)
    motion[:, _JAW] *= effort
    _bite(motion, labiodental_labels(segments, len(times_s), rate_hz))
    _rest(motion, segments, times_s)
    _close(motion, closure_labels(segments, len(times_s), rate_hz, ramp_s=CLOSURE_RAMP_S))
    return np.clip(motion, 0.0, 1.0).astype(np.float32)


def closure_labels(
    segments: Sequence[Phone],
    frames: int,
    rate_hz: float = MOTION_RATE_HZ,
    ramp_s: float = 0.0,
) -> np.ndarray:
    """Return float32 [frames]: 1 while the lips must be shut, 0 elsewhere.

    With `ramp_s` a raised cosine leads to each closure and away from it.
    """
    spans = [
        _at_least(phone, _SHORTEST_CLOSURE_S, LONGEST_CLOSURE_S)
        for phone in segments
        if phone.label == BILABIAL
    ]
    return _gate(spans, np.arange(frames) / rate_hz, ramp_s, ramp_s)


def labiodental_labels(
    segments: Sequence[Phone],
    frames: int,
    rate_hz: float = MOTION_RATE_HZ,
) -> np.ndarray:
    """Return float32 [frames]: 1 while the lower lip must touch the upper teeth, 0 elsewhere."""
    spans = []
    for phone in segments:
        if phone.label == LABIODENTAL:
            margin_s = 0.2 * (phone.end_s - phone.start_s)
            inner = Phone(phone.label, phone.start_s + margin_s, phone.end_s - margin_s)
            spans.append(_at_least(inner, _SHORTEST_CLOSURE_S, 1.0))
    return _gate(spans, np.arange(frames) / rate_hz, LABIODENTAL_RAMP_S, LABIODENTAL_RAMP_S)


def _frame_times(duration_s: float, rate_hz: float) -> np.ndarray:
    if rate_hz == MOTION_RATE_HZ:
        return np.arange(frame_count(round(duration_s * 16000))) / rate_hz
    return np.arange(int(np.ceil(duration_s * rate_hz - 1e-9))) / rate_hz


def _blend(segments: Sequence[Phone], times_s: np.ndarray) -> np.ndarray:
    """Return the dominance blend F, float64 [frames, 52]."""
    labels = np.array([PHONE_CLASSES.index(phone.label) for phone in segments])
    starts = np.array([phone.start_s for phone in segments])
    ends = np.array([phone.end_s for phone in segments])
    half_core = 0.5 * CORE * (ends - starts)
    tau = np.abs(times_s[:, None] - 0.5 * (starts + ends)) - half_core  # [frames, segments]
    decay = np.exp(-THETA_PER_S * np.maximum(tau, 0.0))
    shapes = _SHAPES[labels]
    lip = decay * _ALPHA_LIP[labels]
    motion = (lip @ shapes) / (lip.sum(axis=1, keepdims=True) + 1e-12)
    jaw = decay * _ALPHA_JAW[labels]
    motion[:, _JAW] = (jaw @ shapes[:, _JAW]) / (jaw.sum(axis=1) + 1e-12)
    return np.asarray(motion)


def _bite(motion: np.ndarray, gate: np.ndarray) -> None:
    """Lay the /f v/ shape over the motion: lower lip rolled in under the upper teeth."""
    bitten = motion.copy()
    bitten[:, _JAW] = np.minimum(motion[:, _JAW], 0.09)
    bitten[:, _columns(["mouthLowerDown", "mouthPress", "mouthRollUpper", "mouthFunnel"])] = 0.0
    bitten = np.where(_BITE > 0, _BITE, bitten)
    motion += gate[:, None] * (bitten - motion)


def _close(motion: np.ndarray, gate: np.ndarray) -> None:
    """Shut the lips where the gate is 1, whatever the neighbors want.

    mouthClose at the value of jawOpen shuts the lips (Apple's definition of the shape), so in a
    closure the lips meet exactly while the jaw may stay slightly lowered behind them.
    """
    shut = motion.copy()
    shut[:, _JAW] = np.minimum(motion[:, _JAW], CLOSED_JAW)
    shut[:, _CLOSE] = shut[:, _JAW]
    shut[:, _PARTING] = 0.0
    shut = np.where(_SEAL > 0, _SEAL, shut)
    motion += gate[:, None] * (shut - motion)


def _rest(motion: np.ndarray, segments: Sequence[Phone], times_s: np.ndarray) -> None:
    """Let everything return to 0 in silence, smoothly and then exactly."""
    spoken: list[tuple[float, float]] = []
    for phone in segments:
        if phone.label == SILENCE:
            continue
        if spoken and phone.start_s - spoken[-1][1] < 1e-3:
            spoken[-1] = (spoken[-1][0], phone.end_s)
        else:
            spoken.append((phone.start_s, phone.end_s))
    motion *= _gate(spoken, times_s, REST_ATTACK_S, REST_RELEASE_S)[:, None]


def _at_least(phone: Phone, shortest_s: float, longest_s: float) -> tuple[float, float]:
    """Return the span of a phone, widened or narrowed around its center."""
    center_s = 0.5 * (phone.start_s + phone.end_s)
    half_s = 0.5 * min(max(phone.end_s - phone.start_s, shortest_s), longest_s)
    return center_s - half_s, center_s + half_s


def _gate(
    spans: Sequence[tuple[float, float]], times_s: np.ndarray, attack_s: float, release_s: float
) -> np.ndarray:
    """Return float32 [frames]: 1 in the spans, raised-cosine flanks outside, 0 further away."""
    gate = np.zeros(len(times_s), np.float32)
    for start_s, end_s in spans:
        first = int(np.searchsorted(times_s, start_s - attack_s))
        last = int(np.searchsorted(times_s, end_s + release_s, side="right"))
        near = times_s[first:last]
        # A tolerance keeps the frame that falls on a span's border inside it.
        distance = np.maximum(
            (start_s - near - 1e-9) / max(attack_s, 1e-6),
            (near - end_s - 1e-9) / max(release_s, 1e-6),
        )
        flank = 0.5 * (1.0 + np.cos(np.pi * np.clip(distance, 0.0, 1.0)))
        gate[first:last] = np.maximum(gate[first:last], flank)
    return gate
