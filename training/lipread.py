"""How readable an animation is: phone error rate of a checkpoint's lip reader.

    python -m training.lipread runs/default/step_0004000.safetensors --corpus corpus_real
    python -m training.lipread CHECKPOINT --corpus corpus_real --model NAME.onnx

The dual task, kept as a judge: the same reader reads true motion and an animation of the same
sentence. The error rate on true motion is the best that can be asked of an animation.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from dualtalker.errors import DualtalkerError
from training.data import iterate_clips
from training.evaluation import LipReader, animate_by_model, read_clips


@dataclass
class LipreadConfig:
    """Read the lips of held-out clips, and of a model's animation of them."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint of `python -m training.train` whose lip reader judges (.safetensors)."""
    corpus: tuple[Path, ...] = (Path("corpus"),)
    """Folders of clips; those of split `validation` with motion and phone labels are read."""
    model: Path | None = None
    """Bundle (.onnx) whose animation is read, too; without it only true motion is read."""


def lipread(config: LipreadConfig) -> dict[str, float]:
    """Return the phone error rates on true motion and on the model's.

    Raises:
        DualtalkerError: no clip to read, or the checkpoint or bundle is broken.
    """
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
