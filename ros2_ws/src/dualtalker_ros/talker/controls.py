"""By what others steer a running talker: its service and its control topic. No parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile
from std_msgs.msg import Empty
from std_srvs.srv import Trigger


class Controls:
    """`~/reset` and `~/interrupt`, from `configure` to `cleanup`."""

    def __init__(self, node: Any, reset: Callable[[], str], interrupt: Callable[[], None]) -> None:
        """Both are called while the node is active; `reset` returns what it did.

        `reset` raises RuntimeError where the node is not active.
        """
        self._node, self._reset, self._interrupt = node, reset, interrupt
        self._service = node.create_service(Trigger, "~/reset", self._on_reset)
        # Reliable: a word that is not taken back because of a lost packet is embarrassing.
        self._subscription = node.create_subscription(
            Empty, "~/interrupt", self._on_interrupt, QoSProfile(depth=10)
        )

    def destroy(self) -> None:
        """Take both away."""
        self._node.destroy_service(self._service)
        self._node.destroy_subscription(self._subscription)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message = self._reset()
            response.success = True
        except RuntimeError as error:
            response.message = str(error)
            response.success = False
        return response

    def _on_interrupt(self, message: Empty) -> None:
        self._interrupt()
