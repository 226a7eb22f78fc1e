"""What the gallery shows: clips, the worst moments, their pictures."""

from __future__ import annotations

from training.studies.gallery.clips import SLOTS, Slot, add_noise, choose_clips, find_window
from training.studies.gallery.failures import (
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
from training.studies.gallery.pictures import draw_curves, draw_faces, draw_moment

__all__ = [
    "MODEL",
    "NOISE_SNR_DB",
    "SLOTS",
    "SOUNDS",
    "Failure",
    "Slot",
    "add_noise",
    "choose_clips",
    "draw_curves",
    "draw_faces",
    "draw_moment",
    "find_gap_errors",
    "find_misses",
    "find_noise_motion",
    "find_noisy_speech_error",
    "find_window",
    "truth_name",
]
