"""Rosbags without ROS: reading, writing, replay and evaluation."""

from __future__ import annotations

from dualtalker.bags.audio import (
    ChunkTimes,
    GivenFormat,
    find_audio_topic,
    find_info_topic,
    find_phones_topic,
    read_bag_audio,
)
from dualtalker.bags.evaluation import (
    REPLAY,
    BagEvaluation,
    BagOptions,
    evaluate_bag,
    hold_frames,
)
from dualtalker.bags.faces import REFERENCE_ENDING, find_run, read_faces, read_statuses
from dualtalker.bags.live_run import measure_timing, place_run, trace_run
from dualtalker.bags.reading import Bag, BagMessage
from dualtalker.bags.replay import ReplaySettings
from dualtalker.bags.report import describe, write_bag_report, write_comparison
from dualtalker.bags.types import find_types, import_rosbags
from dualtalker.bags.writing import BAG_VERSION, REFERENCE_TOPIC, Motion, write_bag

__all__ = [
    "BAG_VERSION",
    "REFERENCE_ENDING",
    "REFERENCE_TOPIC",
    "REPLAY",
    "Bag",
    "BagEvaluation",
    "BagMessage",
    "BagOptions",
    "ChunkTimes",
    "GivenFormat",
    "Motion",
    "ReplaySettings",
    "describe",
    "evaluate_bag",
    "find_audio_topic",
    "find_info_topic",
    "find_phones_topic",
    "find_run",
    "find_types",
    "hold_frames",
    "import_rosbags",
    "measure_timing",
    "place_run",
    "read_bag_audio",
    "read_faces",
    "read_statuses",
    "trace_run",
    "write_bag",
    "write_bag_report",
    "write_comparison",
]
