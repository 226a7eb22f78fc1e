"""Runs many talker nodes in one process, each in its own namespace; for tests of many inputs.

    python tests/ros_crowd.py '{"/a": {"model": "tiny.onnx"}, "/b": {"model": "tiny.onnx"}}'

As a robot with several voices may do, in a component container of its own.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.experimental import EventsExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions, install_signal_handlers

from dualtalker_ros.logs import forward_logs
from dualtalker_ros.processes import ros_running
from dualtalker_ros.talker_node import TalkerNode, start


def main() -> int:
    """Serve the nodes until interrupted; exit status 1 where one cannot start."""
    crowd = json.loads(sys.argv[1])
    with ros_running(None):
        executor = EventsExecutor()
        for namespace, parameters in crowd.items():
            overrides = [Parameter(name, value=value) for name, value in parameters.items()]
            node = TalkerNode(namespace=namespace, parameter_overrides=overrides)
            if not start(node):
                return 1
            executor.add_node(node)
        forward_logs(node.get_logger())
        install_signal_handlers(SignalHandlerOptions.ALL)
        with suppress(KeyboardInterrupt, ExternalShutdownException):
            executor.spin()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
