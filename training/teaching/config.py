"""The configuration of a teacher; `tyro` makes the command from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class TeacherConfig:
    """Train a teacher on captured clips and label the unpaired ones."""

    corpus: tuple[Path, ...] = (Path("corpus"),)
    """Folders written by `python -m training.corpus`, with captured and unpaired clips."""
    out: Path = Path("corpus_taught")
    """Folder for the labeled clips."""
    label: dict[str, str] = field(default_factory=dict)
    """Captured styles to learn, each with the sources (`*` and `?` as in a shell) whose clips it
    labels: `captured:ann 'labeled:*'`. Default: the one with the most data, `unpaired:*`."""
    members: int = 4
    """Networks in the ensemble."""
    phone_steps: int = 1200
    """Optimizer steps on speech with known phones, before all members; 0 for none."""
    steps: int = 250
    """Optimizer steps of each member on captured clips."""
    students: tuple[Path, ...] = ()
    """Checkpoints of streaming networks that know the style and join the ensemble."""
    student_share: float = 0.5
    """Weight of the students' mean motion against that of the members."""
    channels: int = 96
    """Width of each."""
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    """Dilation of each convolution of five taps, centered: 0.6 s each way."""
    dropout: float = 0.5
    """Dropout inside blocks, on captured clips."""
    learning_rate: float = 2e-3
    """Peak of the one-cycle schedules."""
    weight_decay: float = 0.02
    """AdamW weight decay."""
    segment_s: float = 4.0
    """Length of a training segment, seconds."""
    tempo: tuple[float, float] = (1.0, 1.0)
    """Range of factors by which captured clips are heard faster, to make words running speech."""
    batch: int = 16
    """Segments in a step."""
    seed: int = 0
    """Seed of everything."""
    threads: int = 1
    """CPU threads."""
