"""One training run: batches, objective, steps, validation, checkpoints."""

from __future__ import annotations

from training.learning.batches import Batch
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
    strip_origin,
)
from training.learning.distributed import Place, choose_device, find_place
from training.learning.loop import CURVE_NAME, read_curve, train
from training.learning.mesh_data import name_head, name_style, resample
from training.learning.objective import Objective
from training.learning.presets import parse_config
from training.learning.run import Run, make_batches, prepare, repeat_exactly, save
from training.learning.step import take_step
from training.learning.validation import move_mesh, pose_mesh, validate

__all__ = [
    "CURVE_NAME",
    "Batch",
    "CheckpointError",
    "Objective",
    "Place",
    "Run",
    "build_network",
    "choose_device",
    "complete_description",
    "describe_network",
    "find_commit",
    "find_place",
    "find_starting_point",
    "load_checkpoint",
    "load_network",
    "make_batches",
    "move_mesh",
    "name_head",
    "name_style",
    "parse_config",
    "pose_mesh",
    "prepare",
    "read_curve",
    "repeat_exactly",
    "resample",
    "save",
    "save_checkpoint",
    "starting_point_of",
    "strip_origin",
    "take_step",
    "train",
    "validate",
]
