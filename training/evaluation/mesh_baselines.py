"""What a model of a mesh must beat: rest, the mean face, loudness, the nearest neighbor in audio.

The same ideas for blendshapes are in `training.evaluation.baselines`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from dualtalker.evaluation import metrics
from training.data import (
    SAMPLE_RATE_HZ,
    CorpusError,
    VertexClip,
    VertexCorpus,
    iterate_vertex_clips,
)
from training.evaluation.baselines import MOST_FRAMES, describe_sound, find_nearest

Pose = Callable[[slice], np.ndarray]
"""Vertices `[n, vertices, 3]` of some consecutive frames of one clip, in the data set's unit."""
Perform = Callable[[VertexClip], Pose]
"""Hears a clip and says how its face moves."""


@dataclass
class Baselines:
    """What was learned from the training split.

    means: float32 [vertices, 3], the mean displacement from the template, by subject.
    mean: the same of all subjects. opening: float32 [vertices, 3], displacement per unit of
    loudness (root mean square); loudness_mean: the loudness at which the face is the mean face.
    sounds: [frames, dims] of `describe_sound`; places: int [frames, 2], clip and frame of each.
    """

    means: dict[str, np.ndarray]
    mean: np.ndarray
    opening: np.ndarray
    loudness_mean: float
    sounds: np.ndarray
    places: np.ndarray
    clips: list[VertexClip]

    def rest(self, clip: VertexClip) -> Pose:
        """The template, unmoved."""
        return lambda frames: np.repeat(clip.template[None], _count(clip, frames), axis=0)

    def mean_face(self, clip: VertexClip) -> Pose:
        """The template moved by the mean displacement of training, the subject's own if known."""
        face = clip.template + self.means.get(clip.subject, self.mean)
        return lambda frames: np.repeat(face[None], _count(clip, frames), axis=0)

    def loudness(self, clip: VertexClip) -> Pose:
        """The mean face, moved along the mouth's opening as far as the sound is loud."""
        face = clip.template + self.means.get(clip.subject, self.mean)
        louder = measure_clip_loudness(clip) - self.loudness_mean

        def pose(frames: slice) -> np.ndarray:
            moved = louder[frames, None, None].astype(np.float32) * self.opening
            return np.asarray(face + moved, np.float32)

        return pose

    def nearest_neighbor(self, clip: VertexClip) -> Pose:
        """The displacement of the training frame that sounds most alike, of the same subject."""
        # A subject who was not trained on takes from all.
        allowed = np.arange(len(self.places))
        if clip.subject in self.means:
            own = [k for k, c in enumerate(self.clips) if c.subject == clip.subject]
            allowed = np.flatnonzero(np.isin(self.places[:, 0], own))
        wanted = describe_sound(clip.audio, clip.frames, clip.fps)
        found = self.places[allowed[find_nearest(self.sounds[allowed], wanted)]]

        def pose(frames: slice) -> np.ndarray:
            moved = [
                self.clips[number].vertices[frame] - self.clips[number].template
                for number, frame in found[frames]
            ]
            return np.asarray(clip.template + np.stack(moved), np.float32)

        return pose


def learn_baselines(corpus: VertexCorpus) -> Baselines:
    """Look once at frames of the training split, holding a sum and one frame at a time.

    The direction of opening is the least-squares slope of displacement over loudness.

    Raises:
        CorpusError: the folder has no training clips.
    """
    names = corpus.splits.get("train", ())
    if not names:
        raise CorpusError(
            f"{corpus.folder} has no clip of split train, from which the baselines are learned: "
            "prepare the whole data set"
        )
    size = corpus.vertex_count
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    product, heard = np.zeros((size, 3)), np.zeros(3)  # count, sum and square of the loudness
    sounds, places = [], []
    clips: list[VertexClip] = []
    per_clip = max(1, MOST_FRAMES // len(names))
    for clip in iterate_vertex_clips(corpus, "train"):
        chosen = np.linspace(0, clip.frames - 1, min(per_clip, clip.frames)).astype(int)
        sounds.append(describe_sound(clip.audio, clip.frames, clip.fps)[chosen])
        places.append(np.stack([np.full(len(chosen), len(clips)), chosen], axis=1))
        loudness = measure_clip_loudness(clip)[chosen]
        heard += [len(chosen), loudness.sum(), (loudness**2).sum()]
        total = sums.setdefault(clip.subject, np.zeros((size, 3)))
        counts[clip.subject] = counts.get(clip.subject, 0) + len(chosen)
        for level, frame in zip(loudness, chosen, strict=True):
            moved = np.asarray(clip.vertices[frame] - clip.template, np.float64)
            total += moved
            product += level * moved
        clips.append(replace(clip, audio=np.zeros(0, np.float32)))  # its vertices stay mapped
    count, loud, squared = heard
    whole = np.sum(list(sums.values()), axis=0)
    variance = max(squared / count - (loud / count) ** 2, 1e-12)
    covariance = product / count - (loud / count) * (whole / count)
    return Baselines(
        means={s: (sums[s] / counts[s]).astype(np.float32) for s in sums},
        mean=(whole / count).astype(np.float32),
        opening=(covariance / variance).astype(np.float32),
        loudness_mean=float(loud / count),
        sounds=np.concatenate(sounds),
        places=np.concatenate(places),
        clips=clips,
    )


def measure_clip_loudness(clip: VertexClip) -> np.ndarray:
    """Root mean square of the sound around each frame, `[frames]`; see `metrics`."""
    times_s = np.arange(clip.frames) / clip.fps
    return metrics.measure_loudness(clip.audio, SAMPLE_RATE_HZ, times_s)


def iterate_blocks(frames: int, vertices: int, most_bytes: int = 16 << 20) -> Iterator[slice]:
    """Yield consecutive slices of frames whose vertices take at most about `most_bytes`."""
    step = max(1, most_bytes // (vertices * 12))
    for start in range(0, frames, step):
        yield slice(start, min(start + step, frames))


def _count(clip: VertexClip, frames: slice) -> int:
    return len(range(*frames.indices(clip.frames)))
