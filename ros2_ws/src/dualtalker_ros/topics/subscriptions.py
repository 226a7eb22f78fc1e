"""Subscriptions as reliable as what the publishers of a topic offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks


class OfferedSubscription:
    """Is reliable while all publishers of a topic are; best effort from the first that is not.

    Best effort fits every publisher, but then DDS sends nothing again: a message of a megabyte,
    ten seconds of 48 kHz speech, is lost as a whole where one of its fragments is. The change
    itself costs what was on its way, and is logged.
    """

    def __init__(
        self,
        node: Node,
        message_class: Any,
        topic: str,
        callback: Callable[..., None],
        depth: int,
        raw: bool = False,
    ) -> None:
        """Subscribe; arguments are those of `Node.create_subscription`."""
        self._node = node
        self._arguments = (message_class, topic, callback)
        self._depth, self._raw = depth, raw
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)  # one that /clock does not stop
        self._timer: Any = None
        publishers = node.get_publishers_info_by_topic(node.resolve_topic_name(topic))
        offered = {publisher.qos_profile.reliability for publisher in publishers}
        self.reliable = ReliabilityPolicy.BEST_EFFORT not in offered
        self._subscription: Any = self._subscribe()

    def _subscribe(self) -> Any:
        wanted = ReliabilityPolicy.RELIABLE if self.reliable else ReliabilityPolicy.BEST_EFFORT
        events = SubscriptionEventCallbacks(incompatible_qos=lambda _: self._plan_to_fall_back())
        return self._node.create_subscription(
            *self._arguments,
            QoSProfile(depth=self._depth, reliability=wanted),
            event_callbacks=events,
            raw=self._raw,
        )

    def _plan_to_fall_back(self) -> None:
        """Do it soon: within its own event no subscription can be destroyed."""
        if self._timer is None and self.reliable and self._subscription is not None:
            self._timer = self._node.create_timer(0.0, self._fall_back, clock=self._clock)

    def _fall_back(self) -> None:
        if self._timer is None:  # destroyed since: executors may call back once more
            return
        self._drop_timer()
        self.reliable = False
        self._node.destroy_subscription(self._subscription)
        self._subscription = self._subscribe()
        topic = self._node.resolve_topic_name(self._arguments[1])
        self._node.get_logger().warning(
            f"{topic}: a publisher offers best effort alone, so that is asked of all from now on; "
            "what was on its way is lost, and large messages may be"
        )

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    def destroy(self) -> None:
        """Listen no more."""
        self._drop_timer()
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
