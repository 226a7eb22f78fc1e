"""Over-smoothing in figures: how much of captured lips' dynamics a predicted motion keeps.

A prediction that follows its target may still be too still: the mean of what sound leaves open
moves less than any single talker. Each figure here is of one set of clips, of one talker or many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dualtalker.evaluation import Recording, find_recorded_speech, metrics

if TYPE_CHECKING:
    from dualtalker.rig import Rig

# Of lip speed, Hz: the phrase, syllables, phones, and what is faster.
BANDS_HZ = ((0.5, 2.0), (2.0, 4.0), (4.0, 6.0), (6.0, 8.0), (8.0, 12.0))
SPECTRUM_S = 1.28  # of a spectrum; sentences of 3 s hold a few


def measure_dynamics(
    recordings: Sequence[Recording], motions: Sequence[np.ndarray], rig: Rig
) -> dict[str, float]:
    """Return how lively motions `[frames, 52]` are beside the captured ones, in speech.

    `NAME explained`: share of the captured variance of a curve that the motion tells, 1 - the
    squared error over the variance about the talker's mean; below 0 it is worse than a face that
    holds this mean. `NAME kept`: variance relative to the captured one, each about its own mean.
    `lip speed A-B Hz`: power of the lip gap's speed in a band relative to the captured one's
    (Welch). `lip FDD signed`, `lip FDD absolute`: `metrics.measure_dynamics_deviation` of the lip
    vertices, relative to the captured mean, signed: above 0 the capture moves more.

    Raises:
        ValueError: a recording has no captured reference.
    """
    talkers: dict[str, list[int]] = {}
    for index, recording in enumerate(recordings):
        if recording.reference is None:
            raise ValueError(f"{recording.name} has no captured reference, expected one")
        talkers.setdefault(recording.talker, []).append(index)
    figures = _compare_variances(recordings, motions, list(talkers.values()), rig)
    figures |= _compare_spectra(recordings, motions, rig)
    return figures | _compare_vertices(recordings, motions, rig)


def _list_curves(recording: Recording, motion: np.ndarray, rig: Rig) -> dict[str, np.ndarray]:
    """The lip gap and each shape of the mouth that was captured, `[frames]` by name."""
    shapes = {
        name: metrics.sum_shape(motion, channels)
        for name, channels in metrics.MOUTH_SHAPES.items()
        if recording.knows(channels)
    }
    return {"lip gap": rig.lip_gap(motion), **shapes}


def _compare_variances(
    recordings: Sequence[Recording],
    motions: Sequence[np.ndarray],
    talkers: Sequence[Sequence[int]],
    rig: Rig,
) -> dict[str, float]:
    sums: dict[str, np.ndarray] = {}
    for own in talkers:
        pairs: dict[str, list[np.ndarray]] = {}
        for index in own:
            recording, motion = recordings[index], motions[index]
            speech = find_recorded_speech(recording)
            assert recording.reference is not None
            truth = _list_curves(recording, recording.reference, rig)
            for name, shown in _list_curves(recording, motion, rig).items():
                pair = np.stack([shown, truth[name]]).astype(np.float64)[:, speech]
                pairs.setdefault(name, []).append(pair)
        for name, parts in pairs.items():
            shown, wanted = np.concatenate(parts, axis=1)
            least = 1e-6 if name == "lip gap" else metrics.LEAST_MOTION
            if wanted.size and wanted.std() >= least:
                error = ((shown - wanted) ** 2).sum()
                spreads = [((c - c.mean()) ** 2).sum() for c in (shown, wanted)]
                sums[name] = sums.get(name, np.zeros(3)) + np.array([error, *spreads])
    figures = {}
    for name, (error, moved, whole) in sums.items():
        figures[f"{name} explained"] = float(1.0 - error / whole)
        figures[f"{name} kept"] = float(moved / whole)
    return figures


def measure_spectrum(
    recordings: Sequence[Recording], motions: Sequence[np.ndarray], rig: Rig
) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies in Hz and the power of the lip gap's speed, `[bins]` each, (m/s)²/Hz.

    The mean over recordings that are longer than a window and have one frame rate.
    """
    from scipy.signal import welch

    rate_hz = recordings[0].fps
    window = round(SPECTRUM_S * rate_hz)
    powers = []
    for motion in motions:
        speed = np.diff(rig.lip_gap(motion)) * rate_hz
        if len(speed) >= window:
            frequencies, power = welch(speed, rate_hz, nperseg=window)
            powers.append(power)
    return frequencies, np.mean(powers, axis=0)


def _compare_spectra(
    recordings: Sequence[Recording], motions: Sequence[np.ndarray], rig: Rig
) -> dict[str, float]:
    references = [r.reference for r in recordings if r.reference is not None]
    if max(r.frames / r.fps for r in recordings) <= SPECTRUM_S + 0.1:
        return {}
    frequencies, shown = measure_spectrum(recordings, motions, rig)
    _, wanted = measure_spectrum(recordings, references, rig)
    figures = {}
    for low, high in BANDS_HZ:
        inside = (frequencies >= low) & (frequencies < high)
        share = shown[inside].sum() / max(wanted[inside].sum(), 1e-30)
        figures[f"lip speed {low:g}-{high:g} Hz"] = float(share)
    return figures


def _compare_vertices(
    recordings: Sequence[Recording], motions: Sequence[np.ndarray], rig: Rig
) -> dict[str, float]:
    lips = rig.lip_vertices
    neutral = rig.neutral[lips]
    rows = []
    for recording, motion in zip(recordings, motions, strict=True):
        assert recording.reference is not None
        truth = metrics.pose_vertices(rig, recording.reference, lips)
        shown = metrics.pose_vertices(rig, motion, lips)
        found = metrics.measure_dynamics_deviation(shown, truth, neutral)
        whole = float(((truth - neutral) ** 2).sum(-1).std(0).mean())
        rows.append((found["fdd_signed"], found["fdd_absolute"], whole))
    signed, absolute, whole = np.sum(rows, axis=0)
    return {
        "lip FDD signed": float(signed / whole),
        "lip FDD absolute": float(absolute / whole),
    }
