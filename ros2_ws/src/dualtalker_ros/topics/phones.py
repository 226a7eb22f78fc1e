"""The topic `phones`: what will be said, as a synthesizer tells it, in JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile
from std_msgs.msg import String

from dualtalker.errors import SpeechError
from dualtalker.faults import Faults


class PhoneInput:
    """Hears it, from `configure` to `cleanup`; what makes no sense is counted and told once."""

    def __init__(self, node: Any, take: Callable[[str], None]) -> None:
        """`take` gets the text of a message; it may raise SpeechError."""
        self._node, self._take = node, take
        faults = Faults(("refused_phones",), node.get_logger().warning)
        self.refused, self._refuse = faults.counters, faults.count
        # Reliable: nobody says it twice.
        qos = QoSProfile(depth=100)
        self._subscription = node.create_subscription(String, "phones", self._hear, qos)

    def destroy(self) -> None:
        """Hear it no more."""
        self._node.destroy_subscription(self._subscription)

    def _hear(self, message: String) -> None:
        try:
            self._take(message.data)
        except SpeechError as error:
            self._refuse("refused_phones", f"a message of phones makes no sense: {error}")
