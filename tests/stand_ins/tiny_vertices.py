"""A tiny prepared mesh data set, made on the spot. No tests here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tiny_training import make_clip
from training.data import VertexSet
from training.data.mesh_clips import write_clip, write_corpus

VERTICES = 12
LIPS = np.array([0, 1, 2, 3], np.int32)


def make_vertex_corpus(folder: Path, dataset: str = "tiny", fps: float = 30.0) -> Path:
    """Two training subjects and one for validation; lips follow the loudness, brows drift."""
    rng = np.random.default_rng(5)
    subjects = {"ann": "train", "bob": "train", "eve": "validation"}
    templates = {s: rng.normal(0.0, 0.05, (VERTICES, 3)).astype(np.float32) for s in subjects}
    names = []
    for number, (subject, split) in enumerate(subjects.items()):
        for sentence in range(2):
            name = f"{subject}_{sentence}"
            clip = make_clip(name, 10 * number + sentence, seconds=2.0)
            assert clip.motion is not None
            opening = clip.motion.max(1)[:: round(50 / fps)] if fps == 25 else None
            frames = int(2.0 * fps)
            if opening is None:
                at = np.minimum(np.round(np.arange(frames) * 50 / fps).astype(int), 99)
                opening = clip.motion.max(1)[at]
            moved = np.zeros((frames, VERTICES, 3), np.float32)
            moved[:, LIPS, 1] = -0.02 * opening[:frames, None]
            moved[:, 8, 2] = 0.002 * np.sin(np.arange(frames) / 7)
            moved[:, 9, 0] = 0.001 * np.cos(np.arange(frames) / 5)
            write_clip(
                folder, name, clip.audio, templates[subject] + moved, (frames, VERTICES, 3),
                subject=subject, sentence=str(sentence), split=split, fps=str(fps), plan="test",
            )  # fmt: skip
            names.append(name)
    write_corpus(
        folder,
        names,
        templates,
        np.array([[0, 1, 2], [2, 3, 4]], np.int32),
        VertexSet(LIPS, "test"),
        VertexSet(np.array([8, 9], np.int32), "test"),
        {"dataset": dataset, "fps": fps, "unit": "m", "license": "none", "styles": ["ann", "bob"]},
    )
    return folder
