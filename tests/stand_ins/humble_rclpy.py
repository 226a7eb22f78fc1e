"""Runs a module with the rclpy of ROS 2 Humble (3.3), as far as ours uses what came later.

    python tests/stand_ins/humble_rclpy.py -m dualtalker_ros.nodes.talker_node --ros-args ...

No wheels of Humble exist; by rclpy's changelog and the sources of 3.3.15 it has no callbacks after
parameters are set (3.7), none with the info of a message (3.4), rclpy.event_handler by its old
name (qos_event), and no rclpy.experimental (7.1.4).
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from typing import Any

import rclpy.node
import rclpy.qos_event


class OldSubscription:
    """Has no CallbackType; for those who look."""


def make_old() -> None:
    """Take from rclpy what Humble's has not."""
    create = rclpy.node.Node.create_subscription

    def create_subscription(node: Any, kind: Any, topic: str, callback: Any, *rest: Any, **named):
        inspect.signature(callback).bind(None)  # TypeError, as it would come with every message
        return create(node, kind, topic, callback, *rest, **named)

    rclpy.node.Node.create_subscription = create_subscription
    for when in ("pre", "post"):
        delattr(rclpy.node.Node, f"add_{when}_set_parameters_callback")
    for name in ("event_handler", "experimental"):
        sys.modules[f"rclpy.{name}"] = None


def run(name: str, args: list[str]) -> int:
    """Run a module's `main` with Humble's rclpy."""
    make_old()
    module = import_module(name)
    if hasattr(module, "Subscription"):
        module.Subscription = OldSubscription
    return module.main(args)


if __name__ == "__main__":
    assert sys.argv[1] == "-m"
    sys.exit(run(sys.argv[2], sys.argv[3:]))
