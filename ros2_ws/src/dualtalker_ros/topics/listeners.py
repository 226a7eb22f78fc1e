"""Waits for those who listen to a publisher; what they are told is not known here."""

from __future__ import annotations

import time
from typing import Any

import rclpy
from rclpy.node import Node


def wait_for_listeners(node: Node, publisher: Any, wanted: int, wait_s: float) -> None:
    """Serve `node` until so many subscriptions know its publisher.

    Raises:
        TimeoutError: fewer came within `wait_s`; it says how many.
    """
    deadline_s = time.monotonic() + wait_s
    while (found := publisher.get_subscription_count()) < wanted:
        if time.monotonic() > deadline_s:
            raise TimeoutError(
                f"{found} of {wanted} subscribers of {publisher.topic_name} came in time; start "
                "the talker node in the same ROS_DOMAIN_ID, with audio remapped to that topic"
            )
        rclpy.spin_once(node, timeout_sec=0.02)
