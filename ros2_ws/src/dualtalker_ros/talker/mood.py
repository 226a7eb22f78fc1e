"""The topics `expression`, `set_expression` and `look_at`: what the face feels, whom it sees."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import PointStamped
from rclpy.clock import Clock, ClockType
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from dualtalker.errors import DualtalkerError
from dualtalker.faults import Faults
from dualtalker.stream import Talker
from dualtalker_ros.topics import PointTransformer, import_type

EXPRESSION_TYPE = "hri_msgs/msg/Expression"
SKILL_TYPE = "interaction_skills/msg/SetExpression"
# A point's frame may not be known at once: /tf is listened to from the first such point on.
_TRY_S, _TRIES = 0.1, 20


class MoodListener:
    """Hears them from `configure` to `cleanup`; what makes no sense is counted and told once."""

    def __init__(self, node: Any, talker: Talker) -> None:
        """`expression` is of `hri_msgs`, or where that is not installed a text of the same.

        `set_expression` exists where `interaction_skills` is installed.
        """
        self._node, self._talker = node, talker
        self._frame_id = node.get_parameter("frame_id").value
        self._frames = PointTransformer(node, self._frame_id)
        self._point, self._tries = PointStamped(), 0
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)  # one that /clock does not stop
        self._timer: Any = None
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
        try:
            skill_class = import_type(SKILL_TYPE)
        except ImportError:
            return
        skill = node.create_subscription(skill_class, "set_expression", self._on_skill, qos)
        self._subscriptions.append(skill)

    def destroy(self) -> None:
        """Hear none any more."""
        self._stop_trying()
        self._frames.close()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _on_text(self, message: String) -> None:
        self._feel(message.data)

    def _on_expression(self, message: Any) -> None:
        """A name goes before valence and arousal, which are 0 where they are not told."""
        affect = (float(message.valence), float(message.arousal))
        self._feel(message.expression or affect)

    def _on_skill(self, message: Any) -> None:
        self._on_expression(message.expression)

    def _feel(self, expression: str | tuple[float, float]) -> None:
        try:
            self._talker.set_expression(expression)
        except DualtalkerError as error:
            self._refuse("refused_expressions", str(error))

    def _on_target(self, message: PointStamped) -> None:
        self._stop_trying()
        self._point, self._tries = message, _TRIES
        self._aim()

    def _aim(self) -> None:
        message, point = self._point, self._point.point
        own = message.header.frame_id in ("", self._frame_id)
        try:
            if own and point.x == point.y == point.z == 0.0:  # the head itself: nothing more
                self._talker.look(None)
            elif own:
                self._talker.look_at(point.x, point.y, point.z)
            else:
                self._talker.look_at(*self._frames.transform(message))
        except LookupError as error:
            self._tries -= 1
            if self._frames.listens and self._tries > 0:
                if self._timer is None:
                    self._timer = self._node.create_timer(_TRY_S, self._aim, clock=self._steady)
                return
            self._refuse("refused_targets", f"look_at: {error}")
        except DualtalkerError as error:
            self._refuse("refused_targets", str(error))
        self._stop_trying()

    def _stop_trying(self) -> None:
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
