"""Prepared vertex clips as the trainer wants them: a basis, and each clip's coordinates in it.

The files are read by `training.data.mesh_clips`; here each clip is opened once, projected,
and forgotten, so that a mesh of 70,000 numbers a frame costs the trainer `rank` numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from training.configs import VertexConfig
from training.data import (
    SAMPLE_RATE_HZ,
    CorpusError,
    Phone,
    VertexClip,
    VertexCorpus,
    interpolate_rows,
    iterate_vertex_clips,
    read_corpus,
)
from training.network import VertexHead, fit_basis, fit_motion_prior, measure_lips, project


@dataclass
class CoordinateClip:
    """A vertex clip in the basis of its head; it has the fields of a `Clip` that batches need.

    audio: float32 [samples], 16 kHz. motion: float32 [frames, rank], frame k depicts k / fps.
    """

    name: str
    audio: np.ndarray
    motion: np.ndarray
    style: str
    fps: float
    source: str = "vertices"
    phones: list[Phone] | None = None
    motion_mask: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.motion_mask = np.ones(self.motion.shape[1], bool)

    @property
    def duration_s(self) -> float:
        """Length of the sound in seconds."""
        return len(self.audio) / SAMPLE_RATE_HZ


@dataclass
class VertexData:
    """All that a run needs of one folder of vertex clips."""

    name: str
    corpus: VertexCorpus
    directions: np.ndarray
    """Of its head's basis, `[rank, vertices * 3]`."""
    clips: list[CoordinateClip]

    @property
    def styles(self) -> list[str]:
        """Styles of the training subjects, sorted."""
        return sorted({clip.style for clip in self.clips})


def name_head(corpus: VertexCorpus) -> str:
    """Return the name of the head that gives a data set's mesh."""
    return corpus.dataset.replace(".", "_")


def name_style(corpus: VertexCorpus, subject: str) -> str:
    """Return the style that a subject has in the network."""
    return f"{corpus.dataset}:{subject}"


def _displace(clip: VertexClip, frames: np.ndarray | slice) -> np.ndarray:
    return (np.asarray(clip.vertices[frames]) - clip.template).reshape(-1, clip.template.size)


def load_vertex_data(
    folder: Path, config: VertexConfig, seed: int, paired_fraction: float = 1.0
) -> VertexData:
    """Fit the basis on frames of the training split and project its clips.

    Raises:
        CorpusError: the folder holds no clips, or none to train on.
    """
    corpus = read_corpus(folder)
    names = corpus.splits.get("train", ())
    if not names:
        raise CorpusError(f"{folder} has no clip of split train; prepare a whole data set")
    rng = np.random.default_rng(seed)
    count = max(1, round(len(names) * paired_fraction))
    kept = {names[i] for i in rng.permutation(len(names))[:count]}
    per_clip = max(1, -(-config.fit_frames // count))
    drawn = []
    for clip in iterate_vertex_clips(corpus, "train"):
        if clip.name in kept:
            chosen = np.sort(rng.permutation(clip.frames)[:per_clip])
            drawn.append(_displace(clip, chosen).astype(np.float32))
    directions = fit_basis(np.concatenate(drawn), config.rank)
    clips = [
        CoordinateClip(
            name=clip.name,
            audio=clip.audio,
            motion=project(_displace(clip, slice(None)), directions),
            style=name_style(corpus, clip.subject),
            fps=clip.fps,
        )
        for clip in iterate_vertex_clips(corpus, "train")
        if clip.name in kept
    ]
    return VertexData(name_head(corpus), corpus, directions, clips)


def fill_head(head: VertexHead, data: VertexData, styles: list[str], rate_hz: float) -> None:
    """Put what was fitted on the data into the frozen tensors of its head.

    `rate_hz` is the rate of the network's motion, at which the motion prior is needed.
    """
    coordinates = np.concatenate([clip.motion for clip in data.clips])
    lips = data.corpus.lips.indices
    resampled = [resample(clip.motion, clip.fps, rate_hz) for clip in data.clips]
    tensors = {
        "directions": data.directions,
        "lip_metric": measure_lips(data.directions, lips, coordinates),
        "lip_vertices": lips,
        "motion_prior": fit_motion_prior([m for m in resampled if len(m) > 2]),
        "style_indices": np.array([styles.index(style) for style in data.styles]),
    }
    for name, array in tensors.items():
        getattr(head, name).copy_(torch.from_numpy(np.ascontiguousarray(array)))


def resample(motion: np.ndarray, from_hz: float, to_hz: float) -> np.ndarray:
    """Interpolate motion `[frames, C]` linearly to another rate; frame k depicts k / rate."""
    count = int((len(motion) - 1) * to_hz / from_hz + 1e-6) + 1
    return interpolate_rows(motion, np.arange(count) * (from_hz / to_hz))
