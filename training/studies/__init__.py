"""Studies of trained models: ablations, the gallery, gates and contacts."""

from __future__ import annotations

from training.studies.ablation import AblationError, choose_terms, measure_checkpoint, small_run
from training.studies.ablation_table import BASE_VARIANT, VARIANTS, Cell, write_results
from training.studies.gallery_clips import SLOTS, Slot, add_noise, choose_clips, find_window
from training.studies.gallery_failures import (
    MODEL,
    NOISE_SNR_DB,
    SOUNDS,
    Failure,
    find_gap_errors,
    find_misses,
    find_noise_motion,
    find_noisy_speech_error,
    truth_name,
)
from training.studies.gallery_pictures import draw_curves, draw_faces, draw_moment

__all__ = [
    "BASE_VARIANT",
    "MODEL",
    "NOISE_SNR_DB",
    "SLOTS",
    "SOUNDS",
    "VARIANTS",
    "AblationError",
    "Cell",
    "Failure",
    "Slot",
    "add_noise",
    "choose_clips",
    "choose_terms",
    "draw_curves",
    "draw_faces",
    "draw_moment",
    "find_gap_errors",
    "find_misses",
    "find_noise_motion",
    "find_noisy_speech_error",
    "find_window",
    "measure_checkpoint",
    "small_run",
    "truth_name",
    "write_results",
]
