"""One training run: batches, objective, steps, validation, checkpoints."""

from __future__ import annotations

from training.learning.batches import Batch, BatchMaker
from training.learning.checkpoints import (
    CheckpointError,
    build_network,
    complete_description,
    describe_network,
    find_commit,
    find_starting_point,
    load_checkpoint,
    load_network,
    save_checkpoint,
    starting_point_of,
)
from training.learning.distributed import (
    Place,
    add_up,
    choose_device,
    find_place,
    join_group,
    wrap,
)
from training.learning.loop import train
from training.learning.mesh_data import name_head, name_style, resample
from training.learning.objective import Objective
from training.learning.presets import parse_config
from training.learning.run import Run, find_newest, prepare, restore, save
from training.learning.schedules import EarlyStop, rate_at
from training.learning.step import take_step
from training.learning.validation import move_mesh, pose_mesh, validate, validate_meshes

__all__ = [
    "Batch",
    "BatchMaker",
    "CheckpointError",
    "EarlyStop",
    "Objective",
    "Place",
    "Run",
    "add_up",
    "build_network",
    "choose_device",
    "complete_description",
    "describe_network",
    "find_commit",
    "find_newest",
    "find_place",
    "find_starting_point",
    "join_group",
    "load_checkpoint",
    "load_network",
    "move_mesh",
    "name_head",
    "name_style",
    "parse_config",
    "pose_mesh",
    "prepare",
    "rate_at",
    "resample",
    "restore",
    "save",
    "save_checkpoint",
    "starting_point_of",
    "take_step",
    "train",
    "validate",
    "validate_meshes",
    "wrap",
]
