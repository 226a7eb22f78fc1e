"""What the running graph tells of a topic: its type, that type's class, and who listens."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

import rclpy
from rclpy.node import Node


def find_type(node: Node, topic: str) -> str | None:
    """Return the type, as "package/msg/Name", of the first publisher of `topic`; None if none."""
    publishers = node.get_publishers_info_by_topic(node.resolve_topic_name(topic))
    return publishers[0].topic_type if publishers else None


def import_type(name: str) -> Any:
    """Return the class of "package/msg/Name"; ImportError says which package is missing."""
    package, _, message = name.split("/")
    try:
        return getattr(import_module(f"{package}.msg"), message)
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"no Python messages for {name} here ({error}); install the ROS package {package}, "
            "or build it in this workspace, and source it"
        ) from error


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
