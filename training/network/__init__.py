"""The dual network, its parts and its losses."""

from __future__ import annotations

from training.network.decoders import GATE_GAIN, GATE_TAPS
from training.network.dualtalker import DualTalker, HeadPlan, Prediction, let_learn
from training.network.encoders import LogMel, mel_filters
from training.network.folded import FoldedTalker
from training.network.losses import contrast_instants, masked_mean, motion_loss
from training.network.priors import (
    Priors,
    assign_units,
    fit_bigram,
    fit_motion_prior,
    fit_units,
    measure_scales,
    score_motion,
    score_units,
)
from training.network.streaming import StreamingTalker, WindowTalker
from training.network.utterances import PIECE_STEPS, animate_pieces
from training.network.vertex_heads import ARKIT, VertexHead, fit_basis, measure_lips, project
from training.network.wav2vec2 import Wav2Vec2Encoder

__all__ = [
    "ARKIT",
    "GATE_GAIN",
    "GATE_TAPS",
    "PIECE_STEPS",
    "DualTalker",
    "FoldedTalker",
    "HeadPlan",
    "LogMel",
    "Prediction",
    "Priors",
    "StreamingTalker",
    "VertexHead",
    "Wav2Vec2Encoder",
    "WindowTalker",
    "animate_pieces",
    "assign_units",
    "contrast_instants",
    "fit_basis",
    "fit_bigram",
    "fit_motion_prior",
    "fit_units",
    "let_learn",
    "masked_mean",
    "measure_lips",
    "measure_scales",
    "mel_filters",
    "motion_loss",
    "project",
    "score_motion",
    "score_units",
]
