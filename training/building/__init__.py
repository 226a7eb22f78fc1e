"""The shipped model's recipe, and what runs it stage by stage."""

from __future__ import annotations

from training.building.recipe import FOLDERS, MODEL_NAME, BuildConfig, plan_stages
from training.building.stages import BuildError, Stage, digest_path, run_stage

__all__ = [
    "FOLDERS",
    "MODEL_NAME",
    "BuildConfig",
    "BuildError",
    "Stage",
    "digest_path",
    "plan_stages",
    "run_stage",
]
