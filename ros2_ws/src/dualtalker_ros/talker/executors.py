"""What serves the node: rclpy's executors, and one of ours that asks little of a small core."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from rclpy.executors import (
    ExternalShutdownException,
    ShutdownException,
    SingleThreadedExecutor,
    TimeoutException,
)
from rclpy.impl.implementation_singleton import rclpy_implementation as rcl
from rclpy.service import Service
from rclpy.subscription import Subscription
from rclpy.waitable import NumberOfEntities

try:
    from rclpy.event_handler import EventHandler
except ImportError:  # Humble
    from rclpy.qos_event import QoSEventHandler as EventHandler

EXECUTORS = ("auto", "events", "single")
# How often DDS is asked for what it keeps until asked and nobody is in a hurry for: whether a
# publisher's offer fits and the like, and calls of what every node has. To ask costs at each wait.
PATIENCE_NS = 100_000_000
# The packages of their services: parameters, states of a lifecycle, descriptions of types.
PATIENT_PACKAGES = ("rcl_interfaces", "lifecycle_msgs", "type_description_interfaces")


def make_executor(kind: str) -> tuple[Any, str]:
    """Return an executor of one of the EXECUTORS, and which it is; "auto" prefers "events".

    rclpy.experimental.EventsExecutor (Jazzy 7.1.4 and later) waits by callbacks of the middleware.
    Timers under /clock, timers whose period changes, and time that goes back work with it. But
    it was once seen, on a busy machine, to serve no timer any more after bursts of messages; a
    publisher or subscription that is destroyed while DDS tells it something may crash the process
    (open upstream: ros2/rclpy 1644), and deactivation destroys some; and it ends of callbacks that
    are told when their message came. So it is no default.

    Raises:
        ImportError: "events" is asked for, and this rclpy has none.
    """
    if kind not in EXECUTORS:
        raise ValueError(f"executor {kind!r}; expected one of: {', '.join(EXECUTORS)}")
    if kind == "single":
        return KeptExecutor(), "single"
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError as error:
        if kind == "auto":
            return KeptExecutor(), "single"
        raise ImportError(
            f"no EventsExecutor in this rclpy ({error}); it came with 7.1.4. "
            "Set executor to auto or single"
        ) from error
    return EventsExecutor(), "events"


class KeptExecutor(SingleThreadedExecutor):
    """rclpy's executor of one thread, with the wait set kept from one wait to the next.

    rclpy makes a new one for each wait, of all that each node has, and wakes itself twice for each
    callback. Here the list is kept until something is created or destroyed, and timers and
    subscriptions are called as they are. Services, clients, events and tasks, which are rare, are
    left to rclpy; events, of which each publisher and subscription has some, and the services that
    every node has are waited for ten times a second only.
    """

    def __init__(self, *, context: Any = None) -> None:
        """`context` is the default one if None."""
        self._kept: _Kept | None = None
        self._all_ns = 0  # when all is waited for again, on the monotonic clock
        super().__init__(context=context)

    def wake(self) -> None:
        """rclpy calls this whenever an entity was created or destroyed."""
        self._kept = None
        super().wake()

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for at most `timeout_sec`; call what is ready, of each entity once."""
        if self._kept is None:
            self._kept = _Kept(self.get_nodes(), self._guard, self.context)
        kept = self._kept
        self._wait(kept, -1 if timeout_sec is None else max(round(timeout_sec * 1e9), 0))
        if not self.context.ok():
            raise ExternalShutdownException
        for timer in kept.timers_ready:
            _call_timer(timer)
        for subscription in kept.subscriptions_ready:
            _call_subscription(subscription)
        if kept.others_ready:
            self._serve_others()

    def _wait(self, kept: _Kept, timeout_ns: int) -> None:
        """Wait until something is ready; only for what is urgent until all is due again."""
        quiet_ns = self._all_ns - time.monotonic_ns()
        if quiet_ns > 0:
            enough = 0 <= timeout_ns <= quiet_ns
            if kept.wait(timeout_ns if enough else quiet_ns, for_all=False) or enough:
                return
            timeout_ns = max(timeout_ns - quiet_ns, -1)
        kept.wait(timeout_ns, for_all=True)
        self._all_ns = time.monotonic_ns() + PATIENCE_NS

    def _serve_others(self) -> None:
        """Have rclpy look for all that is ready, and serve it."""
        with suppress(TimeoutException, ShutdownException):
            while True:
                handler, _, _ = self.wait_for_ready_callbacks(timeout_sec=0.0)
                handler()
                if (error := handler.exception()) is not None:
                    raise error


class _Kept:
    """All that the nodes have now, in one wait set."""

    def __init__(self, nodes: list[Any], guard: Any, context: Any) -> None:
        """`guard` is what the executor is woken by."""
        self._entities = {
            "subscription": [entity for node in nodes for entity in node.subscriptions],
            "guard_condition": [guard, *(entity for node in nodes for entity in node.guards)],
            "timer": [entity for node in nodes for entity in node.timers],
            "client": [entity for node in nodes for entity in node.clients],
            "service": [entity for node in nodes for entity in node.services],
        }
        self._rare_kinds = [kind for kind in ("client", "service") if self._entities[kind]]
        waitables = [entity for node in nodes for entity in node.waitables]
        self._events = [entity for entity in waitables if isinstance(entity, EventHandler)]
        self._others = [entity for entity in waitables if not isinstance(entity, EventHandler)]
        counts = NumberOfEntities(*map(len, self._entities.values()))
        for waitable in waitables:
            counts += waitable.get_num_entities()
        self._set = rcl.WaitSet(
            counts.num_subscriptions,
            counts.num_guard_conditions,
            counts.num_timers,
            counts.num_clients,
            counts.num_services,
            counts.num_events,
            context.handle,
        )
        fillings = [
            (getattr(self._set, f"add_{kind}"), entity)
            for kind, entities in self._entities.items()
            for entity in entities
        ]
        self._urgent = [
            (add, entity.handle) for add, entity in fillings if not _is_patient(entity)
        ]
        self._patient = [(add, entity.handle) for add, entity in fillings if _is_patient(entity)]
        self._by_pointer = {
            kind: {entity.handle.pointer: entity for entity in entities}
            for kind, entities in self._entities.items()
        }

    def wait(self, timeout_ns: int, for_all: bool) -> bool:
        """Wait until something is ready; return whether it is. A timeout of -1 is none."""
        self._set.clear_entities()  # rcl takes out what is not ready
        for add, handle in [*self._urgent, *self._patient] if for_all else self._urgent:
            add(handle)
        waitables = [*self._others, *self._events] if for_all else self._others
        for waitable in waitables:
            waitable.add_to_wait_set(self._set)
        self._set.wait(timeout_ns)
        self.timers_ready = self._find_ready("timer")
        self.subscriptions_ready = self._find_ready("subscription")
        guards = self._find_ready("guard_condition")
        for guard in guards:  # whoever waits next is to see it, too
            guard.trigger()
        self.others_ready = bool(guards) or any(
            self._set.get_ready_entities(kind) for kind in self._rare_kinds
        )
        if waitables and not self.others_ready:
            self.others_ready = any(waitable.is_ready(self._set) for waitable in waitables)
        return self.others_ready or bool(self.timers_ready or self.subscriptions_ready)

    def _find_ready(self, kind: str) -> list[Any]:
        entities = self._by_pointer[kind]
        return [entities[pointer] for pointer in self._set.get_ready_entities(kind)]


def _is_patient(entity: Any) -> bool:
    """Whether it is one of the services that every node has."""
    if not isinstance(entity, Service):
        return False
    return entity.srv_type.__module__.partition(".")[0] in PATIENT_PACKAGES


def _call_timer(timer: Any) -> None:
    """Call it, unless a callback since the wait canceled, delayed or destroyed it."""
    try:
        with timer.handle:
            if not timer.handle.is_timer_ready():
                return
            timer.handle.call_timer()
    except rcl.InvalidHandle:
        return
    timer.callback()


def _call_subscription(subscription: Any) -> None:
    """Call it with one message, unless a callback since the wait destroyed it."""
    try:
        with subscription.handle:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
    except rcl.InvalidHandle:
        return
    if taken is None:
        return
    # Humble's have no kinds: no callback there is told when its message came.
    kinds = getattr(Subscription, "CallbackType", None)
    if kinds is not None and subscription._callback_type is kinds.WithMessageInfo:
        subscription.callback(*taken)
    else:
        subscription.callback(taken[0])
