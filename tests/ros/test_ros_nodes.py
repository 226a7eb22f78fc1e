"""How nodes begin and end: parameters, lifecycle, signals, and errors that say what to do."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time

import pytest

from checkout import ROOT
from ros_processes import TIMEOUT_S, command_of, running

pytestmark = pytest.mark.usefixtures("ros")


@pytest.fixture(scope="module")
def node(ros_domain):
    """A talker in this process, unconfigured."""
    import rclpy

    from dualtalker_ros.nodes.talker_node import TalkerNode

    rclpy.init(args=["--ros-args", "-p", "autostart:=false"])
    node = TalkerNode()
    yield node
    node.destroy_node()
    rclpy.shutdown()


def read_yaml():
    import yaml

    document = yaml.safe_load((ROOT / "config" / "talker.yaml").read_text("utf-8"))
    return document["/**"]["ros__parameters"]


# Parameters that every ROS node has.
ROS_OWN = re.compile(r"use_sim_time|start_type_description_service|qos_overrides\..*")


def test_yaml_and_declarations_agree_both_ways(node):
    from dualtalker_ros.talker import TALKER_PARAMETERS

    declared = {parameter.name: parameter.default for parameter in TALKER_PARAMETERS}
    assert read_yaml() == declared
    assert all(type(read_yaml()[name]) is type(value) for name, value in declared.items())
    on_node = {name for name in node._parameters if not ROS_OWN.fullmatch(name)}
    assert on_node == set(declared)


def test_every_parameter_says_what_it_is(node):
    from dualtalker_ros.talker import TALKER_PARAMETERS

    for parameter in TALKER_PARAMETERS:
        descriptor = node.describe_parameter(parameter.name)
        assert descriptor.description
        if isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool):
            ranges = [*descriptor.floating_point_range, *descriptor.integer_range]
            assert len(ranges) == 1
            assert ranges[0].from_value <= parameter.default <= ranges[0].to_value
    assert node.describe_parameter("autostart").read_only


def test_values_out_of_range_are_refused(node):
    from rclpy.parameter import Parameter

    for name, value in (("frame_rate", 0.5), ("frame_rate", 240.0), ("channels", 0)):
        assert not node.set_parameters([Parameter(name, value=value)])[0].successful


def test_api_page_lists_every_parameter_and_topic():
    page = (ROOT / "docs" / "ros_api.md").read_text("utf-8")
    for name in (*read_yaml(), "audio", "blendshapes", "mouth_open", "/diagnostics"):
        assert f"`{name}`" in page, name


def test_lifecycle_there_and_back(listener, tiny, tmp_path):
    """Without autostart nothing is published until activation; each step can be undone."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState
    from sensor_msgs.msg import JointState

    faces = listener.hear(JointState, "/staged/blendshapes")
    client = listener.node.create_client(ChangeState, "/staged/talker/change_state")

    def change(transition):
        request = ChangeState.Request(transition=Transition(id=transition))
        future = client.call_async(request)
        listener.spin_until(future.done)
        assert future.result().success

    log = tmp_path / "node.log"
    with running("talker_node", log, ["__ns:=/staged"], model=tiny, autostart=False):
        listener.spin_until(client.service_is_ready)
        change(Transition.TRANSITION_CONFIGURE)
        listener.spin(0.5)
        assert not faces
        change(Transition.TRANSITION_ACTIVATE)
        listener.spin_until(lambda: len(faces) > 10)
        change(Transition.TRANSITION_DEACTIVATE)
        listener.spin(0.3)
        faces.clear()
        listener.spin(0.3)
        assert not faces
        change(Transition.TRANSITION_CLEANUP)


def test_sigterm_ends_the_talker_well(ros_domain, tiny, tmp_path):
    """As SIGINT does, with which all other tests end it."""
    log = tmp_path / "node.log"
    with running("talker_node", log, model=tiny) as process:
        deadline = time.monotonic() + TIMEOUT_S
        while b"delivery" not in log.read_bytes() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT_S)
    assert b"Traceback" not in log.read_bytes()


STARTING = """
import os, rclpy
from dualtalker_ros.processes import ros_running
with ros_running(None):
    os.kill(os.getpid(), {number})
    rclpy.create_node("late")
    print("made")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_during_the_start_are_no_error(ros_domain, number):
    command = [sys.executable, "-c", STARTING.format(number=int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


RECORDING = """
import os, signal, sys
from dualtalker_ros.nodes.recorder_node import RecorderNode
from dualtalker_ros.processes import run_node
name = "{interrupted}"
interrupted = getattr(RecorderNode, name)
def interrupt(node):
    interrupted(node)
    os.kill(os.getpid(), signal.SIGINT)
setattr(RecorderNode, name, interrupt)
sys.exit(run_node("recorder", RecorderNode, RecorderNode.record, None, takes="output"))
"""


@pytest.mark.parametrize(("interrupted", "exists"), [("__init__", False), ("_open", True)])
def test_a_signal_during_a_recorders_start_leaves_no_half_a_bag(
    ros_domain, tmp_path, interrupted, exists
):
    bag = tmp_path / "bag"
    command = [sys.executable, "-c", RECORDING.format(interrupted=interrupted), str(bag)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert bag.exists() == (bag / "metadata.yaml").exists() == exists


@pytest.mark.parametrize(
    ("module", "parameters", "says"),
    [
        ("talker_node", {"model": "/no/such/model.onnx"}, "model.onnx"),
        ("talker_node", {"delivery": "slow"}, "paced, immediate"),
        ("talker_node", {"engine": "abacus"}, "abacus"),
        ("talker_node", {"audio_type": "audio_common_msgs/msg/AudioData"}, "install the ROS"),
        ("wav_publisher_node", {"file": "/no/such/file.wav"}, "no such file"),
        ("recorder_node", {"output": "/tmp"}, "choose another"),
        ("recorder_node", {"output": "/proc/self/bag"}, "/proc/self/bag"),
    ],
)
def test_errors_name_the_cause_and_end_with_1(ros_domain, tiny, module, parameters, says):
    if module == "talker_node":
        parameters = {"model": tiny, **parameters}
    done = subprocess.run(
        command_of(module, **parameters), capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 1
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_publisher_without_a_subscriber_gives_up(ros_domain, tmp_path):
    import numpy as np
    import soundfile

    wav = tmp_path / "tone.wav"
    soundfile.write(wav, np.zeros(1600), 16000)
    done = subprocess.run(
        command_of("wav_publisher_node", ["audio:=/nobody"], file=wav, wait_s=0.3),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 1
    assert "0 of 1 subscribers" in done.stdout + done.stderr
