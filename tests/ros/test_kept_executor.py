"""The executor that keeps its wait set serves all that a node can have, as rclpy's own does."""

from __future__ import annotations

import time

import pytest

from ros_processes import TIMEOUT_S

pytestmark = pytest.mark.usefixtures("ros_domain")


class Served:
    """A node, and the executor that serves it."""

    def __init__(self):
        import rclpy

        from dualtalker_ros.talker import KeptExecutor

        rclpy.init()
        self.node = rclpy.create_node("served")
        self.executor = KeptExecutor()
        self.executor.add_node(self.node)
        self.called = []

    def note(self, name):
        """Return a callback that notes that it was called."""
        return lambda *given: self.called.append((name, *given))

    def spin_until(self, done):
        deadline_s = time.monotonic() + TIMEOUT_S
        while not done():
            assert time.monotonic() < deadline_s, "nothing came of it"
            self.executor.spin_once(timeout_sec=0.05)

    def spin(self, duration_s):
        deadline_s = time.monotonic() + duration_s
        self.spin_until(lambda: time.monotonic() > deadline_s)

    def count(self, name):
        return sum(known == name for known, *_ in self.called)

    def close(self):
        import rclpy

        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def served():
    served = Served()
    yield served
    served.close()


def test_a_wait_ends_when_its_time_is_over(served):
    served.spin(0.1)  # what starting brings
    before_s = time.monotonic()
    served.executor.spin_once(timeout_sec=0.0)
    assert time.monotonic() - before_s < 1.0
    served.executor.spin_once(timeout_sec=0.3)
    assert time.monotonic() - before_s > 0.29


def test_timers_come_go_and_change_their_period(served):
    quick = served.node.create_timer(0.005, served.note("quick"))
    served.node.create_timer(1000.0, served.note("slow"))
    served.spin_until(lambda: served.count("quick") > 5)
    quick.cancel()
    served.called.clear()
    served.spin(0.1)
    assert served.called == []
    quick.timer_period_ns = 10_000_000
    quick.reset()
    served.spin_until(lambda: served.count("quick") > 2)
    served.node.destroy_timer(quick)
    served.node.create_timer(0.005, served.note("new"))
    served.called.clear()
    served.spin_until(lambda: served.count("new") > 2)
    assert {name for name, *_ in served.called} == {"new"}


def test_what_a_callback_destroys_or_delays_is_not_called(served):
    timers = {}

    def destroy(own, other):
        served.called.append((own,))
        served.node.destroy_timer(timers[other])

    timers["a"] = served.node.create_timer(0.05, lambda: destroy("a", "b"))
    timers["b"] = served.node.create_timer(0.05, lambda: destroy("b", "a"))
    time.sleep(0.1)  # both are ready in one wait
    served.spin(0.2)
    assert len({name for name, *_ in served.called}) == 1


def test_messages_come_with_their_info_where_that_is_asked_for(served):
    from rclpy.subscription import Subscription
    from std_msgs.msg import Int32

    publisher = served.node.create_publisher(Int32, "numbers", 10)
    plain = served.node.create_subscription(Int32, "numbers", served.note("plain"), 10)
    raw = served.note("raw")
    served.node.create_subscription(Int32, "numbers", lambda data: raw(data), 10, raw=True)

    def take_told(message, info):
        served.called.append(("told", message, info))

    if hasattr(Subscription, "CallbackType"):
        served.node.create_subscription(Int32, "numbers", take_told, 10)
        served.spin_until(lambda: publisher.get_subscription_count() == 3)
        for number in range(5):
            publisher.publish(Int32(data=number))
        served.spin_until(lambda: served.count("told") == served.count("raw") == 5)
        told = [rest for name, *rest in served.called if name == "told"]
        assert [message.data for message, _ in told] == list(range(5))
        age_s = [time.time() - info["received_timestamp"] / 1e9 for _, info in told]
        assert all(0 <= age < TIMEOUT_S for age in age_s)
    data = [rest[0] for name, *rest in served.called if name == "raw"]
    assert all(isinstance(message, bytes) for message in data)
    served.node.destroy_subscription(plain)
    count = served.count("plain")
    publisher.publish(Int32(data=9))
    served.spin_until(lambda: served.count("raw") == 6)
    assert served.count("plain") == count


def test_requests_are_answered(served):
    from std_srvs.srv import Trigger

    def answer(request, response):
        response.message = "yes"
        return response

    served.node.create_service(Trigger, "ask", answer)
    client = served.node.create_client(Trigger, "ask")
    served.spin_until(client.service_is_ready)
    for _ in range(3):
        future = client.call_async(Trigger.Request())
        served.spin_until(future.done)
        assert future.result().message == "yes"
    served.executor.spin_until_future_complete(client.call_async(Trigger.Request()), TIMEOUT_S)


@pytest.mark.parametrize("busy", [True, False])
def test_parameters_are_answered_though_they_are_seldom_waited_for(served, busy):
    """Whether timers wake it all the time or never."""
    from rcl_interfaces.srv import GetParameters

    if busy:
        served.node.create_timer(0.002, served.note("timer"))
    client = served.node.create_client(GetParameters, "served/get_parameters")
    served.spin_until(client.service_is_ready)
    for _ in range(3):
        future = client.call_async(GetParameters.Request(names=["use_sim_time"]))
        served.spin_until(future.done)
        assert [value.bool_value for value in future.result().values] == [False]


def test_a_service_of_the_nodes_own_is_in_each_wait(served):
    """To interrupt a face is urgent; what every node has is not."""
    from std_srvs.srv import Trigger

    own = served.node.create_service(Trigger, "interrupt", lambda request, response: response)
    served.spin(0.05)
    always = [handle for _, handle in served.executor._kept._urgent]
    services = list(served.node.services)
    assert own.handle in always and len(services) > 6
    assert not any(service.handle in always for service in services if service is not own)


def test_tasks_and_guard_conditions_are_served(served):
    guard = served.node.create_guard_condition(served.note("guard"))
    for count in (1, 2):
        guard.trigger()
        served.spin_until(lambda n=count: served.count("guard") == n)

    async def work():
        return 7

    task = served.executor.create_task(work)
    served.spin_until(task.done)
    assert task.result() == 7


@pytest.mark.parametrize("kind", ["timer", "service"])
def test_what_a_callback_raises_comes_out(served, kind):
    from std_srvs.srv import Trigger

    def fail(*given):
        raise LookupError("no such word")

    if kind == "timer":
        served.node.create_timer(0.01, fail)
    else:
        served.node.create_service(Trigger, "ask", fail)
        client = served.node.create_client(Trigger, "ask")
        served.spin_until(client.service_is_ready)
        client.call_async(Trigger.Request())
    with pytest.raises(LookupError, match="no such word"):
        served.spin(TIMEOUT_S)


@pytest.mark.parametrize("busy", [True, False])
def test_events_come_though_they_are_seldom_waited_for(served, busy):
    """Whether timers wake it all the time or never."""
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from std_msgs.msg import Int32

    try:
        from rclpy.event_handler import SubscriptionEventCallbacks
    except ImportError:  # Humble
        from rclpy.qos_event import SubscriptionEventCallbacks

    if busy:
        served.node.create_timer(0.002, served.note("timer"))
    events = SubscriptionEventCallbacks(incompatible_qos=served.note("event"))
    served.node.create_subscription(
        Int32, "numbers", served.note("number"), 10, event_callbacks=events
    )
    served.spin(0.2)
    served.called.clear()
    offer = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
    for count in (1, 2):
        served.node.create_publisher(Int32, "numbers", offer)
        served.spin_until(lambda n=count: served.count("event") == n)
    assert served.count("number") == 0


def test_it_waits_for_nothing_when_nothing_happens(served):
    """rclpy wakes itself twice for each callback; here a wait is a call."""
    waits = []
    served.node.create_timer(0.02, served.note("timer"))
    served.spin(0.2)
    served.called.clear()
    for _ in range(10):
        served.executor.spin_once(timeout_sec=TIMEOUT_S)
        waits.append(served.count("timer"))
    assert waits == list(range(1, 11))
