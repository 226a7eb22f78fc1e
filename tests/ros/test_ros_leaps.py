"""Audio that comes with a leap of simulated time is of the new time: none of it is forgotten."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ros_processes import TIMEOUT_S, command_of

pytestmark = pytest.mark.usefixtures("ros_domain")

# Hears a chunk right after the first time of /clock, and after one that is a minute later; prints
# the time and the begin of the audio as the talker has it, s, and how often it began again.
PROGRAM = """
import sys
import numpy as np
import rclpy
from rclpy.clock import ClockType
from rclpy.time import Time
from dualtalker.audio import AudioChunk
from dualtalker_ros.nodes.talker_node import TalkerNode

rclpy.init(args=sys.argv)
node = TalkerNode()
assert node.trigger_configure().name == node.trigger_activate().name == "SUCCESS"
assert node.get_clock().now().nanoseconds == 0
for now_s in (1000, 1060):
    node.get_clock().set_ros_time_override(Time(seconds=now_s, clock_type=ClockType.ROS_TIME))
    node._hear(AudioChunk(np.full(1600, 0.1, np.float32), 16000, None), 0)
    delivery = node._delivery
    print(now_s, delivery.first_audio_ns / 1e9, delivery.counters["clock_jumps"])
"""


def test_no_audio_is_lost_to_a_leap(tiny):
    kind = "std_msgs/msg/Float32MultiArray"
    options = command_of("talker_node", model=tiny, audio_type=kind, use_sim_time=True)[3:]
    command = [sys.executable, "-c", PROGRAM, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["1000 1000.0 0", "1060 1060.0 1"]
