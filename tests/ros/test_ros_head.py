"""Head motion through the talker node: three more names, and only when asked."""

from __future__ import annotations

import array
import time

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_NAMES, HEAD_NAMES
from ros_processes import running
from spoken_phrases import RATE_HZ, speak_phrases

pytestmark = pytest.mark.usefixtures("ros")


def test_the_head_follows_the_weights(listener, tiny, tmp_path):
    from rosbags.typesys import Stores, get_typestore
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Int16MultiArray

    parameters = {
        "model": tiny,
        "audio_type": "std_msgs/msg/Int16MultiArray",
        "head_motion": True,
    }
    faces = listener.hear(JointState, "blendshapes")
    recorded: list[bytes] = []
    listener.node.create_subscription(JointState, "blendshapes", recorded.append, 10, raw=True)
    audio = listener.node.create_publisher(Int16MultiArray, "audio", 100)
    samples = speak_phrases(3.0).samples
    with running("talker_node", tmp_path / "node.log", **parameters):
        listener.spin_until(lambda: faces)
        listener.meet(audio)
        begun = time.monotonic()
        for first in range(0, len(samples), 1600):
            due_s = begun + first / RATE_HZ
            listener.spin_until(lambda due_s=due_s: time.monotonic() >= due_s, must=False)
            pcm = (samples[first : first + 1600] * 32767).astype(np.int16)
            audio.publish(Int16MultiArray(data=array.array("h", pcm.tobytes())))
        listener.spin(1.0)
    messages = [message for _, message in faces]
    # What a recorder gets is what readers of bags, who take no byte too many, read.
    store = get_typestore(Stores.ROS2_JAZZY)
    told = [store.deserialize_cdr(raw, "sensor_msgs/msg/JointState") for raw in recorded]
    assert len(told) > 50 and all(list(face.name) == list(messages[0].name) for face in told)
    assert all(list(face.name) == [*ARKIT_NAMES, *HEAD_NAMES] for face in messages)
    positions = np.array([face.position for face in messages])
    assert positions.shape[1] == 55
    assert positions[:, :52].min() >= 0 and positions[:, :52].max() <= 1
    head = positions[:, 52:]
    assert 0.005 < np.ptp(head, axis=0).max() and np.abs(head).max() < 0.3
    assert np.abs(np.diff(head, axis=0)).max() < 0.03  # it sways, it does not jump


@pytest.mark.parametrize("frame_id", ["", "head", "links/of/the/head"])
def test_a_message_serialized_once_is_the_message(ros, frame_id):
    """Whatever was put into it before; and readers of bags, which take no byte more, read it."""
    from builtin_interfaces.msg import Time
    from rclpy.serialization import deserialize_message
    from rosbags.typesys import Stores, get_typestore
    from sensor_msgs.msg import JointState

    from dualtalker_ros.talker.publishers import SerializedJoints

    names = [f"joint{'x' * (i % 5)}{i}" for i in range(55)]
    store = get_typestore(Stores.ROS2_JAZZY)
    joints, rng = SerializedJoints(names, frame_id), np.random.default_rng(0)
    for sec, nanosec in ((0, 0), (2**31 - 1, 999_999_999), (1_700_000_000, 5)):
        positions = rng.standard_normal(55).astype(np.float32)
        content = joints.encode(positions, sec * 10**9 + nanosec)
        message = deserialize_message(content, JointState)
        assert message.name == names and message.header.frame_id == frame_id
        assert message.header.stamp == Time(sec=sec, nanosec=nanosec)
        np.testing.assert_array_equal(message.position, positions.astype(np.float64))
        assert len(message.velocity) == len(message.effort) == 0
        recorded = store.deserialize_cdr(content, "sensor_msgs/msg/JointState")
        assert recorded.name == names and recorded.header.stamp.nanosec == nanosec
        np.testing.assert_array_equal(recorded.position, message.position)
