"""Types of messages found at run time, subscriptions, audio in and out, diagnostics."""

from __future__ import annotations

from dualtalker_ros.topics.audio_input import (
    FORMAT_PARAMETERS,
    INFO_TOPIC,
    INPUT_PARAMETERS,
    AudioInput,
    read_format,
)
from dualtalker_ros.topics.diagnostics import Growth, judge_growth, make_diagnostics
from dualtalker_ros.topics.faces import FaceReader
from dualtalker_ros.topics.frames import PointTransformer
from dualtalker_ros.topics.outgoing_audio import fill_message
from dualtalker_ros.topics.phones import PhoneInput
from dualtalker_ros.topics.servo_commands import ServoCommands
from dualtalker_ros.topics.subscriptions import OfferedSubscription
from dualtalker_ros.topics.types import find_type, import_type, wait_for_listeners

__all__ = [
    "FORMAT_PARAMETERS",
    "INFO_TOPIC",
    "INPUT_PARAMETERS",
    "AudioInput",
    "FaceReader",
    "Growth",
    "OfferedSubscription",
    "PhoneInput",
    "PointTransformer",
    "ServoCommands",
    "fill_message",
    "find_type",
    "import_type",
    "judge_growth",
    "make_diagnostics",
    "read_format",
    "wait_for_listeners",
]
