"""The accuracy figures, each with its convention; the trainer and the reports use these alone.

Curves are `[frames]`, weights `[frames, 52]`, vertices `[frames, vertices, 3]` in metres; two
inputs that are compared must have the same number of frames, or a ValueError says which differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.speech import BILABIAL

if TYPE_CHECKING:
    from dualtalker.rig import Rig

OPEN_VOWELS = ("AA", "AE", "AO")
CLOSED_SHARE = 0.05  # of the gap's range above rest within which lips count as shut
CONTACT_SHARE = 0.1  # of the lower lip's range within which it counts as on the teeth

# The mouth's shapes that are compared with captured ones: each the sum of these blendshapes.
MOUTH_SHAPES = {
    "jaw": ("jawOpen",),
    "rounding": ("mouthFunnel", "mouthPucker"),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "stretch": ("mouthStretchLeft", "mouthStretchRight"),
    "lower lip down": ("mouthLowerDownLeft", "mouthLowerDownRight"),
    "upper lip up": ("mouthUpperUpLeft", "mouthUpperUpRight"),
    "lower lip roll": ("mouthRollLower",),
    "upper lip roll": ("mouthRollUpper",),
    "lower lip shrug": ("mouthShrugLower",),
    "upper lip shrug": ("mouthShrugUpper",),
    "frown": ("mouthFrownLeft", "mouthFrownRight"),
    "dimple": ("mouthDimpleLeft", "mouthDimpleRight"),
    "press": ("mouthPressLeft", "mouthPressRight"),
    "lips together": ("mouthClose",),
}
LEAST_MOTION = 0.01  # standard deviation of a captured shape in speech below which it is dead


def _same_length(left: np.ndarray, right: np.ndarray) -> None:
    if len(left) != len(right):
        raise ValueError(
            f"found {len(left)} and {len(right)} frames, expected equal numbers: "
            "resample one to the other's rate and cut both to the shorter"
        )


def correlate(left: np.ndarray, right: np.ndarray, where: np.ndarray | None = None) -> float:
    """Pearson correlation of two curves over the frames `where` (default all); 0 if flat."""
    _same_length(left, right)
    if where is not None:
        left, right = left[where], right[where]
    # In double precision, or the rounding of a constant curve would correlate with something.
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    left, right = left - left.mean(), right - right.mean()
    scale = float(np.sqrt((left**2).sum() * (right**2).sum()))
    return float((left * right).sum() / scale) if scale > 1e-12 else 0.0


def bound_correlation(
    left: np.ndarray,
    right: np.ndarray,
    block: int,
    where: np.ndarray | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Return the 95 % interval of `correlate`, or None for fewer than four blocks of frames.

    How far the figure would move had the speaker said as much again: the quantiles over `draws`
    recordings that are put together from random stretches of `block` frames of this one (the
    moving-block bootstrap, Künsch 1989), since neighboring frames tell the same. Curves and
    `where` (bool, default all) are `[frames]`.

    Raises:
        ValueError: the curves are of unequal length.
    """
    _same_length(left, right)
    if where is not None:
        left, right = left[where], right[where]
    count = len(left) // block
    if count < 4:
        return None
    x, y = (np.asarray(curve, np.float64) - np.mean(curve) for curve in (left, right))
    terms = np.stack([x, y, x * x, y * y, x * y])
    sums = np.concatenate([np.zeros((5, 1)), np.cumsum(terms, axis=1)], axis=1)
    stretches = sums[:, block:] - sums[:, :-block]
    rng = np.random.default_rng(seed)
    drawn = stretches[:, rng.integers(stretches.shape[1], size=(draws, count))].sum(axis=2)
    mean_x, mean_y, xx, yy, xy = drawn / (count * block)
    scale = np.sqrt(np.maximum((xx - mean_x**2) * (yy - mean_y**2), 0.0))
    flat = scale < 1e-12
    r = np.where(flat, 0.0, (xy - mean_x * mean_y) / np.where(flat, 1.0, scale))
    low, high = np.quantile(r, [0.025, 0.975])
    return float(low), float(high)


def measure_loudness(samples: np.ndarray, rate_hz: int, times_s: np.ndarray) -> np.ndarray:
    """Root mean square in a 50 ms window around each time: the baseline every model must beat."""
    power = np.concatenate([[0.0], np.cumsum(np.asarray(samples, np.float64) ** 2)])
    half = 0.025 * rate_hz
    start = np.clip(np.round(times_s * rate_hz - half).astype(int), 0, len(samples))
    end = np.clip(np.round(times_s * rate_hz + half).astype(int), 0, len(samples))
    return np.sqrt((power[end] - power[start]) / np.maximum(end - start, 1))


def find_speech(loudness: np.ndarray, below_peak_db: float = 35.0) -> np.ndarray:
    """Frames `[frames]` bool within `below_peak_db` of the 99th percentile of the loudness.

    A single quiet frame between speech frames (a stop's closure) counts as speech: gaps up to
    six frames are filled.
    """
    level_db = 20.0 * np.log10(np.maximum(loudness, 1e-9))
    speech = level_db > np.percentile(level_db, 99.0) - below_peak_db
    edges = np.flatnonzero(np.diff(np.concatenate([[True], speech, [True]]).astype(int)))
    for start, end in zip(edges[0::2], edges[1::2], strict=False):
        if end - start <= 6:
            speech[start:end] = True
    return speech


def find_speech_frames(audio: np.ndarray, rate_hz: int, times_s: np.ndarray) -> np.ndarray:
    """Speech frames `[frames]` bool of a sound `[samples]` at the frames' times `[frames]`, s.

    `find_speech` of the sound's own loudness: what a figure "over speech frames" is taken over.
    """
    return find_speech(measure_loudness(audio, rate_hz, times_s))


def jaw_opening(weights: np.ndarray) -> np.ndarray:
    """The curve compared as jaw opening: `jawOpen` `[frames]`."""
    return weights[:, ARKIT_INDEX["jawOpen"]]


def lip_rounding(weights: np.ndarray) -> np.ndarray:
    """The curve compared as lip rounding: `mouthFunnel` + `mouthPucker` `[frames]`."""
    return weights[:, ARKIT_INDEX["mouthFunnel"]] + weights[:, ARKIT_INDEX["mouthPucker"]]


def sum_shape(weights: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The curve `[frames]` of a mouth shape: the sum of these blendshapes of `[frames, 52]`."""
    return np.asarray(weights[:, [ARKIT_INDEX[name] for name in names]].sum(axis=1))


def find_closed(gap: np.ndarray, rest: float, span: float | None = None) -> np.ndarray:
    """Frames `[frames]` bool in which the lips meet.

    `gap` is measured on a mesh with all blendshapes together. Closed means within 5 % of the
    gap's range above its rest value; the range is its 98th percentile less `rest` unless given.
    """
    if span is None:
        span = float(np.percentile(gap, 98.0)) - rest
    return gap <= rest + CLOSED_SHARE * max(span, 1e-9)


def lower_lip_drop(rig: Rig, weights: np.ndarray) -> np.ndarray:
    """How far the lower lip's inner edge hangs below its rest height, `[frames]`, metres.

    The mean over the central lip pairs. The upper teeth are fixed to the head, and with shut lips
    the lower lip covers their edge (on the default head by 0.2 mm), so this is the distance from
    the lower lip up to the upper incisors' edge, to that accuracy, on rigs without teeth, too.
    """
    _, lower = rig.central_lip_pairs
    slopes = np.zeros(len(ARKIT_NAMES))
    for name, delta in zip(rig.names, rig.deltas, strict=True):
        slopes[ARKIT_INDEX[name]] = -delta[lower, 1].mean()
    return np.asarray(weights @ slopes)


def find_contact(drop: np.ndarray, span: float | None = None) -> np.ndarray:
    """Frames `[frames]` bool in which the lower lip touches the upper teeth.

    `drop` is that of `lower_lip_drop`. Touching means within 10 % of the drop's range (its 98th
    percentile unless given): 1.9 mm on the default head, whose lower lip hangs 4 mm or more below
    the teeth in all other sounds. The lip's depth is not looked at.
    """
    if span is None:
        span = float(np.percentile(drop, 98.0))
    return drop <= CONTACT_SHARE * max(span, 1e-9)


def measure_closure_recall(
    closed: np.ndarray,
    times_s: np.ndarray,
    phones: Sequence[tuple[str, float, float]],
    tolerance_s: float = 0.04,
    label_of_interest: str = BILABIAL,
) -> tuple[int, int]:
    """Count phones of a class in whose interval, widened by `tolerance_s`, the lips meet.

    With `label_of_interest` LABIODENTAL, and frames in which the lower lip touches the teeth as
    `closed`, it counts those of /f v/. `phones` are (class, start, end) in seconds. Returns
    (met, all).
    """
    met = total = 0
    for label, start_s, end_s in phones:
        if label != label_of_interest:
            continue
        inside = (times_s >= start_s - tolerance_s) & (times_s <= end_s + tolerance_s)
        if inside.any():
            total += 1
            met += bool(closed[inside].any())
    return met, total


def measure_false_closures(
    closed: np.ndarray, times_s: np.ndarray, phones: Sequence[tuple[str, float, float]]
) -> tuple[int, int]:
    """Count open vowels (AA, AE, AO) whose center frame is closed. Returns (closed, all)."""
    wrong = total = 0
    for label, start_s, end_s in phones:
        if label in OPEN_VOWELS and len(times_s):
            center = int(np.argmin(np.abs(times_s - (start_s + end_s) / 2)))
            total += 1
            wrong += bool(closed[center])
    return wrong, total


def estimate_offset_ms(predicted: np.ndarray, reference: np.ndarray, rate_hz: float) -> float:
    """Delay of `predicted` against `reference` (positive: late), by cross-correlation, in ms."""
    return find_peak_ms(correlate_lags(predicted, reference, rate_hz), rate_hz)


def correlate_lags(
    predicted: np.ndarray, reference: np.ndarray, rate_hz: float, reach_ms: float = 300.0
) -> np.ndarray:
    """Pearson's r of two curves at each lag, `[lags]`, from `reach_ms` early to as much late.

    Raises:
        ValueError: the curves are of unequal length, or too short.
    """
    _same_length(predicted, reference)
    reach = int(reach_ms * rate_hz / 1000.0)
    if len(predicted) <= 2 * reach + 2:
        raise ValueError(f"found {len(predicted)} frames, expected over {2 * reach + 2}")
    scores = []
    for lag in range(-reach, reach + 1):
        late = predicted[max(lag, 0) : len(predicted) + min(lag, 0)]
        early = reference[max(-lag, 0) : len(reference) + min(-lag, 0)]
        scores.append(correlate(late, early))
    return np.array(scores)


def find_peak_ms(scores: np.ndarray, rate_hz: float) -> float:
    """The lag in ms at which the correlations of `correlate_lags` are highest; positive is late.

    The peak is refined by a parabola through its neighbors, so the result is finer than a frame.
    """
    best = int(np.argmax(scores))
    shift = 0.0
    if 0 < best < len(scores) - 1:
        left, middle, right = scores[best - 1 : best + 2]
        bend = left - 2 * middle + right
        shift = 0.5 * (left - right) / bend if abs(bend) > 1e-12 else 0.0
    return float((best - len(scores) // 2 + shift) * 1000.0 / rate_hz)


def measure_jitter(curve: np.ndarray, rate_hz: float) -> float:
    """Root mean square of the third time derivative, per second cubed."""
    return float(np.sqrt(np.mean(np.diff(curve, n=3) ** 2))) * rate_hz**3


def pose_vertices(rig: Rig, weights: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Positions `[frames, n, 3]` in metres of some of the rig's vertices (indices `[n]`)."""
    basis = np.zeros((len(ARKIT_NAMES), 3 * len(vertices)))
    for name, delta in zip(rig.names, rig.deltas, strict=True):
        basis[ARKIT_INDEX[name]] = delta[vertices].ravel()
    return (weights @ basis).reshape(len(weights), -1, 3) + rig.neutral[vertices]


def measure_lip_error(predicted: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Lip vertex error (LVE) of lip vertices `[frames, lips, 3]`, metres.

    `lve_squared_mm2`: mean over frames of the maximum *squared* distance (the convention of
    CodeTalker's and FaceFormer's code, and of torchmetrics' `lip_vertex_error`); `lve_root_mm`:
    its root; `lve_mm`: mean over frames of the maximum distance.
    """
    _same_length(predicted, reference)
    squared = ((predicted - reference) ** 2).sum(-1).max(-1) * 1e6
    return {
        "lve_squared_mm2": float(squared.mean()),
        "lve_root_mm": float(np.sqrt(squared.mean())),
        "lve_mm": float(np.sqrt(squared).mean()),
    }


def measure_dynamics_deviation(
    predicted: np.ndarray, reference: np.ndarray, neutral: np.ndarray
) -> dict[str, float]:
    """Upper-face dynamics deviation (FDD) of `[frames, vertices, 3]` against `neutral`, metres.

    Per vertex the standard deviation over time of its squared displacement from neutral
    (CodeTalker, Xing et al. 2023, eq. 8); `fdd_signed` averages the signed differences as that
    code does, `fdd_absolute` the absolute ones.
    """
    _same_length(predicted, reference)
    moved = ((predicted - neutral) ** 2).sum(-1).std(0)
    truth = ((reference - neutral) ** 2).sum(-1).std(0)
    return {
        "fdd_signed": float((truth - moved).mean()),
        "fdd_absolute": float(np.abs(truth - moved).mean()),
    }


def measure_speed(curve: np.ndarray, rate_hz: float, percentile: float = 90.0) -> float:
    """The given percentile of the curve's absolute speed, per second."""
    if len(curve) < 2:
        return 0.0
    return float(np.percentile(np.abs(np.diff(curve)), percentile)) * rate_hz
