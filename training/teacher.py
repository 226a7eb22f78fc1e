"""A teacher that may look ahead labels recordings without motion, for a student that may not.

    python -m training.teacher --corpus corpus_real --out corpus_taught
    python -m training.train --data.corpus corpus_synth corpus_real corpus_taught

An ensemble of small non-causal networks is trained on the captured clips of one style, hard
against overfitting (dropout, damaged spectra), and its mean motion becomes the target of the
unpaired recordings. A streaming student learns from it what a few minutes of capture cannot
teach it alone. Ours, after Hinton et al., "Distilling the Knowledge in a Neural Network" (2015).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from dualtalker import metrics
from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import DualtalkerError
from training.checkpoints import find_commit
from training.clips import (
    INDEX_NAME,
    MOTION_RATE_HZ,
    SAMPLE_RATE_HZ,
    Clip,
    digest_of,
    iterate_clips,
    save_clips,
)
from training.configs import NetworkConfig, to_plain
from training.encoders import LogMel

PAUSE_WEIGHT = 0.1  # of frames without speech: about half of a recording, and easily right
LEAST_SCALE = 0.05
# Most channels are lip detail of both sides; the jaw and the rounding are what people read.
EMPHASIS = {"jawOpen": 4.0, "mouthFunnel": 4.0, "mouthPucker": 4.0}


class TeacherError(DualtalkerError):
    """There is nothing to learn from or to label."""


@dataclass
class TeacherConfig:
    """Train a teacher on captured clips and label the unpaired ones."""

    corpus: tuple[Path, ...] = (Path("corpus"),)
    """Folders written by `python -m training.corpus`, with captured and unpaired clips."""
    out: Path = Path("corpus_taught")
    """Folder for the labeled clips."""
    style: str = ""
    """Captured style to learn; empty: the one with the most data."""
    members: int = 5
    """Networks in the ensemble."""
    steps: int = 350
    """Optimizer steps of each."""
    channels: int = 96
    """Width of each."""
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    """Dilation of each convolution of five taps, centered: 0.6 s each way."""
    dropout: float = 0.5
    """Dropout inside blocks."""
    learning_rate: float = 2e-3
    """Peak of the one-cycle schedule."""
    weight_decay: float = 0.02
    """AdamW weight decay."""
    segment_s: float = 4.0
    """Length of a training segment, seconds."""
    batch: int = 16
    """Segments in a step."""
    seed: int = 0
    """Seed of everything."""
    threads: int = 1
    """CPU threads."""


class Teacher(nn.Module):
    """Log-mel `[batch, bands, frames]` -> motion in units of its scale `[batch, C, frames]`."""

    def __init__(self, bands: int, outputs: int, config: TeacherConfig) -> None:
        super().__init__()
        width = config.channels
        self.inlet = nn.Conv1d(bands, width, 1)
        self.inlet_dropout = nn.Dropout1d(0.1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, width, 5, padding=2 * d, dilation=d),
                nn.BatchNorm1d(width),
                nn.GELU(),
                nn.Conv1d(width, width, 1),
                nn.Dropout(config.dropout),
            )
            for d in config.dilations
        )
        self.outlet = nn.Conv1d(width, outputs, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """Map `[batch, bands, frames]` to `[batch, C, frames]`."""
        x = self.inlet(self.inlet_dropout(mel))
        for block in self.blocks:
            x = x + block(x)
        motion: Tensor = self.outlet(x)
        return motion


@dataclass
class Lesson:
    """One captured clip as the teacher sees it."""

    mel: np.ndarray
    """`[frames, per_step, bands]`."""
    motion: np.ndarray
    """Supervised channels in units of their scale, `[frames, C]`."""
    weight: np.ndarray
    """How much each value counts, `[frames, C]`."""


def hear(audio: np.ndarray, frames: int, network: NetworkConfig | None = None) -> np.ndarray:
    """Return the log-mel `[frames, per_step, bands]` of audio `[samples]`, as students hear it."""
    network = network or NetworkConfig()
    mel = LogMel(network)
    padded = np.zeros(mel.tail + frames * network.hop_samples, np.float32)
    kept = audio[: frames * network.hop_samples]
    padded[mel.tail : mel.tail + len(kept)] = kept
    with torch.no_grad():
        bands = mel(torch.from_numpy(padded).unsqueeze(0))[0].numpy()
    return bands.reshape(frames, -1, network.mel_bands)


def find_spoken(audio: np.ndarray, frames: int) -> np.ndarray:
    """Frames with speech, bool `[frames]`."""
    times_s = np.arange(frames) / MOTION_RATE_HZ
    return metrics.find_speech(metrics.measure_loudness(audio, SAMPLE_RATE_HZ, times_s))


def damage(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return log-mel `[frames, per_step, bands]` of another voice and microphone.

    The spectrum moves by up to three bands (vocal tract), the level and the response change, two
    stretches of bands are lost (Park et al., SpecAugment, 2019), and there is noise.
    """
    bands = mel.shape[-1]
    place = np.clip(np.arange(bands) + rng.uniform(-3.0, 3.0), 0, bands - 1)
    below = place.astype(int)
    part = (place - below).astype(np.float32)
    above = np.minimum(below + 1, bands - 1)
    out = mel[..., below] * (1 - part) + mel[..., above] * part
    knots = np.linspace(0, bands - 1, 5)
    response = np.interp(np.arange(bands), knots, rng.normal(0.0, 0.1, 5))
    out = out + rng.normal(0.0, 0.15) + response
    for _ in range(2):
        first = int(rng.integers(0, bands - 6))
        out[..., first : first + int(rng.integers(1, 8))] = out.mean()
    return np.asarray(out + rng.normal(0.0, 0.09, out.shape), np.float32)


def prepare_lesson(clip: Clip, channels: np.ndarray, scale: np.ndarray) -> Lesson:
    """Return a clip's lesson."""
    assert clip.motion is not None
    frames = len(clip.motion)
    spoken = find_spoken(clip.audio, frames)
    emphasis = np.array([EMPHASIS.get(ARKIT_NAMES[c], 1.0) for c in channels])
    weight = np.where(spoken, 1.0, PAUSE_WEIGHT)[:, None] * (emphasis / emphasis.mean())
    motion = clip.motion[:, channels] / scale
    return Lesson(hear(clip.audio, frames), motion, weight.astype(np.float32))


def train_member(lessons: Sequence[Lesson], config: TeacherConfig, seed: int) -> Teacher:
    """Train one network of the ensemble on `lessons`."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    bands = int(np.prod(lessons[0].mel.shape[1:]))
    teacher = Teacher(bands, lessons[0].motion.shape[1], config)
    optimizer = torch.optim.AdamW(
        teacher.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps
    )
    teacher.train()
    for _ in range(config.steps):
        mel, motion, weight = draw(lessons, config, rng)
        loss = ((teacher(mel) - motion).square() * weight).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return teacher.eval()


def draw(
    lessons: Sequence[Lesson], config: TeacherConfig, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a batch: mel `[batch, bands, frames]`, motion `[batch, C, frames]` and weights."""
    shortest = min(len(lesson.weight) for lesson in lessons)
    frames = min(round(config.segment_s * MOTION_RATE_HZ), shortest)
    rows = []
    for _ in range(config.batch):
        lesson = lessons[int(rng.integers(len(lessons)))]
        first = int(rng.integers(0, len(lesson.weight) - frames + 1))
        span = slice(first, first + frames)
        mel = damage(lesson.mel[span], rng).reshape(frames, -1)
        rows.append((mel.T, lesson.motion[span].T, lesson.weight[span].T))
    stacks = [torch.from_numpy(np.stack(part)).float() for part in zip(*rows, strict=True)]
    return stacks[0], stacks[1], stacks[2]


def label(teachers: Sequence[Teacher], audio: np.ndarray, frames: int) -> np.ndarray:
    """Return the ensemble's mean motion for `audio`, in units of its scale, `[frames, C]`."""
    mel = torch.from_numpy(hear(audio, frames).reshape(1, frames, -1)).transpose(1, 2)
    with torch.no_grad():
        mean = torch.stack([teacher(mel)[0] for teacher in teachers]).mean(0)
    return mean.T.numpy()


def choose_style(clips: Sequence[Clip], wanted: str) -> str:
    """Return the captured style to learn.

    Raises:
        TeacherError: there is none, or not the wanted one.
    """
    seconds: dict[str, float] = {}
    for clip in clips:
        if clip.motion is not None and clip.style.startswith("captured"):
            seconds[clip.style] = seconds.get(clip.style, 0.0) + clip.duration_s
    if not seconds or (wanted and wanted not in seconds):
        raise TeacherError(
            f"found the captured styles {sorted(seconds)}, expected "
            f"{wanted or 'at least one'}: make them with `python -m training.corpus --arkit DIR`"
        )
    return wanted or max(seconds, key=lambda style: seconds[style])


def teach(config: TeacherConfig) -> dict[str, dict[str, float]]:
    """Train the ensemble, write the labeled clips to `config.out`, and return its figures.

    They are the correlations with the held-out captured clips in speech, of each member and of
    the ensemble; empty where none is held out.

    Raises:
        TeacherError: nothing to learn from, nothing to label, or `out` holds clips already.
    """
    from tqdm import tqdm

    if (config.out / INDEX_NAME).exists():
        raise TeacherError(f"{config.out} already holds clips: give another --out or delete it")
    torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(True)
    clips = [clip for folder in config.corpus for clip in iterate_clips(folder)]
    style = choose_style([c for c in clips if c.split == "train"], config.style)
    captured = [c for c in clips if c.style == style and c.motion is not None]
    train = [c for c in captured if c.split == "train"]
    unpaired = [c for c in clips if c.motion is None and c.split == "train"]
    if not unpaired:
        raise TeacherError(
            "found no recording without motion, expected some to label: "
            "`python -m training.corpus --unpaired DIR`"
        )
    channels = np.flatnonzero(np.all([c.motion_mask for c in train], axis=0))
    moved = np.concatenate([c.motion[:, channels] for c in train if c.motion is not None])
    scale = np.maximum(moved.std(axis=0), LEAST_SCALE).astype(np.float32)
    lessons = [prepare_lesson(clip, channels, scale) for clip in train]
    seeds = range(config.seed, config.seed + config.members)
    teachers = [
        train_member(lessons, config, seed) for seed in tqdm(seeds, unit="member", desc=style)
    ]
    scaling = (channels, scale)
    save_clips(config.out, [_label_clip(teachers, c, style, scaling, train[0]) for c in unpaired])
    held = [c for c in captured if c.split == "validation"]
    figures = {
        f"member {number}": measure([teacher], held, scaling)
        for number, teacher in enumerate(teachers)
    }
    figures["ensemble"] = measure(teachers, held, scaling)
    _write_manifest(config, style, figures)
    return figures if held else {}


def _label_clip(
    teachers: Sequence[Teacher],
    clip: Clip,
    style: str,
    scaling: tuple[np.ndarray, np.ndarray],
    like: Clip,
) -> Clip:
    channels, scale = scaling
    frames = clip.frames
    motion = np.zeros((frames, len(like.motion_mask)), np.float32)
    motion[:, channels] = np.clip(label(teachers, clip.audio, frames) * scale, 0.0, 1.0)
    return replace(
        clip,
        name=f"{clip.name}-taught",
        motion=motion,
        motion_mask=like.motion_mask.copy(),
        style=style,
        source=f"taught:{clip.source}",
    )


def measure(
    teachers: Sequence[Teacher], held: Sequence[Clip], scaling: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Return mean correlations of jaw and rounding with held-out clips, in speech frames."""
    if not held:
        return {}
    channels, scale = scaling
    rows = []
    for clip in held:
        assert clip.motion is not None
        motion = np.zeros_like(clip.motion)
        motion[:, channels] = label(teachers, clip.audio, len(motion)) * scale
        spoken = find_spoken(clip.audio, len(motion))
        rows.append(
            [
                metrics.correlate(curve(motion), curve(clip.motion), spoken)
                for curve in (metrics.jaw_opening, metrics.lip_rounding)
            ]
        )
    jaw, rounding = np.mean(rows, axis=0)
    return {"jaw r": round(float(jaw), 4), "rounding r": round(float(rounding), 4)}


def _write_manifest(config: TeacherConfig, style: str, figures: dict[str, dict]) -> None:
    plain = to_plain(config)
    plain["corpus"] = [folder.name for folder in config.corpus]
    plain.pop("out")
    manifest = {
        "config": plain,
        "style": style,
        "commit": find_commit(),
        "learned from": {folder.name: digest_of(folder) for folder in config.corpus},
        "digest": digest_of(config.out),
        "figures": figures,
    }
    text = json.dumps(manifest, indent=1) + "\n"
    (config.out / "teacher.json").write_text(text, encoding="utf-8")


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
