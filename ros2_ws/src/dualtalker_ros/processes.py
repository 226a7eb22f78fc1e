"""How a node's process begins, logs, is served and ends: signals at any moment end it well."""

from __future__ import annotations

import functools
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation as rcl
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosgraph_msgs.msg import Clock

from dualtalker.errors import DualtalkerError
from dualtalker_ros.logs import NodeLogger

# What speaks against a node's start, in words for those who start the node.
START_ERRORS = (
    ImportError,
    OSError,
    ValueError,
    ParameterException,
    NameValidationException,
    rcl.RCLError,
)
LOG_FOLDER = (
    "logs go to ROS_LOG_DIR, or else to ROS_HOME/log or ~/.ros/log: set ROS_LOG_DIR to a folder "
    "that this user can write to, as ROS_LOG_DIR=/tmp/ros_log"
)
# builtin_interfaces/Time ends at 2**31 s; what is stamped lies up to a day after the clock.
LAST_CLOCK_S = 2**31 - 86400
# How long the executor may wait for an event before Python looks for signals.
LOOK_UP_S = 0.2


@contextmanager
def ros_running(args: list[str] | None) -> Iterator[None]:
    """Have ROS in the `with`; SIGINT and SIGTERM leave it quietly.

    ROS's own handlers end its context in the midst of whatever runs, from another thread: a node
    that is being made, or that publishes, then fails with one of many errors. So both signals are
    Python's: until `spin` they interrupt, within it the callback that runs is finished first.

    Raises:
        DualtalkerError: ROS does not start, by its arguments or its environment.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        _find_log_folder(args or sys.argv)
        try:
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        except RuntimeError as error:
            raise DualtalkerError(_explain(error)) from error
        yield
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


def _find_log_folder(args: list[str]) -> None:
    """Say at once where there is none: rcl says it in many lines."""
    names = ("ROS_LOG_DIR", "ROS_HOME", "HOME")
    if not any(map(os.environ.get, names)) and "--disable-external-lib-logs" not in args:
        raise DualtalkerError(f"this user has no home folder; {LOG_FOLDER}")


def _explain(error: Exception) -> str:
    """Return why ROS does not start, and what mends it."""
    if isinstance(error, rcl.UnknownROSArgsError):
        return f"ROS does not know these arguments: {error}"
    reason = shorten(error)
    is_of_logs = "logging" in reason or ".log" in reason
    return f"{reason}; {LOG_FOLDER}" if is_of_logs else reason


def run_node(
    name: str,
    start: Callable[[], Any],
    serve: Callable[[Any], int | None],
    args: list[str] | None,
    takes: str = "",
) -> int:
    """Start a node, and serve it until that is done or a signal comes; return the exit status.

    What `start` refuses goes to the log of `name`, and the status is 1; else it is what `serve`
    returns, or 0. What the library logs goes to the node's log.

    Args:
        name: of the logger.
        start: makes the node.
        serve: is given the node.
        args: of the command line, sys.argv if None.
        takes: the parameter that one word without `-p` is the value of; none by default.
    """
    try:
        with ros_running(_place_word(args, takes)):
            forward_logs(NodeLogger(name))
            try:
                node = start()
            except START_ERRORS as error:
                raise DualtalkerError(shorten(error)) from error
            return serve(node) or 0
    except DualtalkerError as error:
        NodeLogger(name).fatal(str(error))
        return 1
    return 0


def _place_word(args: list[str] | None, takes: str) -> list[str]:
    """Return the arguments with a word that is given alone as the parameter that it means.

    Raises:
        DualtalkerError: there are more words, or none is expected.
    """
    given = sys.argv[1:] if args is None else args
    try:
        words = remove_ros_args(given)
    except RuntimeError:  # said when ROS starts
        return given
    if not words:
        return given
    if not takes or len(words) > 1 or words[0].startswith("-"):
        expected = f"one word at most, the parameter {takes}" if takes else "none"
        raise DualtalkerError(
            f"found the words {' '.join(words)}; expected {expected}; parameters are given as in "
            "--ros-args -p name:=value"
        )
    # A text in double quotes is the same in JSON and in YAML, by which ROS reads values.
    value = json.dumps(words[0], ensure_ascii=False)
    return [*given, "--ros-args", "-p", f"{takes}:={value}"]


class GuardedNode(Node):
    """A node that no request ends: what a service raises is logged, and the request refused.

    rclpy's own services, too, raise for requests that make no sense, as a transition that the
    state does not allow or a parameter's value of a type that does not exist; what is raised in a
    service ends the executor. Stands before `LifecycleNode` among the bases of a class.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        """Make rclpy's node, guarded."""
        super().__init__(*args, **named)
        if not logging.getLogger(
            "dualtalker"
        ).propagate:  # by `run_node`: from here on this node's
            forward_logs(self.get_logger())
        for service in self.services:  # those of a lifecycle are not made by `create_service`
            if not hasattr(service.callback, "__wrapped__"):
                service.callback = self._guard(service.callback)

    @functools.cached_property
    def _node_logger(self) -> NodeLogger:
        return NodeLogger(super().get_logger().name)

    def get_logger(self) -> NodeLogger:
        """Return the node's logger, always the same."""
        return self._node_logger

    def create_service(self, srv_type: Any, srv_name: str, callback: Any, **named: Any) -> Any:
        """Create a service whose exceptions are refusals."""
        guarded = self._guard(callback)
        if srv_type is SetParameters and srv_name.endswith("/set_parameters"):
            guarded = _set_one_by_one(guarded)
        return super().create_service(srv_type, srv_name, guarded, **named)

    def create_subscription(
        self, msg_type: Any, topic: str, callback: Any, *rest: Any, **named: Any
    ) -> Any:
        """Create a subscription; that of rclpy to /clock ignores times that cannot be."""
        if msg_type is Clock:
            callback = self._guard_time(callback)
        return super().create_subscription(msg_type, topic, callback, *rest, **named)

    def _guard_time(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        @functools.wraps(callback)
        def guarded(message: Any) -> None:
            seconds = message.clock.sec
            if 0 <= seconds < LAST_CLOCK_S:
                callback(message)
            else:
                self.get_logger().warning(
                    f"/clock is ignored where it tells {seconds} s; expected 0 to {LAST_CLOCK_S}",
                    once=True,
                )

        return guarded

    def _guard(self, callback: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        @functools.wraps(callback)
        def guarded(request: Any, response: Any) -> Any:
            try:
                return callback(request, response)
            except Exception as error:  # noqa: BLE001 - rclpy raises many
                reason = shorten(error)
                kind = type(request).__name__.removesuffix("_Request")
                self.get_logger().warning(f"{kind} refused: {reason}")
                return _refuse(request, type(response)(), reason)

        return guarded


def shorten(error: Exception) -> str:
    """Return what rcl says without the places in its source that it says it at."""
    return str(error).split(", at /")[0]


def _refuse(request: Any, response: Any, reason: str) -> Any:
    """Fill a response, by the fields that it has, with a refusal."""
    refusal = SetParametersResult(successful=False, reason=reason)
    if hasattr(response, "results"):
        response.results = [refusal] * max(len(request.parameters), 1)
    elif hasattr(response, "result"):
        response.result = refusal
    elif hasattr(response, "success"):
        response.success = False
        if hasattr(response, "message"):
            response.message = reason
    return response


def _set_one_by_one(callback: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Have one parameter that makes no sense spoil none of the others, as ROS promises."""

    @functools.wraps(callback)
    def each(request: Any, response: Any) -> Any:
        for parameter in request.parameters:
            one = SetParameters.Request(parameters=[parameter])
            response.results += callback(one, SetParameters.Response()).results
        return response

    return each


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


def spin(node: Any, executor: Any = None, begin: Callable[[], None] = lambda: None) -> None:
    """Serve a node until a signal, or until its context ends; a second signal interrupts.

    `begin` is called first: what a signal must not leave half done.
    """
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
        begin()
        # Not executor.spin(): it would not let Python look for signals; and the EventsExecutor of
        # the wheels waits for "ever" by a time that overflows, and serves nothing (7.1.6).
        while not stopping and rclpy.ok():
            executor.spin_once(timeout_sec=LOOK_UP_S)


def spin_and_close(node: Any) -> None:
    """Serve a node as `spin` does, then `close` it."""
    try:
        spin(node)
    finally:
        node.close()


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
