"""Keeps beside a bundle what adapting it needs: `python -m training.pack CHECKPOINT NAME.onnx`.

A bundle's graph is folded for speed and cannot be trained. This writes NAME.training.safetensors
(the averaged weights in half precision, and the frozen priors) and NAME.training.json.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from dualtalker.errors import DualtalkerError
from dualtalker.files import ending_in_order
from dualtalker.model import read_sidecar
from training.learning import (
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
    starting_point_of,
    strip_origin,
)


@dataclass
class PackConfig:
    """Pack the starting point of one bundle."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint that the bundle was exported from (.safetensors)."""
    bundle: tyro.conf.Positional[Path]
    """The bundle's graph (.onnx)."""


def pack(checkpoint: Path, bundle: Path) -> Path:
    """Write the starting point beside the bundle and return its path.

    Raises:
        CheckpointError: the bundle is missing, or was not made from this checkpoint.
        BundleError: its sidecar is damaged.
    """
    sidecar = bundle.with_suffix(".json")
    if not bundle.is_file() or not sidecar.is_file():
        raise CheckpointError(
            f"found no {bundle} with its sidecar; export it first with "
            f"`python -m engines.export_onnx {checkpoint} --out {bundle}`"
        )
    loaded = load_checkpoint(checkpoint)
    training = read_sidecar(sidecar).training
    published = {**loaded.meta, **strip_origin(loaded.meta)}
    for key in ("step", "config", "data"):
        if training.get(key) != published[key]:
            raise CheckpointError(
                f"{bundle} was exported from another checkpoint than {checkpoint} (their {key} "
                "differs); give the one it was exported from"
            )
    weights = {
        name: tensor.half() if tensor.dtype == torch.float32 else tensor
        for name, tensor in loaded.group("ema").items()
    }
    path = starting_point_of(bundle)
    save_checkpoint(path, {"ema": weights, "priors": loaded.group("priors")}, published)
    return path


@ending_in_order()
def main() -> None:
    """Parse the command line and pack."""
    config = tyro.cli(PackConfig, description=__doc__)
    try:
        path = pack(config.checkpoint, config.bundle)
    except DualtalkerError as error:
        sys.exit(f"training.pack: {error}")
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
