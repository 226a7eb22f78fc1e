"""A node's state as a message on /diagnostics: one status with a level, a text and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node


def make_diagnostics(
    node: Node,
    part: str,
    level: bytes,
    message: str,
    values: Mapping[str, Any],
    hardware_id: str = "",
) -> DiagnosticArray:
    """Return the status of a part of a node, as of now."""
    status = DiagnosticStatus(
        level=level,
        name=f"{node.get_fully_qualified_name().lstrip('/')}: {part}",
        message=message,
        hardware_id=hardware_id,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = node.get_clock().now().to_msg()
    return array
