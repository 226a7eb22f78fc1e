"""`python -m engines.compare`: `dualtalker engine compare`, and torch as a reference."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualtalker.cli.engine import Compare
from dualtalker.cli.main import run_command
from dualtalker.engine import Reference
from dualtalker.model import Bundle


@dataclass
class CompareWithTorch(Compare):
    """Compare a model across runtimes and precisions, and with its checkpoint in torch."""

    checkpoint: Path | None = None
    """Its checkpoint (.safetensors): torch is then the reference."""

    def make_reference(self) -> Reference | None:
        """Return the network of the checkpoint."""
        if self.checkpoint is None:
            return None
        checkpoint = self.checkpoint
        return Reference(
            f"torch {checkpoint.name}",
            lambda bundle, audio, style: run_torch(checkpoint, bundle, audio, style),
        )


def run_torch(
    checkpoint: Path, bundle: Bundle, audio: np.ndarray, style: np.ndarray | None = None
) -> np.ndarray:
    """Run the trained network step by step; return `[frames, 52]`.

    `style` are weights `[1, styles]` of the bundle's styles; None is its default.
    """
    import torch

    from training.learning import load_network
    from training.network import StreamingTalker

    network, _ = load_network(checkpoint)
    mixture = bundle.sidecar.training.get("style") or dict.fromkeys(network.animation.styles, 1.0)
    if style is not None:
        mixture = dict(zip(bundle.sidecar.style_names, style[0].tolist(), strict=True))
    smooth = bool(bundle.sidecar.training.get("smooth", False))
    talker = StreamingTalker(network, mixture, smooth).eval()
    hop = bundle.sidecar.hop_samples
    state = talker.new_state()
    frames = []
    with torch.inference_mode():
        for start in range(0, len(audio) - hop + 1, hop):
            chunk = torch.from_numpy(audio[np.newaxis, start : start + hop])
            motion, *state = talker(chunk, *state)
            frames.append(motion[0].numpy())
    return np.concatenate(frames)


if __name__ == "__main__":
    sys.exit(run_command(CompareWithTorch, "python -m engines.compare", None))
