"""Positions of joints as the messages that ros2_control's controllers take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from std_msgs.msg import Float64MultiArray

from dualtalker_ros.topics.types import import_type

if TYPE_CHECKING:
    from dualtalker.outputs import Servos

_TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"


class ServoCommands:
    """Publishes what each joint is to do until the next command."""

    def __init__(self, node: Any, servos: Servos) -> None:
        """ImportError where trajectories are wanted and there are no such messages."""
        if servos.message == "trajectory":
            self._message = import_type(_TRAJECTORY)(joint_names=list(servos.joints))
            point = import_type(f"{_TRAJECTORY}Point")()
            point.time_from_start.nanosec = round(1e9 / servos.rate_hz)
            self._message.points = [point]
        else:
            self._message = Float64MultiArray()
        self._publisher = node.create_publisher(type(self._message), servos.topic, 10)

    def send(self, positions: np.ndarray, velocities: np.ndarray) -> None:
        """Publish positions and velocities per second, both [joints]."""
        if isinstance(self._message, Float64MultiArray):
            self._message.data = positions.tolist()
        else:
            [point] = self._message.points
            point.positions, point.velocities = positions.tolist(), velocities.tolist()
        self._publisher.publish(self._message)
