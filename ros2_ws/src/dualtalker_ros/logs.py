"""rclpy's logger, without its search for the source of whoever logs."""

from __future__ import annotations

import os
import sys
from typing import Any

from rclpy.impl import rcutils_logger
from rclpy.impl.implementation_singleton import rclpy_implementation as rcl
from rclpy.logging import LoggingSeverity


class NodeLogger(rcutils_logger.RcutilsLogger):
    """Logs what rclpy's does, quicker where no filter (`once` and the like) is asked for.

    For each message rclpy has `inspect` look for its caller's source, the first time among all
    modules: that took 25 ms of a start, or of a frame's time where a warning was the first.
    """

    def log(self, message: str, severity: LoggingSeverity, **filters: Any) -> bool:
        """Log a message of the caller's caller, as of `info` and the like."""
        if filters:
            return bool(super().log(message, severity, **filters))
        if not self.is_enabled_for(severity):
            return False
        frame = sys._getframe(2)
        code = frame.f_code
        path = os.path.abspath(code.co_filename)
        rcl.rclpy_logging_rcutils_log(
            severity, self.name, message, code.co_name, path, frame.f_lineno
        )
        return True


# rclpy tells filters apart by the first caller outside of these files.
rcutils_logger._internal_callers.append(os.path.realpath(__file__))
