"""The talker on the oldest ROS 2 that it promises to run on, whose rclpy has less."""

from __future__ import annotations

import subprocess
import sys

import pytest

from checkout import ROOT
from ros_processes import TIMEOUT_S, command_of
from ros_stage import AUDIO_TYPE, Stage
from ros_troupe import Process, interrupt_all

HUMBLE = ROOT / "tests" / "stand_ins" / "humble_rclpy.py"

pytestmark = pytest.mark.usefixtures("ros")


def test_a_talker_speaks_and_takes_live_parameters(listener, tiny, tmp_path):
    parameters = {"model": tiny, "audio_type": AUDIO_TYPE, "idle_motion": False}
    command = command_of("talker_node", ["__ns:=/humble"], executor="auto", **parameters)
    process = Process([command[0], str(HUMBLE), *command[1:]], tmp_path / "node.log")
    try:
        stage = Stage(listener, "/humble", process)
        stage.await_listening()
        assert "executor: single" in process.text()
        for intensity, moves in ((1.0, True), (0.0, False), (1.0, True)):
            assert stage.set(intensity=intensity) == []
            stage.faces.clear()
            stage.burst(1.0)
            if moves:
                stage.listener.spin_until(lambda: stage.jaw().max(initial=0.0) > 0.1)
                stage.hear_shut()
            else:
                count = int(stage.status()[2]["frames"])
                spoken = count + 45
                stage.listener.spin_until(lambda n=spoken: int(stage.status()[2]["frames"]) > n)
                assert stage.jaw().max() < 0.02
        assert "intensity" in stage.set(intensity=9.0)[0]
        assert "clean up the node first" in stage.set(frame_rate=60.0)[0]
        assert interrupt_all([process]) == {"node": 0}
        assert "Traceback" not in process.text()
    finally:
        process.close()


def test_the_stand_in_lacks_what_humble_lacks(ros_domain):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import humble_rclpy\n"
        "humble_rclpy.make_old()\n"
        "import rclpy; from rclpy.node import Node\n"
        "from std_msgs.msg import Empty\n"
        "assert not hasattr(Node, 'add_post_set_parameters_callback')\n"
        "rclpy.init(); node = Node('old')\n"
        "node.create_subscription(Empty, 'a', lambda message: None, 1)\n"
        "node.create_subscription(Empty, 'b', lambda message, info: None, 1)\n"
    )
    command = [sys.executable, "-c", program, str(HUMBLE.parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 1
    assert "TypeError: missing a required argument: 'info'" in done.stderr
