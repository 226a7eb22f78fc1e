"""The topics `expression` and `look_at`: what the face feels, and whom it looks at."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import PointStamped
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from dualtalker.errors import DualtalkerError
from dualtalker.faults import Faults
from dualtalker.stream import Talker
from dualtalker_ros.topics import import_type

EXPRESSION_TYPE = "hri_msgs/msg/Expression"


class MoodListener:
    """Hears both, from `configure` to `cleanup`; what makes no sense is counted and told once."""

    def __init__(self, node: Any, talker: Talker) -> None:
        """`expression` is of `hri_msgs`, or where that is not installed a text of the same."""
        self._node, self._talker = node, talker
        self._frame_id = node.get_parameter("frame_id").value
        faults = Faults(("refused_expressions", "refused_targets"), node.get_logger().warning)
        self.refused, self._refuse = faults.counters, faults.count
        try:
            message_class, hear = import_type(EXPRESSION_TYPE), self._on_expression
        except ImportError:
            message_class, hear = String, self._on_text
        # Reliable: nobody says a mood twice.
        qos = QoSProfile(depth=10)
        self._subscriptions = [
            node.create_subscription(message_class, "expression", hear, qos),
            node.create_subscription(PointStamped, "look_at", self._on_target, qos),
        ]

    def destroy(self) -> None:
        """Hear neither any more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _on_text(self, message: String) -> None:
        self._feel(message.data)

    def _on_expression(self, message: Any) -> None:
        """A name goes before valence and arousal, which are 0 where they are not told."""
        affect = (float(message.valence), float(message.arousal))
        self._feel(message.expression or affect)

    def _feel(self, expression: str | tuple[float, float]) -> None:
        try:
            self._talker.set_expression(expression)
        except DualtalkerError as error:
            self._refuse("refused_expressions", str(error))

    def _on_target(self, message: PointStamped) -> None:
        frame_id, point = message.header.frame_id, message.point
        if frame_id not in ("", self._frame_id):
            self._refuse(
                "refused_targets",
                f"look_at is in the frame {frame_id!r}; transform it to {self._frame_id!r}: x "
                "ahead of the head, y to its left, z up",
            )
            return
        try:
            if point.x == point.y == point.z == 0.0:  # the head itself: nothing more
                self._talker.look(None)
            else:
                self._talker.look_at(point.x, point.y, point.z)
        except DualtalkerError as error:
            self._refuse("refused_targets", str(error))
