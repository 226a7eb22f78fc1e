"""Subscriptions that ask for what is offered, on real DDS, with either executor."""

from __future__ import annotations

import array
import time

import pytest

from ros_processes import TIMEOUT_S

pytestmark = pytest.mark.usefixtures("ros_domain")

BIG = 480_000  # samples: ten seconds of 48 kHz, twice what DDS's shared memory holds


class Troupe:
    """A node that listens and one that speaks, served by an executor."""

    def __init__(self, kind, topic):
        import rclpy

        from dualtalker_ros.talker import make_executor

        rclpy.init()
        self.topic = topic
        self.ear, self.mouth = (rclpy.create_node(name) for name in ("ear", "mouth"))
        self._executor, _ = make_executor(kind)
        for node in (self.ear, self.mouth):
            self._executor.add_node(node)
        self.heard = []

    def offer(self, reliable):
        from rclpy.qos import QoSProfile, ReliabilityPolicy
        from std_msgs.msg import Int16MultiArray

        kind = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=100, reliability=kind)
        return self.mouth.create_publisher(Int16MultiArray, self.topic, qos)

    def listen(self):
        from std_msgs.msg import Int16MultiArray

        from dualtalker_ros.topics import OfferedSubscription

        def keep(message):
            self.heard.append(len(message.data))

        return OfferedSubscription(self.ear, Int16MultiArray, self.topic, keep, 100)

    def await_(self, done):
        deadline_s = time.monotonic() + TIMEOUT_S
        while not done():
            assert time.monotonic() < deadline_s, "nothing came of it"
            self._executor.spin_once(timeout_sec=0.05)

    def speak_until_heard(self, publisher, length):
        """Best effort drops what comes from a stranger, so say it until it is heard."""

        def heard():
            say(publisher, length)
            return length in self.heard

        self.await_(heard)

    def close(self):
        import rclpy

        self._executor.shutdown()
        for node in (self.ear, self.mouth):
            node.destroy_node()
        rclpy.shutdown()


def say(publisher, length):
    from std_msgs.msg import Int16MultiArray

    publisher.publish(Int16MultiArray(data=array.array("h", bytes(2 * length))))


@pytest.fixture(params=["single", "events"])
def troupe(request):
    if request.param == "events":
        pytest.importorskip("rclpy.experimental", reason="this rclpy has no EventsExecutor")
    name = request.node.originalname.removeprefix("test_")
    troupe = Troupe(request.param, f"/{request.param}/{name}")
    yield troupe
    troupe.close()


def test_what_is_offered_reliably_comes_whole_however_large(troupe):
    publisher = troupe.offer(reliable=True)
    troupe.await_(lambda: troupe.ear.count_publishers(troupe.topic) == 1)
    subscription = troupe.listen()
    assert subscription.reliable
    troupe.await_(lambda: publisher.get_subscription_count() == 1)
    for _ in range(10):
        say(publisher, BIG)
    troupe.await_(lambda: len(troupe.heard) == 10)
    assert troupe.heard == [BIG] * 10 and subscription.reliable


def test_a_publisher_of_best_effort_is_heard_from_the_start(troupe):
    publisher = troupe.offer(reliable=False)
    troupe.await_(lambda: troupe.ear.count_publishers(troupe.topic) == 1)
    subscription = troupe.listen()
    assert not subscription.reliable
    troupe.speak_until_heard(publisher, 1)


def test_a_publisher_of_best_effort_that_comes_later_is_heard_beside_the_others(troupe):
    subscription = troupe.listen()
    first = troupe.offer(reliable=True)
    troupe.speak_until_heard(first, 1)
    assert subscription.reliable
    later = troupe.offer(reliable=False)
    troupe.speak_until_heard(later, 2)
    assert not subscription.reliable
    troupe.speak_until_heard(first, 3)


def test_after_destroy_nothing_is_heard(troupe):
    subscription = troupe.listen()
    publisher = troupe.offer(reliable=True)
    troupe.speak_until_heard(publisher, 1)
    subscription.destroy()
    subscription.destroy()
    troupe.await_(lambda: publisher.get_subscription_count() == 0)


def test_a_fall_back_that_comes_after_destroy_does_nothing(troupe):
    """Executors may serve a timer once more that was destroyed while its event was queued."""
    subscription = troupe.listen()
    subscription._plan_to_fall_back()
    subscription.destroy()
    subscription._fall_back()
    assert not list(troupe.ear.subscriptions)
