"""Transitions of the talker that raise: they are told, undone, and can be tried again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ros_processes import TIMEOUT_S, command_of

pytestmark = pytest.mark.usefixtures("ros_domain")

# Raises once in the function that is named, tries again, and prints the states that it is in.
PROGRAM = """
import sys
import rclpy
from dualtalker_ros.nodes import talker_node

def fail_once(*arguments):
    setattr(owner, name, original)
    raise KeyError("of nobody")

owner = getattr(talker_node, sys.argv[1]) if sys.argv[1] else talker_node
name, transition = sys.argv[2:4]
original = getattr(owner, name)
rclpy.init(args=sys.argv)
node = talker_node.TalkerNode()
if transition == "trigger_activate":
    print(node.trigger_configure().name, node._stage())
setattr(owner, name, fail_once)
print(getattr(node, transition)().name, node._stage(), len(list(node.publishers)))
print(node.trigger_configure().name, node.trigger_activate().name, node._stage())
print(node.trigger_deactivate().name, node.trigger_cleanup().name, len(list(node.publishers)))
print(node.trigger_shutdown().name)
"""


@pytest.mark.parametrize(
    ("owner", "name", "transition"),
    [
        ("", "FacePublishers", "trigger_configure"),
        ("", "Controls", "trigger_configure"),
        ("AudioInput", "_subscribe", "trigger_activate"),
    ],
)
def test_it_is_undone_and_told(tiny, owner, name, transition):
    options = command_of("talker_node", model=tiny, audio_type="std_msgs/msg/Int8MultiArray")[3:]
    command = [sys.executable, "-c", PROGRAM, owner, name, transition, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    method = transition.replace("trigger", "on")
    assert f"{method} failed" in done.stderr and "KeyError: 'of nobody'" in done.stderr
    *before, failed, again, end, last = done.stdout.splitlines()
    if transition == "trigger_activate":
        assert before == ["SUCCESS inactive"]
    result, stage, publishers = failed.split()
    assert (result, stage) == ("ERROR", "unconfigured")
    assert again == "SUCCESS SUCCESS active"
    assert end == f"SUCCESS SUCCESS {publishers}", "a failed transition leaves nothing behind"
    assert last == "SUCCESS"
