"""Rosbags without ROS: reading, writing, replay and evaluation."""

from __future__ import annotations

from dualtalker.bags.audio import ChunkTimes, GivenFormat, find_audio_topic, find_info_topic
from dualtalker.bags.evaluation import REPLAY, BagEvaluation, BagOptions, evaluate_bag
from dualtalker.bags.faces import REFERENCE_ENDING
from dualtalker.bags.live_run import Timing, measure_timing
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
    "Timing",
    "describe",
    "evaluate_bag",
    "find_audio_topic",
    "find_info_topic",
    "find_types",
    "import_rosbags",
    "measure_timing",
    "write_bag",
    "write_bag_report",
    "write_comparison",
]
