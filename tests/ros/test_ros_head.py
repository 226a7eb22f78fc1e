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
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Int16MultiArray

    parameters = {
        "model": tiny,
        "audio_type": "std_msgs/msg/Int16MultiArray",
        "head_motion": True,
    }
    faces = listener.hear(JointState, "blendshapes")
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
    assert all(list(face.name) == [*ARKIT_NAMES, *HEAD_NAMES] for face in messages)
    positions = np.array([face.position for face in messages])
    assert positions.shape[1] == 55
    assert positions[:, :52].min() >= 0 and positions[:, :52].max() <= 1
    head = positions[:, 52:]
    assert 0.005 < np.ptp(head, axis=0).max() and np.abs(head).max() < 0.3
    assert np.abs(np.diff(head, axis=0)).max() < 0.03  # it sways, it does not jump
