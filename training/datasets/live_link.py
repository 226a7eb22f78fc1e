"""Pairs ARKit recordings with their sound, puts the two in step, and makes clips of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.errors import DualtalkerError, MotionError
from dualtalker.evaluation import Counting, MotionTable, read_motion_table
from training.data import (
    AUDIO_SUFFIXES,
    CHANNELS,
    MOTION_RATE_HZ,
    MOVING_RANGE,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    Clip,
    check_clip,
    frame_count,
    is_held_out,
    read_sound,
    sample_motion,
)
from training.datasets.sources import Inspection, describe_mismatch, describe_stray
from training.datasets.synchrony import Offset, measure_offset
from training.datasets.videos import VIDEO_SUFFIXES

# Live Link Face puts these beside each take; they hold no motion.
_NOT_MOTION = ("frame_log.csv",)
_TAKE_FILES = ("take.json", "frame_log.csv")
_CALIBRATED = "_cal"
# Speech moves the lips a little before it sounds, and the estimate is not finer than that.
SMALLEST_OFFSET_MS = 40.0
_LONG_GAP_S = 0.25


@dataclass(frozen=True)
class CaptureOptions:
    """What the user decides about a folder of recordings."""

    speaker: str | None = None
    """Whose face it is; by default the first folder below DIR, or DIR itself."""
    offset_ms: float | None = None
    """How late the sound is against the picture; by default estimated for each take."""
    timecode_rate_hz: float | None = None
    """Frames in a second of the timecode, 23.976, 29.97 or 59.94 for NTSC; by default the usual
    whole rate that fits, and drop-frame by its numbers."""
    holdout: tuple[str, ...] = ()
    """Clip names to mark as validation; * and ? as in a shell."""


@dataclass(frozen=True)
class Take:
    """One recording: a CSV of weights and the file with its sound."""

    name: str
    motion: Path
    sound: Path
    speaker: str


@dataclass(frozen=True)
class Timing:
    """How regular a recording's frames are.

    rate_hz: of most frames. dropped: frames that are missing between others. longest_gap_s:
    between two frames.
    """

    rate_hz: float
    dropped: int
    longest_gap_s: float


@dataclass(frozen=True)
class AlignedTake:
    """A take read and put in step. applied_ms: by how much its motion was moved."""

    clip: Clip
    timing: Timing
    counting: Counting | None
    offset: Offset
    applied_ms: float

    def describe(self) -> str:
        """Return one line: length, frames, offset, and what was done about it."""
        offset = self.offset
        found = (
            f"sound {offset.offset_ms:+.0f} ms (r {offset.correlation:.2f}, "
            f"confidence {offset.confidence:.1f}{'' if offset.confident else ': not believed'})"
        )
        counted = f", {self.counting.describe()}" if self.counting else ""
        done = f"moved {self.applied_ms:+.0f} ms" if self.applied_ms else "not moved"
        return (
            f"{self.clip.name}: {self.clip.duration_s:.1f} s, {self.timing.rate_hz:.1f} frames a "
            f"second, {self.timing.dropped} dropped, longest gap "
            f"{self.timing.longest_gap_s * 1000:.0f} ms{counted}; {found}, {done}"
        )


def find_takes(report: Inspection, speaker: str | None) -> list[Take]:
    """Return the pairs of CSV and sound below a folder; tell what has no partner."""
    folder = report.folder
    found: dict[Path, Path] = {}
    for motion in sorted(folder.rglob("*.csv")):
        if motion.name.lower() in _NOT_MOTION or motion.name.startswith("."):
            continue
        sound = find_sound(motion)
        if sound is None:
            report.error(
                motion,
                "has no sound beside it",
                f"put {motion.stem}.wav, or the take's .mov, into the same folder",
            )
        elif sound not in found:
            found[sound] = motion
        else:
            kept, other = _prefer(found[sound], motion)
            found[sound] = kept
            report.note(other, f"belongs to {sound.name} too; {kept.name} is used")
    if not found and not report.errors:
        report.error(folder, "no *.csv", "expected NAME.csv with NAME.wav or NAME.mov")
    stems = [_plain(sound.stem) for sound in found]
    takes = []
    for sound, motion in found.items():
        place = sound.parent.relative_to(folder).parts
        name = _plain(sound.stem)
        if stems.count(name) > 1:
            name = "_".join([*map(_plain, place), name])
        if any((sound.parent / beside).is_file() for beside in _TAKE_FILES):
            place = place[:-1]  # Live Link Face gives each take a folder: that is no speaker
        takes.append(Take(name, motion, sound, speaker or (*place, folder.resolve().name)[0]))
    return takes


def find_sound(motion: Path) -> Path | None:
    """Return the sound of a CSV: of its name, of the longest name it begins with, or the only one.

    Sound files go before videos of the same name.
    """
    suffixes = (*AUDIO_SUFFIXES, *VIDEO_SUFFIXES)
    sounds = [p for p in sorted(motion.parent.iterdir()) if p.suffix.lower() in suffixes]
    sounds.sort(key=lambda p: suffixes.index(p.suffix.lower()))
    fitting = [
        p for p in sounds if motion.stem == p.stem or motion.stem.startswith((f"{p.stem}_",))
    ]
    if fitting:
        longest = max(len(p.stem) for p in fitting)
        return next(p for p in fitting if len(p.stem) == longest)
    tables = [p for p in motion.parent.glob("*.csv") if p.name.lower() not in _NOT_MOTION]
    return sounds[0] if len(sounds) == 1 and len(tables) == 1 else None


def find_moving(takes: Sequence[Take], options: CaptureOptions, report: Inspection) -> dict:
    """Return per speaker the channels [52] that move in any take: only those are evidence."""
    moving: dict[str, np.ndarray] = {}
    for take in takes:
        try:
            weights = read_motion_table(take.motion, options.timecode_rate_hz).weights
        except MotionError as error:
            stray = describe_stray(take.motion)
            report.error(take.motion, stray or str(error))
            continue
        moves = np.ptp(weights, axis=0) > MOVING_RANGE
        moving[take.speaker] = moving.get(take.speaker, np.zeros(CHANNELS, bool)) | moves
    return moving


def read_take(
    take: Take, mask: np.ndarray, options: CaptureOptions, report: Inspection
) -> AlignedTake | None:
    """Read a take and put it in step; None, with the reason in the report, where it cannot be."""
    try:
        table = read_motion_table(take.motion, options.timecode_rate_hz)
    except MotionError:
        return None  # told by find_moving
    times_s, weights = table.times_s, table.weights
    try:
        audio = read_sound(take.sound)
        _judge_rate(report, take, table, len(audio) / SAMPLE_RATE_HZ)
        offset = estimate_offset(audio, times_s, weights)
        applied_ms = _choose_shift(offset, options.offset_ms)
        fitted = _align(report, take, audio, times_s + applied_ms / 1000.0, weights)
    except DualtalkerError as error:
        stray = describe_stray(take.sound)
        report.error(take.sound, stray or str(error))
        return None
    if fitted is None:
        return None
    audio, motion = fitted
    motion[:, ~mask] = 0.0
    clip = Clip(
        name=take.name,
        audio=audio,
        motion=motion,
        motion_mask=mask.copy(),
        style=f"captured:{take.speaker}",
        speaker=take.speaker,
        source=f"captured:{take.speaker}",
        split="validation" if is_held_out(take.name, options.holdout) else "train",
    )
    check_clip(clip)
    aligned = AlignedTake(clip, describe_timing(times_s), table.counting, offset, applied_ms)
    _tell(report, take, aligned, int(mask.sum()))
    return aligned


def _judge_rate(report: Inspection, take: Take, table: MotionTable, audio_s: float) -> None:
    """Warn where the length of the sound fits NTSC's rate, not the whole one that was assumed."""
    counting = table.counting
    if counting is None or (other_hz := counting.other_hz) is None:
        return
    motion_s = float(table.times_s[-1])
    other_s = motion_s * counting.rate_hz / other_hz
    # Recorders start and stop the two within a tenth of a second or so.
    if other_s - motion_s > 0.2 and abs(audio_s - other_s) < abs(audio_s - motion_s):
        report.warn(
            take.motion,
            f"at {counting.rate_hz:g} frames a second it lasts {motion_s:.2f} s, at {other_hz:g} "
            f"{other_s:.2f} s, its sound {audio_s:.2f} s: give --timecode-rate-hz {other_hz:g}",
        )


def _choose_shift(offset: Offset, given_ms: float | None) -> float:
    """Return by how much to move the motion: as told, else where the estimate is worth it."""
    if given_ms is not None:
        return given_ms
    worth = offset.confident and abs(offset.offset_ms) >= SMALLEST_OFFSET_MS
    return round(offset.offset_ms, 1) if worth else 0.0


def _align(
    report: Inspection, take: Take, audio: np.ndarray, times_s: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Cut sound and motion to what both cover; motion becomes float32 [frames, 52] at 50 Hz."""
    duration_s = len(audio) / SAMPLE_RATE_HZ
    mismatch = describe_mismatch(duration_s, float(times_s[-1] - times_s[0]))
    if mismatch is not None:
        impossible, told = mismatch
        if impossible:
            report.error(take.motion, f"{told} ({take.sound.name}): not a pair?")
            return None
        report.warn(take.motion, f"{told} ({take.sound.name}): cut to what both cover")
    start = round(max(0.0, float(times_s[0])) * SAMPLE_RATE_HZ)
    last_frame = int((min(float(times_s[-1]), duration_s) * SAMPLE_RATE_HZ - start) // 320)
    cut = audio[start : start + (last_frame + 1) * SAMPLES_PER_FRAME]
    if len(cut) < SAMPLE_RATE_HZ // 2:
        report.error(take.motion, f"under half a second is left of {duration_s:.2f} s")
        return None
    frame_times_s = start / SAMPLE_RATE_HZ + np.arange(frame_count(len(cut))) / MOTION_RATE_HZ
    return cut, sample_motion(times_s, weights, frame_times_s)


def _tell(report: Inspection, take: Take, aligned: AlignedTake, channels: int) -> None:
    report.facts.append(aligned.describe())
    if aligned.timing.longest_gap_s > _LONG_GAP_S:
        gap_ms = aligned.timing.longest_gap_s * 1000
        report.warn(take.motion, f"a gap of {gap_ms:.0f} ms is bridged by a straight movement")
    if not channels:
        report.error(take.motion, "nothing moves: was the face in the picture?")


def _prefer(first: Path, second: Path) -> tuple[Path, Path]:
    """Return the CSV to use and the other: the calibrated one, else the shorter name."""
    ranked = sorted((first, second), key=lambda p: (_CALIBRATED not in p.stem, len(p.stem)))
    return ranked[0], ranked[1]


def _plain(name: str) -> str:
    """Return a name that is safe as a file's and means itself in a pattern."""
    return re.sub(r"[^\w.-]", "_", name)


# ---- In step -----------------------------------------------------------------------------------


def describe_timing(times_s: np.ndarray) -> Timing:
    """Return how regular increasing times [rows] in seconds are."""
    steps_s = np.diff(times_s)
    usual_s = float(np.median(steps_s))
    missing = np.maximum(np.round(steps_s / usual_s) - 1, 0)
    return Timing(1.0 / usual_s, int(missing.sum()), float(steps_s.max()))


def estimate_offset(audio: np.ndarray, times_s: np.ndarray, weights: np.ndarray) -> Offset:
    """Return how late the sound is; the mouth's opening is jawOpen less mouthClose.

    audio [samples] at 16 kHz; times_s [rows] in seconds of the sound's clock; weights [rows, 52].
    """
    opening = weights[:, ARKIT_INDEX["jawOpen"]] - weights[:, ARKIT_INDEX["mouthClose"]]
    return measure_offset(audio, times_s, np.maximum(opening, 0.0))
