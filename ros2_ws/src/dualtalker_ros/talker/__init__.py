"""The parts of the talker node: what it can be told, what it hears, sends and says of itself."""

from __future__ import annotations

from dualtalker_ros.talker.audio_info import AudioInfoListener
from dualtalker_ros.talker.diagnostics import Diagnostician
from dualtalker_ros.talker.executors import KeptExecutor, make_executor
from dualtalker_ros.talker.mood import MoodListener
from dualtalker_ros.talker.node_clock import NodeClock
from dualtalker_ros.talker.parameters import (
    LIFE_PARAMETERS,
    MANNER_PARAMETERS,
    TALKER_PARAMETERS,
    TIMING_PARAMETERS,
    LiveParameters,
    read_options,
    read_timing,
)
from dualtalker_ros.talker.publishers import FacePublishers, open_rig
from dualtalker_ros.talker.services import Controls, StyleControl

__all__ = [
    "LIFE_PARAMETERS",
    "MANNER_PARAMETERS",
    "TALKER_PARAMETERS",
    "TIMING_PARAMETERS",
    "AudioInfoListener",
    "Controls",
    "Diagnostician",
    "FacePublishers",
    "KeptExecutor",
    "LiveParameters",
    "MoodListener",
    "NodeClock",
    "StyleControl",
    "make_executor",
    "open_rig",
    "read_options",
    "read_timing",
]
