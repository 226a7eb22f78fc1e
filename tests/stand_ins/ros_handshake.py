"""Makes sure that listeners know a publisher before it sends, and have read before it goes on.

A publisher knows a subscription before that knows the publisher, and best effort drops what comes
from a stranger, what still waits when its writer goes, and what shared memory (512 kB) has no
room for. On a busy machine all that happens. A node that answers a call from a client made after
the publisher knows that publisher, since discovery keeps its order; and it most likely has what
was sent long before the call, since it reads in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

CALL_TIMEOUT_S = 1.0  # then again: DDS drops answers to clients that it does not know yet
UNKNOWN = "_NODE_NAME_UNKNOWN_"


class Handshake:
    """Calls the nodes that listen to a publisher made just before."""

    def __init__(self, node: Any, spin_once: Callable[[float], None], publisher: Any) -> None:
        """`spin_once` serves `node` for at most so many seconds."""
        self._node, self._spin_once, self._publisher = node, spin_once, publisher
        self._clients: dict[str, Any] = {}

    def meet(self, timeout_s: float) -> bool:
        """Wait until there are listeners and each has answered; return whether that came true."""
        deadline_s = time.monotonic() + timeout_s
        answered = set[str]()
        while time.monotonic() < deadline_s:
            names = self._name_listeners()
            answered |= {name for name in names - answered if self._call(name)}
            if names and names <= answered:
                return True
            self._spin_once(0.02)
        return False

    def close(self) -> None:
        """Destroy the clients."""
        for client in self._clients.values():
            self._node.destroy_client(client)

    def _name_listeners(self) -> set[str]:
        """Nodes that have a subscription of this type; none while the publisher knows none."""
        message_class = self._publisher.msg_type
        type_name = f"{message_class.__module__.split('.')[0]}/msg/{message_class.__name__}"
        infos = self._node.get_subscriptions_info_by_topic(self._publisher.topic_name)
        found = [info for info in infos if info.topic_type == type_name]
        known = self._publisher.get_subscription_count()
        if not known or any(info.node_name == UNKNOWN for info in found):
            return set()
        return {f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in found}

    def _call(self, name: str) -> bool:
        """Whether a node answers a call that every node has a service for."""
        from rcl_interfaces.srv import GetParameters

        if name not in self._clients:
            service = f"{name}/get_parameters"
            self._clients[name] = self._node.create_client(GetParameters, service)
        client, future = self._clients[name], None
        deadline_s = time.monotonic() + CALL_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if future is None and client.service_is_ready():
                future = client.call_async(GetParameters.Request())
            if future is not None and future.done():
                return True
            self._spin_once(0.02)
        return False
