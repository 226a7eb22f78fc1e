"""How a node's process begins, logs, is served and ends: signals at any moment end it well."""

from __future__ import annotations

import functools
import logging
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

from dualtalker.errors import DualtalkerError

EXECUTORS = ("auto", "events", "single")
# How long the executor may wait for an event before Python looks for signals.
LOOK_UP_S = 0.2


@contextmanager
def ros_running(args: list[str] | None) -> Iterator[None]:
    """Have ROS in the `with`; SIGINT and SIGTERM leave it quietly.

    ROS's own handlers end its context in the midst of whatever runs, from another thread: a node
    that is being made, or that publishes, then fails with one of many errors. So both signals are
    Python's: until `spin` they interrupt, within it the callback that runs is finished first.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


def run_node(
    name: str, start: Callable[[], Any], serve: Callable[[Any], None], args: list[str] | None
) -> int:
    """Start a node, and serve it until that is done or a signal comes; return the exit status.

    What `start` refuses goes to the log of `name`, and the status is 1.
    """
    with ros_running(args):
        try:
            node = start()
        except (DualtalkerError, ImportError, OSError, ValueError) as error:
            get_logger(name).fatal(str(error))
            return 1
        serve(node)
    return 0


def tell_exceptions(transition: Callable[..., Any]) -> Callable[..., Any]:
    """Log what a lifecycle node's transition raises, which rclpy keeps to itself."""

    @functools.wraps(transition)
    def told(node: Any, state: Any) -> Any:
        try:
            return transition(node, state)
        except Exception:
            node.get_logger().error(f"{transition.__name__} failed:\n{traceback.format_exc()}")
            raise

    return told


def forward_logs(logger: Any) -> None:
    """Send warnings and errors of `dualtalker` to a node's logger, so to /rosout and terminal."""
    library = logging.getLogger("dualtalker")
    library.handlers = [_RosHandler(logger)]
    library.propagate = False


def make_executor(kind: str) -> tuple[Any, str]:
    """Return an executor of one of the EXECUTORS, and which it is; "auto" prefers "events".

    rclpy.experimental.EventsExecutor (Jazzy 7.1.4 and later) needs half the time per message.
    Timers under /clock, timers whose period changes, and time that goes back work with it. But
    it was once seen, on a busy machine, to serve no timer any more after bursts of messages; so
    it is no default.

    Raises:
        ImportError: "events" is asked for, and this rclpy has none.
    """
    if kind not in EXECUTORS:
        raise ValueError(f"executor {kind!r}; expected one of: {', '.join(EXECUTORS)}")
    if kind == "single":
        return SingleThreadedExecutor(), "single"
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError as error:
        if kind == "auto":
            return SingleThreadedExecutor(), "single"
        raise ImportError(
            f"no EventsExecutor in this rclpy ({error}); it came with 7.1.4. "
            "Set executor to auto or single"
        ) from error
    return EventsExecutor(), "events"


def spin(node: Any, executor: Any = None) -> None:
    """Serve a node until a signal, or until its context ends; a second signal interrupts."""
    executor = SingleThreadedExecutor() if executor is None else executor
    stopping: list[int] = []

    def stop(number: int, frame: object) -> None:
        if stopping:
            raise KeyboardInterrupt
        stopping.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    executor.add_node(node)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        # Not executor.spin(): it would not let Python look for signals; and the EventsExecutor of
        # the wheels waits for "ever" by a time that overflows, and serves nothing (7.1.6).
        while not stopping and rclpy.ok():
            executor.spin_once(timeout_sec=LOOK_UP_S)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


class _RosHandler(logging.Handler):
    def __init__(self, logger: Any) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        # One call site per severity: rclpy refuses a severity that changes at the same line.
        if record.levelno >= logging.ERROR:
            self._logger.error(record.getMessage())
        else:
            self._logger.warning(record.getMessage())
