"""Baselines and trials that `training.evaluate` measures a model against."""

from __future__ import annotations

from training.evaluation.baselines import (
    Loudness,
    NearestNeighbor,
    animate_by_loudness,
    find_mean_face,
    measure_full_loudness,
)
from training.evaluation.groups import (
    CAPTURED_MOTION,
    Group,
    bound_labelled,
    list_groups,
    list_headline_figures,
    measure_capture,
    measure_group,
    pick_headlines,
    tabulate_groups,
)
from training.evaluation.held_out import (
    Training,
    draw_training_clips,
    read_held_out,
    read_training,
    to_recording,
)
from training.evaluation.lip_reading import LipReader, read_clips
from training.evaluation.mesh_accuracy import VERTEX_FIGURES, MeshTally, Ruler, find_clip_speech
from training.evaluation.mesh_baselines import Perform, Pose, learn_baselines
from training.evaluation.mesh_pictures import draw_mesh_pictures
from training.evaluation.mesh_reading import UnitReader
from training.evaluation.noises import NOISES, make_noise_at, measure_speech_level
from training.evaluation.trials import (
    SETTLE_S,
    Animate,
    Sweep,
    animate_by_model,
    measure_silence,
    measure_tick_ms,
    sweep_noise,
    sweep_noisy_speech,
)
from training.evaluation.voice_trials import Voices, make_voices, measure_voices

__all__ = [
    "CAPTURED_MOTION",
    "NOISES",
    "SETTLE_S",
    "VERTEX_FIGURES",
    "Animate",
    "Group",
    "LipReader",
    "Loudness",
    "MeshTally",
    "NearestNeighbor",
    "Perform",
    "Pose",
    "Ruler",
    "Sweep",
    "Training",
    "UnitReader",
    "Voices",
    "animate_by_loudness",
    "animate_by_model",
    "bound_labelled",
    "draw_mesh_pictures",
    "draw_training_clips",
    "find_clip_speech",
    "find_mean_face",
    "learn_baselines",
    "list_groups",
    "list_headline_figures",
    "make_noise_at",
    "make_voices",
    "measure_capture",
    "measure_full_loudness",
    "measure_group",
    "measure_silence",
    "measure_speech_level",
    "measure_tick_ms",
    "measure_voices",
    "pick_headlines",
    "read_clips",
    "read_held_out",
    "read_training",
    "sweep_noise",
    "sweep_noisy_speech",
    "tabulate_groups",
    "to_recording",
]
