"""Checkpoints of a training run: safetensors for tensors, JSON for everything else. No pickle."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from msgspec import Meta
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import DualtalkerError
from dualtalker.files import read_json, sha256_of_file, written_together
from training.configs import NetworkConfig, from_plain, to_plain
from training.network import DualTalker, HeadPlan, Wav2Vec2Encoder


class CheckpointError(DualtalkerError):
    """A checkpoint is missing, broken or of another network."""


MAX_JSON_BYTES = 1 << 24
DIGEST_KEY = "tensors_sha256"  # absent from checkpoints of earlier versions

# What numbers of a checkpoint's network may be; sizes beyond are mistakes or attacks.
_RANGES: dict[str, tuple[float, float]] = {
    "sample_rate_hz": (8000, 192000),
    "hop_samples": (1, 192000),
    "lookahead_samples": (1, 1920000),
    "mel_window_samples": (1, 2048),
    "mel_hop_samples": (1, 2048),
    "mel_bands": (1, 1024),
    "channels": (1, 8192),
    "encoder_dilations": (1, 1024),
    "decoder_dilations": (1, 1024),
    "motion_dilations": (1, 1024),
    "kernel": (1, 255),
    "expansion": (1, 16),
    "motion_channels": (1, 8192),
    "joint_channels": (1, 8192),
    "units": (1, 65536),
    "dropout": (0, 1),
}
MAX_BLOCKS = 64
_LARGEST = 65536  # number in a wav2vec2 architecture
_Size = Annotated[int, Meta(ge=1, le=1 << 24)]
_Names = Annotated[tuple[str, ...], Meta(max_length=4096)]


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON of a `HeadPlan`."""

    name: Annotated[str, Meta(pattern=r"^\w[\w-]*\Z", max_length=200)]  # of a module, too
    rank: _Size
    vertices: _Size
    lips: Annotated[int, Meta(ge=0, le=1 << 24)]
    styles: Annotated[int, Meta(ge=0, le=4096)]


_Plain = bool | int | float | str | None


class _Description(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON of `describe_network`."""

    network: dict[str, Any]
    active: Annotated[tuple[bool, ...], Meta(min_length=52, max_length=52)]
    styles: _Names
    phones: _Names
    heads: Annotated[tuple[_Head, ...], Meta(max_length=64)] = ()
    architecture: dict[str, _Plain | list[_Plain] | dict[str, Any]] | None = None
    characters: str | None = None  # the alphabet of a lip-reading target that is gone


class _Told(msgspec.Struct):
    """What readers of a checkpoint's JSON rely on; it may say more."""

    description: _Description
    config: dict[str, Any]
    data: list[dict[str, Any]]
    step: Annotated[int, Meta(ge=0, le=1 << 53)]
    early_stop: dict[str, int | float | None] = {}
    began_as: dict[str, Any] = {}


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
    """Build a network from `describe_network` output; no hub is asked for anything.

    Raises:
        ValueError: it describes no network that this version can build.
    """
    # Checkpoints that name no contacts are from when there was a single gate.
    plain = {"contacts": ["bilabial"], **description["network"]}
    config = from_plain(NetworkConfig, plain)
    architecture = description.get("architecture")
    if config.encoder.kind == "wav2vec2" and not architecture:
        raise ValueError("a wav2vec2 encoder without its `architecture`, which a checkpoint holds")
    return DualTalker(
        config,
        description["active"],
        description["styles"],
        description["phones"],
        [HeadPlan(**plan) for plan in description.get("heads", [])],
        architecture,
    )


def _check_sizes(description: dict[str, Any]) -> None:
    """Raise ValueError where a number is out of its range."""
    config = from_plain(NetworkConfig, description["network"])
    for name, (low, high) in _RANGES.items():
        value = getattr(config, name)
        values = value if isinstance(value, tuple) else (value,)
        if len(values) > MAX_BLOCKS or not all(low <= v <= high for v in values):
            raise ValueError(f"network.{name} is {value!r}, expected {low} to {high}")
    for name, found in (description.get("architecture") or {}).items():
        items = found if isinstance(found, list) else [found]
        numbers = [v for v in items if isinstance(v, (int, float))]
        if len(items) > MAX_BLOCKS or not all(abs(v) <= _LARGEST for v in numbers):
            raise ValueError(f"architecture.{name} is too large")


def _check_fit(description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Raise ValueError or RuntimeError where a network of these sizes holds other tensors.

    Nothing of these sizes is made: what a checkpoint claims may be more than there is memory.
    """
    with torch.device("meta"):
        wanted = build_network(description).state_dict()
    for name in sorted(set(wanted) | set(tensors)):
        found, expected = (
            list(t.shape) if (t := group.get(name)) is not None else None
            for group in (tensors, wanted)
        )
        if found != expected:
            raise ValueError(f"{name} is {found}, expected {expected}")


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
    """Write `path` (.safetensors) and its JSON, whole or not at all; tensors first.

    The JSON holds the digest of the tensors: files of two checkpoints are told apart.
    """
    tensors = {
        f"{group}.{name}": tensor.detach().contiguous().clone()
        for group, members in groups.items()
        for name, tensor in members.items()
    }
    meta_path = path.with_suffix(".json")
    with written_together(path, meta_path) as folder:
        save_file(tensors, folder / path.name)
        meta = {**meta, DIGEST_KEY: sha256_of_file(folder / path.name)}
        (folder / meta_path.name).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")


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
        meta = read_json(meta_path, MAX_JSON_BYTES)
        msgspec.convert(meta, _Told)
        _check_sizes(meta["description"])
    except (ValueError, msgspec.DecodeError) as error:
        raise CheckpointError(
            f"{meta_path} is not the JSON of a checkpoint of this version ({error}); give the "
            "one that was written with it, or train again"
        ) from error
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}): it is truncated or not a checkpoint; "
            "train again with `--resume` from an older one"
        ) from error
    if meta.get(DIGEST_KEY) not in (None, sha256_of_file(path)):
        raise CheckpointError(
            f"{meta_path} is not of {path.name}: its {DIGEST_KEY} is of other tensors; copy both "
            "again from one place, or give another checkpoint of that training"
        )
    return Checkpoint(meta, tensors)


def load_network(path: Path) -> tuple[DualTalker, Checkpoint]:
    """Rebuild the network of a checkpoint, with its averaged weights, in eval mode.

    Raises:
        CheckpointError: the tensors do not fit the network that the JSON describes.
    """
    checkpoint = load_checkpoint(path)
    description, weights = checkpoint.meta["description"], checkpoint.group("ema")
    gains = torch.ones(len(description["styles"]), len(ARKIT_NAMES))
    weights.setdefault("animation.gains", gains)  # checkpoints before there were gains
    try:
        _check_fit(description, weights)
        network = build_network(description)
        network.load_state_dict(weights)
    except Exception as error:
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


def strip_folders(config: dict[str, Any]) -> dict[str, Any]:
    """Return a training config with the names of its folders alone: what is published tells no
    paths.
    """
    data = {**config["data"], "corpus": [Path(p).name for p in config["data"]["corpus"]]}
    stripped = {**config, "out": Path(config["out"]).name, "data": data}
    if config.get("start_from"):
        stripped["start_from"] = Path(config["start_from"]).name
    return stripped


def strip_origin(meta: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a training, and what is told of those that it began with."""
    told: dict[str, Any] = {"config": strip_folders(meta["config"])}
    if "began_as" in meta:
        before = meta["began_as"]
        told["began_as"] = {**before, **strip_origin(before)}
    return told


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
