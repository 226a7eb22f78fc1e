"""By what others steer a running talker: `~/reset`, `~/interrupt` and `~/set_style`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from dualtalker_ros.talker.parameters import MANNER_PARAMETERS


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


class StyleControl:
    """Style and intensity together, all or nothing, by one call; both are parameters as well.

    No standard service takes a text, so it is rcl_interfaces' SetParameters, which every ROS 2
    has: names and values in, success and a reason out. Unlike `~/set_parameters` it takes these
    two alone, and sets both or neither.
    """

    def __init__(self, node: Any) -> None:
        """Serve a node with these parameters."""
        self._node = node
        node.create_service(SetParameters, "~/set_style", self._on_call)

    def _on_call(
        self, request: SetParameters.Request, response: SetParameters.Response
    ) -> SetParameters.Response:
        result = self._set(request.parameters)
        response.results = [result] * max(len(request.parameters), 1)
        return response

    def _set(self, messages: Any) -> SetParametersResult:
        names = [message.name for message in messages]
        if not names or len(set(names)) < len(names) or not set(names) <= set(MANNER_PARAMETERS):
            reason = f"found parameters {names}; expected style, intensity or both, each once"
            return SetParametersResult(successful=False, reason=reason)
        changes = [Parameter.from_parameter_msg(message) for message in messages]
        return self._node.set_parameters_atomically(changes)
