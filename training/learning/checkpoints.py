"""Checkpoints of a training run: safetensors for tensors, JSON for everything else. No pickle."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dualtalker.errors import DualtalkerError
from dualtalker.files import write_whole, written_whole
from training.configs import NetworkConfig, from_plain, to_plain
from training.network import DualTalker, HeadPlan, Wav2Vec2Encoder


class CheckpointError(DualtalkerError):
    """A checkpoint is missing, broken or of another network."""


def describe_network(network: DualTalker) -> dict[str, Any]:
    """Return what is needed to build an equal network, JSON-ready."""
    description: dict[str, Any] = {
        "network": to_plain(network.config),
        "active": [bool(v) for v in network.animation.active.tolist()],
        "styles": network.animation.styles,
        "phones": network.phones,
        "heads": [asdict(plan) for plan in network.head_plans],
    }
    if isinstance(network.audio_encoder, Wav2Vec2Encoder):
        description["architecture"] = network.audio_encoder.architecture
    return description


def complete_description(description: dict[str, Any]) -> dict[str, Any]:
    """Return a description as of today: what an older checkpoint lacks gets its default."""
    config = to_plain(from_plain(NetworkConfig, description["network"]))
    complete = {"heads": [], **description, "network": config}
    complete.pop("characters", None)  # the alphabet of a lip-reading target that is gone
    return complete


def build_network(description: dict[str, Any]) -> DualTalker:
    """Build a network from `describe_network` output; nothing is downloaded."""
    # Checkpoints that name no contacts are from when there was a single gate.
    plain = {"contacts": ["bilabial"], **description["network"]}
    return DualTalker(
        from_plain(NetworkConfig, plain),
        description["active"],
        description["styles"],
        description["phones"],
        [HeadPlan(**plan) for plan in description.get("heads", [])],
        description.get("architecture"),
    )


def find_commit() -> str:
    """Return the commit of the checkout this runs from, with `-dirty`, or `unknown`."""
    folder = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


@dataclass
class Checkpoint:
    """What was read back."""

    meta: dict[str, Any]
    tensors: dict[str, Tensor]

    def group(self, prefix: str) -> dict[str, Tensor]:
        """Tensors whose name starts with `prefix.`, without it."""
        cut = len(prefix) + 1
        return {k[cut:]: v for k, v in self.tensors.items() if k.startswith(prefix + ".")}


def save_checkpoint(path: Path, groups: dict[str, dict[str, Tensor]], meta: dict) -> None:
    """Write `path` (.safetensors) and its JSON, each whole or not at all; tensors first."""
    tensors = {
        f"{group}.{name}": tensor.detach().contiguous().clone()
        for group, members in groups.items()
        for name, tensor in members.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as part:
        save_file(tensors, part)
    write_whole(path.with_suffix(".json"), json.dumps(meta, indent=2) + "\n")


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file or its JSON is missing or broken.
    """
    meta_path = path.with_suffix(".json")
    for needed in (path, meta_path):
        if not needed.is_file():
            raise CheckpointError(
                f"found no {needed}, expected a checkpoint of `python -m training.train`: "
                "run it, or give the path of an existing `.safetensors`"
            )
    try:
        return Checkpoint(json.loads(meta_path.read_text(encoding="utf-8")), load_file(path))
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}): it is truncated or not a checkpoint; "
            "train again with `--resume` from an older one"
        ) from error


def load_network(path: Path) -> tuple[DualTalker, Checkpoint]:
    """Rebuild the network of a checkpoint, with its averaged weights, in eval mode.

    Raises:
        CheckpointError: the tensors do not fit the network that the JSON describes.
    """
    checkpoint = load_checkpoint(path)
    network = build_network(checkpoint.meta["description"])
    try:
        network.load_state_dict(checkpoint.group("ema"))
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the network it describes: {error}") from error
    return network.eval(), checkpoint


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Flatten the optimizer's state into named tensors."""
    return {
        f"{index}.{key}": torch.as_tensor(value)
        for index, slots in optimizer.state_dict()["state"].items()
        for key, value in slots.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors` on a fresh optimizer over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def starting_point_of(bundle: Path) -> Path:
    """Return where the starting point of a bundle lies."""
    return bundle.with_suffix(".training.safetensors")


def find_starting_point(model: Path) -> Path:
    """Return the checkpoint to start from: `model` itself, or what lies beside a bundle.

    Raises:
        CheckpointError: nothing lies beside the bundle.
    """
    if model.suffix != ".onnx":
        return model
    path = starting_point_of(model)
    if not path.is_file():
        raise CheckpointError(
            f"{model} is folded for speed and cannot be trained; found no {path.name} beside it. "
            "Give the checkpoint it was exported from, or make that file with "
            f"`python -m training.pack CHECKPOINT {model}`"
        )
    return path
