"""What happens to a pose after the model: limits, smoothing, manner, idle and speaking life."""

from __future__ import annotations

from dualtalker.face.finishing import FaceFinisher, Smoother
from dualtalker.face.idle import check_seed
from dualtalker.face.manner import Manner, scale_speech
from dualtalker.face.prosody import Cue, ProsodyTracker
from dualtalker.face.speaking import SpeakingLife, make_life

__all__ = [
    "Cue",
    "FaceFinisher",
    "Manner",
    "ProsodyTracker",
    "Smoother",
    "SpeakingLife",
    "check_seed",
    "make_life",
    "scale_speech",
]
