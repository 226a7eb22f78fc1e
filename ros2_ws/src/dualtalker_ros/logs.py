"""Carries the library's warnings to the ROS log, where /rosout and the terminal show them."""

from __future__ import annotations

import logging
from typing import Any


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


def forward_logs(logger: Any) -> None:
    """Send warnings and errors of `dualtalker` to a node's logger."""
    library = logging.getLogger("dualtalker")
    library.handlers = [_RosHandler(logger)]
    library.propagate = False
