"""How readable an animation is: phone error rate of a checkpoint's lip reader.

    python -m training.lipread runs/default/step_0004000.safetensors --corpus corpus_real
    python -m training.lipread CHECKPOINT --corpus corpus_real --model NAME.onnx

The dual task, kept as a judge: the same reader reads true motion and an animation of the same
sentence. The error rate on true motion is the best that can be asked of an animation.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

from dualtalker.errors import DualtalkerError
from training.data import SILENCE, Clip, iterate_clips

if TYPE_CHECKING:
    from training.network import DualTalker


@dataclass
class LipreadConfig:
    """Read the lips of held-out clips, and of a model's animation of them."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint of `python -m training.train` whose lip reader judges (.safetensors)."""
    corpus: tuple[Path, ...] = (Path("corpus"),)
    """Folders of clips; those of split `validation` with motion and phone labels are read."""
    model: Path | None = None
    """Bundle (.onnx) whose animation is read, too; without it only true motion is read."""


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


def spoken_phones(phones: Sequence[tuple[str, float, float]]) -> list[str]:
    """The labels in order without silence: what a perfect reader would read."""
    return [label for label, _, _ in phones if label != SILENCE]


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
        labels = spoken_phones([(p.label, p.start_s, p.end_s) for p in clip.phones or ()])
        if labels:
            truth.append(labels)
            read.append(reader.read(motion * clip.motion_mask))
    return measure_error_rate(truth, read)


def lipread(config: LipreadConfig) -> dict[str, float]:
    """Return the phone error rates on true motion and on the model's.

    Raises:
        DualtalkerError: no clip to read, or the checkpoint or bundle is broken.
    """
    from training.evaluation import animate_by_model

    clips = [c for folder in config.corpus for c in iterate_clips(folder, "validation")]
    clips = [c for c in clips if c.motion is not None and c.phones]
    if not clips:
        raise DualtalkerError(
            f"found no validation clip with motion and phones in "
            f"{[str(f) for f in config.corpus]}; make some with `python -m training.corpus "
            "--recordings DIR --holdout NAME`"
        )
    reader = LipReader.load(config.checkpoint)
    rates = {"true motion": read_clips(reader, clips, [c.motion for c in clips])}  # type: ignore[misc]
    if config.model is not None:
        motions = [animate_by_model(c.audio, c.frames, config.model) for c in clips]
        rates["animation"] = read_clips(reader, clips, motions)
    return rates


def main() -> None:
    """Parse the command line, read, print the rates."""
    config = tyro.cli(LipreadConfig, description=__doc__)
    try:
        rates = lipread(config)
    except DualtalkerError as error:
        sys.exit(f"training.lipread: {error}")
    for name, rate in rates.items():
        print(f"phone error rate on {name}: {100 * rate:.1f} %")


if __name__ == "__main__":
    main()
