"""How readable motion is: a checkpoint's lip reader, and its phone error rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from training.data import SILENCE, Clip

if TYPE_CHECKING:
    from training.network import DualTalker


class LipReader:
    """The lip reader of a checkpoint, by greedy CTC decoding."""

    def __init__(self, network: DualTalker) -> None:
        self._network = network.eval()

    @classmethod
    def load(cls, checkpoint: Path) -> LipReader:
        """Load the averaged weights of a checkpoint.

        Raises:
            CheckpointError: it is missing or broken, or its reader never learned phones.
        """
        from training.learning import CheckpointError, load_network

        network, _ = load_network(checkpoint)
        targets = network.config.lipread_targets
        if "phones" not in targets:
            raise CheckpointError(
                f"{checkpoint} reads {' and '.join(targets) or 'nothing'}, expected phones: train "
                "one with --network.lipread-targets phones units"
            )
        return cls(network)

    def read(self, motion: np.ndarray) -> list[str]:
        """Return the phone classes, without silence, that motion `[frames, 52]` shows."""
        import torch

        with torch.no_grad():
            read = self._network.read_lips(torch.from_numpy(motion).float().unsqueeze(0))
        return decode(read["phones"][0].argmax(-1).numpy(), self._network.phones)


def decode(best: np.ndarray, phones: Sequence[str]) -> list[str]:
    """Collapse the best symbol of each frame `[frames]` (0 is CTC's blank) to phone classes."""
    changed = np.concatenate([[True], best[1:] != best[:-1]])
    named = [phones[symbol - 1] for symbol in best[changed] if symbol > 0]
    return [label for label in named if label != SILENCE]


def measure_error_rate(truth: Sequence[list[str]], read: Sequence[list[str]]) -> float:
    """Phone error rate: edits per phone of the truth, over all sentences (jiwer's word rate).

    Raises:
        ValueError: a sentence has no phone to read.
    """
    import jiwer

    if not truth or not all(truth):
        raise ValueError("found a sentence without phones, expected labelled speech only")
    return float(jiwer.wer([" ".join(t) for t in truth], [" ".join(r) for r in read]))


def read_clips(reader: LipReader, clips: Sequence[Clip], motions: Sequence[np.ndarray]) -> float:
    """Phone error rate of the reader on motions `[frames, 52]` of labelled clips.

    Channels that the clip's own motion lacks are held at zero, as they were when the reader
    learned; otherwise the animation would be judged on channels the reader never saw.
    """
    truth, read = [], []
    for clip, motion in zip(clips, motions, strict=True):
        labels = [p.label for p in clip.phones or () if p.label != SILENCE]
        if labels:
            truth.append(labels)
            read.append(reader.read(motion * clip.motion_mask))
    return measure_error_rate(truth, read)
