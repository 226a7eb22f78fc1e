"""Several processes that learn as one, under `torchrun` or `accelerate launch`.

    torchrun --nproc-per-node 2 -m training.train --accumulate 2 ...

Both launchers tell each process its place through the environment; nothing here launches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Place:
    """Which of how many processes this is."""

    rank: int = 0
    """Number of this process, 0 for the one that writes files."""
    size: int = 1
    """Number of processes."""
    local_rank: int = 0
    """Number of this process on its machine: its GPU."""

    @property
    def leads(self) -> bool:
        """True for the process that writes files and prints."""
        return self.rank == 0


def find_place() -> Place:
    """Read this process' place from the launcher's environment; one alone without a launcher.

    Raises:
        ValueError: the environment is incomplete.
    """
    if "RANK" not in os.environ and "WORLD_SIZE" not in os.environ:
        return Place()
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError) as error:
        raise ValueError(
            "RANK and WORLD_SIZE must both be numbers in the environment; start with "
            "`torchrun --nproc-per-node N -m training.train ...`"
        ) from error
    return Place(rank, size, int(os.environ.get("LOCAL_RANK", rank)))


def choose_device(name: str, place: Place) -> torch.device:
    """Return the device that `device` means for this process.

    Raises:
        ValueError: it asks for CUDA where there is none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and place.size > 1:
        name = f"cuda:{place.local_rank}"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but torch finds no GPU; give --device cpu")
    return device


@contextmanager
def join_group(place: Place, device: torch.device) -> Iterator[None]:
    """Join the other processes for the time of the block: NCCL on GPUs, gloo on CPUs."""
    if place.size == 1:
        yield
        return
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def share_out(count: int, place: Place) -> range:
    """Return which of `count` micro-batches are this process' own.

    Raises:
        ValueError: they cannot be shared out evenly.
    """
    if count % place.size:
        raise ValueError(
            f"accumulate is {count}, which {place.size} processes cannot share evenly: give "
            f"--accumulate {-(-count // place.size) * place.size} (and a smaller --data.batch, "
            "as a step's segments are their product)"
        )
    return range(place.rank, count, place.size)


def wrap(module: nn.Module, place: Place) -> nn.Module:
    """Return the module as DDP wraps it; alone, as it is.

    Which parameters a step uses depends on its heads and on which terms are switched on yet.
    """
    if place.size == 1:
        return module
    return nn.parallel.DistributedDataParallel(module, find_unused_parameters=True)


def add_up(values: Tensor, place: Place) -> Tensor:
    """Return the sum of a tensor over all processes."""
    if place.size > 1:
        torch.distributed.all_reduce(values)
    return values
