"""What a teacher learns from: spectra of clips with their targets, damaged, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.evaluation import metrics
from training.configs import NetworkConfig
from training.data import MOTION_RATE_HZ, SAMPLE_RATE_HZ, Clip, class_ids, interpolate_rows
from training.network import LogMel

PAUSE_WEIGHT = 0.1  # of frames without speech: about half of a recording, and easily right
# Most channels are lip detail of both sides; the jaw and the rounding are what people read.
EMPHASIS = {"jawOpen": 4.0, "mouthFunnel": 4.0, "mouthPucker": 4.0}
UNKNOWN_PHONE = -1


@dataclass
class Lesson:
    """One clip as the teacher sees it."""

    mel: np.ndarray
    """Half precision, `[frames, per_step, bands]`."""
    motion: np.ndarray
    """Target channels in units of their scale, `[frames, C]`."""
    weight: np.ndarray
    """How much each value counts, `[frames, C]`."""
    phones: np.ndarray
    """Class of the phone in each frame, `[frames]`; -1 where nobody knows."""


@lru_cache(maxsize=1)
def _make_ear() -> LogMel:
    return LogMel(NetworkConfig())


def hear(audio: np.ndarray, frames: int) -> np.ndarray:
    """Return the log-mel `[frames, per_step, bands]` of audio `[samples]`, as students hear it."""
    hop = SAMPLE_RATE_HZ // MOTION_RATE_HZ
    padded = np.zeros((1, frames * hop), np.float32)
    kept = audio[: frames * hop]
    padded[0, : len(kept)] = kept
    with torch.no_grad():
        mel = _make_ear().hear(torch.from_numpy(padded))[0].numpy()
    return mel.reshape(frames, -1, mel.shape[-1])


def find_spoken(audio: np.ndarray, frames: int) -> np.ndarray:
    """Frames with speech, bool `[frames]`."""
    return metrics.find_speech_frames(audio, SAMPLE_RATE_HZ, np.arange(frames) / MOTION_RATE_HZ)


def prepare_lesson(clip: Clip, channels: np.ndarray, scale: np.ndarray) -> Lesson:
    """Return the lesson of a clip with motion, in some `channels` over their `scale` `[C]`."""
    assert clip.motion is not None
    frames = len(clip.motion)
    emphasis = np.array([EMPHASIS.get(ARKIT_NAMES[c], 1.0) for c in channels])
    spoken = np.where(find_spoken(clip.audio, frames), 1.0, PAUSE_WEIGHT)
    phones = np.full(frames, UNKNOWN_PHONE)
    if clip.phones is not None:
        phones[:] = class_ids(clip.phones, frames, MOTION_RATE_HZ)
    return Lesson(
        hear(clip.audio, frames).astype(np.float16),
        (clip.motion[:, channels] / scale).astype(np.float32),
        (spoken[:, None] * (emphasis / emphasis.mean())).astype(np.float32),
        phones,
    )


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


@dataclass
class Draw:
    """A batch of segments."""

    mel: Tensor
    """`[batch, per_step * bands, frames]`."""
    motion: Tensor
    """`[batch, C, frames]`."""
    weight: Tensor
    """`[batch, C, frames]`; 0 past the end of a clip."""
    phones: Tensor
    """`[batch, frames]`; -1 where unknown and past the end."""


def hurry(lesson: Lesson, first: int, frames: int, tempo: float) -> Lesson:
    """Return up to `frames` frames from `first` on, spoken `tempo` times as fast.

    Sound and motion alike, so that the pitch stays: words said one by one come closer to running
    speech. A clip that ends before is shorter.
    """
    count, per_step, bands = lesson.mel.shape
    place = first + tempo * np.arange(frames)
    place = place[place <= count - 1]
    inside = np.add.outer(place * per_step, tempo * np.arange(per_step)).ravel()
    mel = interpolate_rows(lesson.mel.reshape(-1, bands), inside)
    return Lesson(
        mel.reshape(len(place), per_step, bands),
        interpolate_rows(lesson.motion, place),
        interpolate_rows(lesson.weight, place),
        lesson.phones[np.round(place).astype(int)],
    )


def draw(
    lessons: Sequence[Lesson],
    count: int,
    segment_s: float,
    rng: np.random.Generator,
    tempo: tuple[float, float] = (1.0, 1.0),
) -> Draw:
    """Draw `count` damaged segments; a clip that is shorter is followed by its last sound.

    Each is spoken faster by a factor between the two of `tempo`, all equally likely in octaves.
    """
    longest = max(len(lesson.weight) for lesson in lessons)
    frames = min(round(segment_s * MOTION_RATE_HZ), longest)
    rows: list[tuple[np.ndarray, ...]] = []
    for _ in range(count):
        whole = lessons[int(rng.integers(len(lessons)))]
        factor = float(np.exp(rng.uniform(*np.log(tempo))))
        needed = round(frames * factor)
        first = int(rng.integers(0, max(0, len(whole.weight) - needed) + 1))
        lesson = hurry(whole, first, frames, factor)
        mel = damage(lesson.mel, rng)
        short = (0, frames - len(mel))
        rows.append(
            (
                np.pad(mel.reshape(len(mel), -1), (short, (0, 0)), mode="edge").T,
                np.pad(lesson.motion, (short, (0, 0))).T,
                np.pad(lesson.weight, (short, (0, 0))).T,
                np.pad(lesson.phones, short, constant_values=UNKNOWN_PHONE),
            )
        )
    return Draw(*(torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)))
