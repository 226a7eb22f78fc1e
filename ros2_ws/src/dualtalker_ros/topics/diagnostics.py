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


class Growth:
    """What counters grew by from one message to the next: that is what happened."""

    def __init__(self) -> None:
        """All begin at 0."""
        self._last: dict[str, int] = {}

    def look(self, counters: Mapping[str, int]) -> dict[str, int]:
        """Return by how much each has grown since the last look; none that has not."""
        grown = {kind: count - self._last.get(kind, 0) for kind, count in counters.items()}
        self._last = dict(counters)
        return {kind: count for kind, count in grown.items() if count}


def judge_growth(grown: Mapping[str, int], otherwise: str) -> tuple[bytes, str]:
    """Return level and text: a warning that lists what happened, or OK and `otherwise`."""
    if not grown:
        return DiagnosticStatus.OK, otherwise
    return DiagnosticStatus.WARN, ", ".join(f"{kind} {count}" for kind, count in grown.items())
