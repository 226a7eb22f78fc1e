"""Finds the moments in which a model is worst, by the conventions of `dualtalker.evaluation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dualtalker.evaluation import (
    Recording,
    find_recorded_speech,
    measure_rest_gap,
    measure_speeds,
    metrics,
)
from dualtalker.rig import Rig
from dualtalker.speech import BILABIAL, LABIODENTAL
from training.evaluation import SETTLE_S, Animate

NOISE_SNR_DB = 5.0
NOISE_S = 4.0
APART_S = 1.0  # between two failures of one kind in one recording
TOLERANCE_S = 0.04  # as `metrics.measure_closure_recall` widens a phone
MODEL, CAPTURE, RULE = "model", "capture", "rule"
SOUNDS = {BILABIAL: "/p b m/", LABIODENTAL: "/f v/"}


@dataclass(frozen=True)
class Failure:
    """One moment, what to draw of it, and a line about it."""

    key: str
    """Its picture's name."""
    text: str
    recording: Recording
    frame: int
    tracks: Mapping[str, np.ndarray]
    """Weights [frames, 52] by name: what the model is held against, the model."""
    label: str
    curves: Mapping[str, np.ndarray]
    """Values [frames] by name, in mm."""
    limit_mm: float | None = None


def truth_name(recording: Recording) -> str:
    """What the recording's reference is: captured from a face, or made by rule."""
    return CAPTURE if recording.captured else RULE


def find_gap_errors(
    recordings: Sequence[Recording], motions: Sequence[np.ndarray], rig: Rig, count: int = 2
) -> list[Failure]:
    """The largest differences of the lip gap from captured motion, in speech."""
    found = []
    for recording, motion in zip(recordings, motions, strict=True):
        if not recording.captured or recording.reference is None:
            continue
        gap, truth = rig.lip_gap(motion) * 1e3, rig.lip_gap(recording.reference) * 1e3
        error = np.where(find_recorded_speech(recording), np.abs(gap - truth), 0.0)
        for _ in range(count):
            frame = int(error.argmax())
            found.append((float(error[frame]), recording, frame, motion, gap, truth))
            reach = int(APART_S * recording.fps)
            error[max(0, frame - reach) : frame + reach + 1] = 0.0
    found.sort(key=lambda item: -item[0])
    failures = []
    for number, (size, recording, frame, motion, gap, truth) in enumerate(found[:count], 1):
        assert recording.reference is not None
        wrong = "too open" if gap[frame] > truth[frame] else "too closed"
        text = (
            f"lip gap {gap[frame]:.1f} mm where the capture has {truth[frame]:.1f} mm: "
            f"{wrong} by {size:.1f} mm, the {'' if number == 1 else 'second '}largest error"
        )
        failures.append(
            Failure(
                f"failure_gap_{number}",
                text,
                recording,
                frame,
                {CAPTURE: recording.reference, MODEL: motion},
                "lip gap (mm)",
                {CAPTURE: truth, MODEL: gap},
            )
        )
    return failures


def find_misses(
    sound: str,
    recordings: Sequence[Recording],
    motions: Sequence[np.ndarray],
    rig: Rig,
    count: int = 2,
) -> tuple[list[Failure], int, int]:
    """Missed /p b m/ or /f v/ of recorded speakers: the worst, how many in all, and of how many.

    `sound` is `BILABIAL` or `LABIODENTAL`. The limit comes from all recordings,
    synthetic ones too, as in the evaluation.
    """
    closing = sound == BILABIAL
    key, label = ("pbm", "lip gap (mm)") if closing else ("fv", "lower lip\nbelow teeth (mm)")

    def measure(weights: np.ndarray) -> np.ndarray:
        curve = rig.lip_gap(weights) if closing else metrics.lower_lip_drop(rig, weights)
        return np.asarray(curve) * 1e3

    curves = [measure(motion) for motion in motions]
    high = float(np.percentile(np.concatenate(curves), 98.0))
    rest = 1e3 * measure_rest_gap(rig) if closing else 0.0
    share = metrics.CLOSED_SHARE if closing else metrics.CONTACT_SHARE
    limit = rest + share * max(high - rest, 1e-6)
    total, missed = 0, []
    for recording, motion, curve in zip(recordings, motions, curves, strict=True):
        if recording.group or not recording.phones:
            continue
        for phone in recording.phones:
            times_s = recording.times_s
            inside = np.flatnonzero(
                (times_s >= phone[1] - TOLERANCE_S) & (times_s <= phone[2] + TOLERANCE_S)
            )
            if phone[0] == sound and len(inside):
                total += 1
                frame = int(inside[curve[inside].argmin()])
                if curve[frame] > limit:
                    missed.append((float(curve[frame]), recording, frame, motion, curve, phone))
    missed.sort(key=lambda item: -item[0])
    failures = []
    for number, (size, recording, frame, motion, curve, phone) in enumerate(missed[:count], 1):
        what = "the lips come no closer than" if closing else "the lower lip hangs no less than"
        text = (
            f"{SOUNDS[sound]} at {phone[1]:.2f} to {phone[2]:.2f} s: {what} {size:.1f} mm"
            f"{'' if closing else ' below the teeth'}, {limit:.1f} mm would count"
        )
        tracks, drawn = {MODEL: motion}, {MODEL: curve}
        if recording.reference is not None:
            name = truth_name(recording)
            tracks = {name: recording.reference, **tracks}
            drawn = {name: measure(recording.reference), **drawn}
        failures.append(
            Failure(f"failure_{key}_{number}", text, recording, frame, tracks, label, drawn, limit)
        )
    return failures, len(missed), total


def find_noise_motion(
    animate: Animate,
    recordings: Sequence[Recording],
    motions: Sequence[np.ndarray],
    rig: Rig,
    style: str,
) -> tuple[Failure, dict[str, float]]:
    """The widest mouth in noise without speech, 5 dB below the speech of the recordings.

    Also the motion in each noise relative to that in speech, as the evaluation measures it.
    """
    from training.evaluation import NOISES, make_noise_at, measure_speech_level

    speed, _ = measure_speeds(recordings, [rig.lip_gap(motion) for motion in motions])
    levels = [measure_speech_level(r.audio, find_recorded_speech(r)) for r in recordings]
    level = float(np.median(levels)) * 10.0 ** (-NOISE_SNR_DB / 20.0)
    worst: tuple[float, Recording, np.ndarray, np.ndarray] | None = None
    shares = {}
    for seed, kind in enumerate(NOISES):
        rate_hz, fps = recordings[0].sample_rate_hz, recordings[0].fps
        audio = make_noise_at(kind, int(NOISE_S * rate_hz), level, seed)
        frames = int(NOISE_S * fps)
        motion = animate(audio, frames, style)
        gap = rig.lip_gap(motion) * 1e3
        settled = gap[int(SETTLE_S * fps) :]
        shares[kind] = metrics.measure_speed(settled / 1e3, fps) / max(speed, 1e-9)
        if worst is None or settled.max() > worst[0]:
            noise = Recording(f"{kind} noise alone", audio, rate_hz, fps, frames)
            worst = (float(settled.max()), noise, motion, gap)
    assert worst is not None
    size, noise, motion, gap = worst
    frame = int(SETTLE_S * noise.fps) + int(gap[int(SETTLE_S * noise.fps) :].argmax())
    text = f"lips part by {size:.1f} mm though nobody speaks"
    tracks = {"wanted": np.zeros_like(motion), MODEL: motion}
    curves = {"wanted": np.full(len(gap), 1e3 * measure_rest_gap(rig)), MODEL: gap}
    return Failure("failure_noise", text, noise, frame, tracks, "lip gap (mm)", curves), shares


def find_noisy_speech_error(
    recording: Recording, clean: np.ndarray, noisy: np.ndarray, rig: Rig
) -> Failure:
    """The largest change of the lip gap that noise makes to the motion [frames, 52] of speech."""
    quiet, gap = rig.lip_gap(clean) * 1e3, rig.lip_gap(noisy) * 1e3
    frame = int(np.abs(gap - quiet).argmax())
    text = (
        f"lip gap {gap[frame]:.1f} mm with the noise, {quiet[frame]:.1f} mm without: "
        "its largest change"
    )
    tracks = {"clean": clean, "noisy": noisy}
    curves = {"clean": quiet, "noisy": gap}
    return Failure("failure_noisy_speech", text, recording, frame, tracks, "lip gap (mm)", curves)
