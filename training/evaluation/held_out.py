"""What of a corpus is measured: the held-out clips, and what is known of the training split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import Recording
from training.data import (
    MOTION_RATE_HZ,
    SAMPLE_RATE_HZ,
    Clip,
    iterate_clips,
    read_index,
    read_rows,
)


@dataclass
class Training:
    """What is known of the training split of the corpora, without its sound."""

    speakers: set[str] = field(default_factory=set)
    paired_s: dict[str, float] = field(default_factory=dict)
    """Seconds with motion, by style."""


def read_training(folders: tuple[Path, ...]) -> Training:
    """Read speakers and durations of the training split from the shards' descriptions."""
    training = Training()
    for folder in folders:
        for shard in read_index(folder)["shards"]:
            for row in read_rows(folder / shard["file"]):
                if row["split"] == "train":
                    training.speakers.add(row["speaker"])
                    if row["paired"]:
                        total_s = training.paired_s.get(row["style"], 0.0)
                        training.paired_s[row["style"]] = total_s + row["duration_s"]
    return training


def draw_training_clips(
    folders: tuple[Path, ...], training: Training, seconds: float
) -> Iterator[Clip]:
    """Yield about `seconds` of paired training clips of each style, drawn evenly."""
    rng = np.random.default_rng(0)
    for folder in folders:
        for clip in iterate_clips(folder, "train"):
            if clip.motion is not None:
                share = seconds / max(training.paired_s[clip.style], 1e-9)
                if rng.random() < share:
                    yield clip


def read_held_out(folders: Sequence[Path]) -> list[Clip]:
    """Return the validation clips with motion, captured ones first: trials take their style.

    Raises:
        DualtalkerError: there is none.
    """
    clips = [c for folder in folders for c in iterate_clips(folder, "validation")]
    clips = [c for c in clips if c.motion is not None]
    if not clips:
        raise DualtalkerError(
            f"found no validation clip with motion in {[str(f) for f in folders]}; "
            "make some with `python -m training.corpus --holdout NAME`"
        )
    return sorted(clips, key=lambda clip: not clip.style.startswith("captured"))


def to_recording(clip: Clip, training: Training) -> Recording:
    """Describe a clip for the report."""
    phones = None
    if clip.phones is not None:
        phones = tuple((p.label, p.start_s, p.end_s) for p in clip.phones)
    captured = clip.style.startswith("captured")
    synthetic = clip.source.startswith("synthetic")
    return Recording(
        name=clip.name,
        audio=clip.audio,
        sample_rate_hz=SAMPLE_RATE_HZ,
        fps=float(MOTION_RATE_HZ),
        frames=clip.frames,
        reference=clip.motion,
        captured=captured,
        phones=phones,
        group="captured" if captured else "synthetic" if synthetic else "",
        unseen=clip.speaker not in training.speakers,
        source=clip.source.removeprefix("captured:"),
        talker=clip.speaker,
        evidence=clip.motion_mask,
    )
