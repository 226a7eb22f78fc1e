"""The handshake of the tests' publishers: nobody is talked past, nothing sent is lost."""

from __future__ import annotations

import threading

import pytest

from ros_handshake import Handshake
from ros_processes import Listener

pytestmark = pytest.mark.usefixtures("ros")
COUNT = 50


def test_it_waits_for_a_listener_that_answers(listener):
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from std_msgs.msg import String

    publisher = listener.node.create_publisher(String, "talk", COUNT)
    handshake = Handshake(listener.node, listener._executor.spin_once, publisher)
    assert not handshake.meet(0.3), "there is nobody"
    other, heard, leaving = Listener("other"), [], threading.Event()
    qos = QoSProfile(depth=COUNT, reliability=ReliabilityPolicy.BEST_EFFORT)
    other.node.create_subscription(String, "talk", heard.append, qos)
    assert not handshake.meet(1.5), "it listens, but does not answer"

    def serve():
        while not leaving.is_set():
            other.spin(0.02)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert handshake.meet(30.0)
        for number in range(COUNT):
            publisher.publish(String(data=str(number)))
        assert handshake.meet(30.0)
    finally:
        leaving.set()
        thread.join()
    handshake.close()
    listener.node.destroy_publisher(publisher)
    other.spin(0.5)
    assert [message.data for message in heard] == [str(number) for number in range(COUNT)]
    other.close()
