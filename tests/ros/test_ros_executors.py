"""Either executor serves a talker: it hears speech and ends well."""

from __future__ import annotations

import array

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX
from ros_processes import running

pytestmark = pytest.mark.usefixtures("ros")


@pytest.mark.parametrize("executor", ["single", "events"])
def test_it_hears_speech(listener, tiny, tmp_path, executor):
    if executor == "events":
        pytest.importorskip("rclpy.experimental", reason="this rclpy has no EventsExecutor")
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Int16MultiArray

    faces = listener.hear(JointState, f"/{executor}/blendshapes")
    audio = listener.node.create_publisher(Int16MultiArray, f"/{executor}/audio", 10)
    noise = np.random.default_rng(0).uniform(-0.8, 0.8, 16000) * 32767
    message = Int16MultiArray(data=array.array("h", noise.astype(np.int16).tobytes()))
    log = tmp_path / "node.log"
    with running(
        "talker_node", log, [f"__ns:=/{executor}"], model=tiny, executor=executor
    ) as process:
        listener.meet(audio)
        audio.publish(message)
        jaw = ARKIT_INDEX["jawOpen"]
        listener.spin_until(lambda: any(m.position[jaw] > 0.1 for _, m in faces))
        assert process.poll() is None, log.read_text()
    assert f"executor: {executor}" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_frame_is_one_wait(ros_domain, tiny):
    """A timer that is set at each frame would wake the executor for nothing as often."""
    import rclpy
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter

    from dualtalker_ros.nodes.talker_node import TalkerNode
    from dualtalker_ros.talker import KeptExecutor

    rclpy.init()
    overrides = [Parameter("model", value=str(tiny)), Parameter("frame_rate", value=60.0)]
    overrides.append(Parameter("audio_type", value="std_msgs/msg/Int16MultiArray"))
    node = TalkerNode(parameter_overrides=overrides)
    executor = KeptExecutor()
    executor.add_node(node)
    try:
        for transition in (node.trigger_configure, node.trigger_activate):
            assert transition() == TransitionCallbackReturn.SUCCESS
        for _ in range(40):  # what starting brings
            executor.spin_once(timeout_sec=1.0)
        before = node._published
        for _ in range(120):
            executor.spin_once(timeout_sec=1.0)
        # Of the rest some are the diagnostics', and some came when the machine was busy.
        assert node._published - before >= 100
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown()
