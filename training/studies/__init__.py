"""Studies of trained models: ablations, gates and contacts."""

from __future__ import annotations

from training.studies.ablation import AblationError, choose_terms, measure_checkpoint, small_run
from training.studies.ablation_table import BASE_VARIANT, VARIANTS, Cell, write_results

__all__ = [
    "BASE_VARIANT",
    "VARIANTS",
    "AblationError",
    "Cell",
    "choose_terms",
    "measure_checkpoint",
    "small_run",
    "write_results",
]
