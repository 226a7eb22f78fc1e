"""What happens to a pose after the model: limits, smoothing, manner, idle and speaking life."""

from __future__ import annotations

from dualtalker.face.contacts import (
    FUNNEL,
    JAW_OPEN,
    JAW_RISE,
    LIP_RISE,
    MOUTH_CLOSE,
    PUCKER,
    ROUNDING,
    UNBITTEN,
    UNSHUT,
    round_lips,
    touch_lips,
)
from dualtalker.face.expression import (
    EXPRESSIONS,
    Expression,
    ExpressionLayer,
    pose_expression,
)
from dualtalker.face.finishing import FaceFinisher, Smoother, smoothstep
from dualtalker.face.gaze import GazeLayer, direction_of
from dualtalker.face.idle import check_seed
from dualtalker.face.manner import Manner, scale_speech
from dualtalker.face.prosody import Cue, ProsodyTracker
from dualtalker.face.speaking import SpeakingLife, make_life

__all__ = [
    "EXPRESSIONS",
    "FUNNEL",
    "JAW_OPEN",
    "JAW_RISE",
    "LIP_RISE",
    "MOUTH_CLOSE",
    "PUCKER",
    "ROUNDING",
    "UNBITTEN",
    "UNSHUT",
    "Cue",
    "Expression",
    "ExpressionLayer",
    "FaceFinisher",
    "GazeLayer",
    "Manner",
    "ProsodyTracker",
    "Smoother",
    "SpeakingLife",
    "check_seed",
    "direction_of",
    "make_life",
    "pose_expression",
    "round_lips",
    "scale_speech",
    "smoothstep",
    "touch_lips",
]
