r"""A teacher that may look ahead labels recordings without motion, for a student that may not.

    python -m training.teacher --corpus corpus_real corpus_synth --out corpus_taught
    python -m training.teacher --corpus corpus_real --out corpus_taught \
        --label captured:ann 'labeled:*' captured:bob 'unpaired:*'
    python -m training.train --data.corpus corpus_synth corpus_real corpus_taught

A small non-causal network first learns from speech with known phones to name them and to move by
rule. From there on, each member of an ensemble learns the captured clips of one style, hard
against overfitting (dropout, damaged spectra), and their mean motion becomes the target of
recordings without captured motion. A streaming student learns from it what a few minutes of
capture cannot teach it alone, and may join the ensemble that teaches the next student
(`--students`). Ours, after Hinton et al., "Distilling the Knowledge in a Neural Network" (2015),
and Furlanello et al., "Born-Again Neural Networks" (2018).
"""

from __future__ import annotations

import fnmatch
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from tqdm import tqdm

from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import metrics
from dualtalker.files import claim_folder, ending_in_order, sha256_of_file, write_whole
from training.configs import to_plain
from training.data import (
    CHANNELS,
    INDEX_NAME,
    MOTION_RATE_HZ,
    Clip,
    digest_of,
    iterate_clips,
    save_clips,
)
from training.learning import find_commit, load_network, repeat_exactly
from training.network import StreamingTalker
from training.teaching import (
    Teacher,
    TeacherConfig,
    find_spoken,
    hear,
    prepare_lesson,
    train_member,
    train_phones,
)

LEAST_SCALE = 0.05


class TeacherError(DualtalkerError):
    """There is nothing to learn from or to label."""


@dataclass
class Ensemble:
    """All who teach, and the channels in which they do."""

    members: Sequence[Teacher]
    students: Sequence[StreamingTalker]
    student_share: float
    channels: np.ndarray
    """Indices of the channels that move, `[C]`."""
    scale: np.ndarray
    """How far each moves, `[C]`."""

    def move(self, audio: np.ndarray, frames: int) -> np.ndarray:
        """Return the mean motion for `audio` `[samples]`, weights in [0, 1] `[frames, 52]`."""
        share = self.student_share if self.students else 0.0
        share = share if self.members else 1.0
        motion = np.zeros((frames, CHANNELS), np.float32)
        for parts, weight in ((self._ask_members, 1.0 - share), (self._ask_students, share)):
            if weight:
                told = list(parts(audio, frames))
                motion += np.float32(weight / len(told)) * np.sum(told, axis=0)
        return motion.clip(0.0, 1.0)

    def _ask_members(self, audio: np.ndarray, frames: int) -> Iterator[np.ndarray]:
        mel = torch.from_numpy(hear(audio, frames).reshape(1, frames, -1)).transpose(1, 2)
        for member in self.members:
            motion = np.zeros((frames, CHANNELS), np.float32)
            with torch.no_grad():
                motion[:, self.channels] = member(mel)[0].T.numpy() * self.scale
            yield motion

    def _ask_students(self, audio: np.ndarray, frames: int) -> Iterator[np.ndarray]:
        for student in self.students:
            with torch.no_grad():
                whole = student.run(torch.from_numpy(audio).unsqueeze(0))[:frames].numpy()
            motion = np.zeros((frames, CHANNELS), np.float32)
            motion[:, self.channels] = whole[:, self.channels]
            yield motion


def load_student(path: Path, style: str) -> StreamingTalker:
    """Return a checkpoint's network as it is shown in `style`.

    Raises:
        TeacherError: it was never trained on the style, or moves at another rate.
        ValueError: it does not stream.
        CheckpointError: the checkpoint is missing, broken, or of another network.
    """
    network, _ = load_network(path)
    if style not in network.animation.styles:
        raise TeacherError(
            f"{path} knows the styles {network.animation.styles}, expected {style} among them: "
            "train it on the captured clips"
        )
    if network.config.model_rate_hz != MOTION_RATE_HZ:
        raise TeacherError(
            f"{path} moves at {network.config.model_rate_hz:g} Hz, expected {MOTION_RATE_HZ}"
        )
    return StreamingTalker(network, {style: 1.0}, smooth=True).eval()


def choose_styles(clips: Sequence[Clip], wanted: dict[str, str]) -> dict[str, str]:
    """Return the captured styles to learn, each with the sources that it labels.

    Raises:
        TeacherError: there is none, or not a wanted one.
    """
    seconds: dict[str, float] = {}
    for clip in clips:
        if clip.motion is not None and clip.style.startswith("captured"):
            seconds[clip.style] = seconds.get(clip.style, 0.0) + clip.duration_s
    if not seconds or not set(wanted) <= set(seconds):
        raise TeacherError(
            f"found the captured styles {sorted(seconds)}, expected "
            f"{', '.join(wanted) or 'at least one'}: make them with `python -m training.corpus`, "
            "--arkit or --lips"
        )
    return wanted or {max(seconds, key=lambda style: seconds[style]): "unpaired:*"}


def teach(config: TeacherConfig) -> dict[str, dict[str, float]]:
    """Train the ensembles, write the labeled clips to `config.out`, and return the figures.

    They are the correlations with the held-out captured clips in speech, of each who teaches and
    of all of a style together; empty where none is held out.

    Raises:
        TeacherError: nothing to learn from, nothing to label, or `out` holds clips already.
        CheckpointError: a student cannot be read.
    """
    if not config.members and not config.students:
        raise TeacherError("found no members and no students, expected some who teach")
    if not 0.0 <= config.student_share <= 1.0:
        raise TeacherError(f"found student_share {config.student_share}, expected 0 to 1")
    if not 0.0 < config.tempo[0] <= config.tempo[1] <= 4.0:
        raise TeacherError(f"found tempo {config.tempo}, expected a range within 0 to 4")
    if (config.out / INDEX_NAME).exists():
        raise TeacherError(f"{config.out} already holds clips: give another --out or delete it")
    claim_folder(config.out)
    repeat_exactly(config.threads, config.seed)
    clips = [clip for folder in config.corpus for clip in iterate_clips(folder)]
    training = [c for c in clips if c.split == "train"]
    styles = choose_styles(training, config.label)
    students = {s: [load_student(path, s) for path in config.students] for s in styles}
    wanted = {s: _find_wanted(training, s, sources) for s, sources in styles.items()}
    ensembles = train_ensembles(training, students, config)
    labeled = (
        _label_clip(ensembles[style], clip, style)
        for style, found in wanted.items()
        for clip in tqdm(found, unit="clip", desc=f"labels of {style}")
    )
    save_clips(config.out, labeled)
    figures: dict[str, dict[str, float]] = {}
    for style, ensemble in ensembles.items():
        held = _find_held(clips, style)
        figures |= {f"{style}, {name}": measure(e, held) for name, e in _list_teachers(ensemble)}
    _write_manifest(config, styles, figures)
    return {name: row for name, row in figures.items() if row}


def _find_wanted(clips: Sequence[Clip], style: str, sources: str) -> list[Clip]:
    """Return the clips to label: of the sources, and without captured motion.

    Raises:
        TeacherError: there is none.
    """
    found = [
        clip
        for clip in clips
        if fnmatch.fnmatch(clip.source, sources) and not clip.style.startswith("captured")
    ]
    if not found:
        known = sorted({c.source for c in clips if not c.style.startswith("captured")})
        raise TeacherError(
            f"found no recording of {sources} for {style} to label, expected one of {known}: "
            "make some with `python -m training.corpus --unpaired DIR` or --recordings"
        )
    return found


def _find_held(clips: Sequence[Clip], style: str) -> list[Clip]:
    """Return the captured clips that are held out: the style's own, or another's of its source."""
    held = [c for c in clips if c.split == "validation" and c.style.startswith("captured")]
    sources = {c.source for c in clips if c.style == style}
    own = [c for c in held if c.style == style]
    return own or [c for c in held if c.source in sources]


def _list_teachers(ensemble: Ensemble) -> Iterator[tuple[str, Ensemble]]:
    for number, member in enumerate(ensemble.members):
        yield f"member {number}", replace(ensemble, members=[member], students=[])
    for number, student in enumerate(ensemble.students):
        yield f"student {number}", replace(ensemble, members=[], students=[student])
    yield "ensemble", ensemble


def train_ensembles(
    clips: Sequence[Clip], students: dict[str, list[StreamingTalker]], config: TeacherConfig
) -> dict[str, Ensemble]:
    """Train an ensemble for each style of `students`, all from one network that knows phones."""
    every, unscaled = np.arange(CHANNELS), np.ones(CHANNELS, np.float32)
    labeled = [c for c in clips if c.phones is not None and c.motion is not None]
    if config.phone_steps and not labeled:
        raise TeacherError(
            "found no clip with known phones, expected some to begin with: add a corpus of "
            "labeled or synthetic speech to --corpus or give --phone-steps 0"
        )
    known = [prepare_lesson(c, every, unscaled) for c in labeled if config.phone_steps]
    origin = train_phones(known or [prepare_lesson(clips[0], every, unscaled)], config)
    del known
    ensembles = {}
    for style, joining in students.items():
        captured = [c for c in clips if c.style == style and c.motion is not None]
        channels = np.flatnonzero(np.all([c.motion_mask for c in captured], axis=0))
        moved = np.concatenate([c.motion[:, channels] for c in captured if c.motion is not None])
        scale = np.maximum(moved.std(axis=0), LEAST_SCALE).astype(np.float32)
        lessons = [prepare_lesson(clip, channels, scale) for clip in captured]
        numbers = tqdm(range(config.members), unit="member", desc=style)
        members = [train_member(origin, lessons, config, number) for number in numbers]
        ensembles[style] = Ensemble(members, joining, config.student_share, channels, scale)
    return ensembles


def _label_clip(ensemble: Ensemble, clip: Clip, style: str) -> Clip:
    mask = np.zeros(CHANNELS, bool)
    mask[ensemble.channels] = True
    return replace(
        clip,
        name=f"{clip.name}-taught",
        motion=ensemble.move(clip.audio, clip.frames),
        motion_mask=mask,
        style=style,
        source=f"taught:{clip.source}",
    )


def measure(ensemble: Ensemble, held: Sequence[Clip]) -> dict[str, float]:
    """Return mean correlations of jaw and rounding with held-out clips, in speech frames."""
    if not held:
        return {}
    rows = []
    for clip in held:
        assert clip.motion is not None
        motion = ensemble.move(clip.audio, len(clip.motion))
        spoken = find_spoken(clip.audio, len(motion))
        rows.append(
            [
                metrics.correlate(curve(motion), curve(clip.motion), spoken)
                for curve in (metrics.jaw_opening, metrics.lip_rounding)
            ]
        )
    jaw, rounding = np.mean(rows, axis=0)
    return {"jaw r": round(float(jaw), 4), "rounding r": round(float(rounding), 4)}


def _write_manifest(
    config: TeacherConfig, styles: dict[str, str], figures: dict[str, dict]
) -> None:
    plain = to_plain(config)
    plain["corpus"] = [folder.name for folder in config.corpus]
    plain["students"] = [sha256_of_file(path) for path in config.students]
    plain.pop("out")
    manifest = {
        "config": plain,
        "styles": styles,
        "commit": find_commit(),
        "learned from": {folder.name: digest_of(folder) for folder in config.corpus},
        "digest": digest_of(config.out),
        "figures": figures,
    }
    text = json.dumps(manifest, indent=1) + "\n"
    write_whole(config.out / "teacher.json", text)


@ending_in_order()
def main() -> None:
    """Parse the command line, teach, print the figures."""
    config = tyro.cli(TeacherConfig, description=__doc__)
    try:
        figures = teach(config)
    except (DualtalkerError, ValueError) as error:
        sys.exit(f"training.teacher: {error}")
    for name, row in figures.items():
        print(name, ", ".join(f"{figure} {value:.3f}" for figure, value in row.items()))
    print(f"labeled clips: {config.out}")


if __name__ == "__main__":
    main()
