"""How a node's process begins and ends: signals at any moment end it well. Knows no topic."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.signals import SignalHandlerOptions, install_signal_handlers


@contextmanager
def ros_running(args: list[str] | None) -> Iterator[None]:
    """Have ROS in the `with`; SIGINT and SIGTERM leave it quietly.

    ROS's own handlers end its context in the midst of whatever runs: a node that is being made
    then fails with one of many errors. So until `spin` both signals are Python's.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


def spin(node: Any) -> None:
    """Serve a node until a signal; return in either case of how rclpy tells of it."""
    # ROS's handlers wake the executor where nothing else would, and call Python's afterwards.
    install_signal_handlers(SignalHandlerOptions.ALL)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
