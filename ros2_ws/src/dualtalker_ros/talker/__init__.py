"""The parts of the talker node."""

from __future__ import annotations

from dualtalker_ros.talker.audio_info import TOPIC, AudioInfoListener
from dualtalker_ros.talker.diagnostics import Diagnostician, Threshold, Thresholds
from dualtalker_ros.talker.node_clock import NodeClock
from dualtalker_ros.talker.parameters import TALKER_PARAMETERS, LiveParameters, read_options
from dualtalker_ros.talker.publishers import FacePublishers, open_rig
from dualtalker_ros.talker.services import MANNER_PARAMETERS, Controls, StyleControl

__all__ = [
    "MANNER_PARAMETERS",
    "TALKER_PARAMETERS",
    "TOPIC",
    "AudioInfoListener",
    "Controls",
    "Diagnostician",
    "FacePublishers",
    "LiveParameters",
    "NodeClock",
    "StyleControl",
    "Threshold",
    "Thresholds",
    "open_rig",
    "read_options",
]
