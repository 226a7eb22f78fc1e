"""Which type a topic has in the running graph, and that type's class. Knows no message itself."""

from __future__ import annotations

from importlib import import_module
from typing import Any

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
