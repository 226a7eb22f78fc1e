"""Sends `blendshapes` to faces of others: VTuber programs, Unreal.

    ros2 launch dualtalker talker.launch.py send:="[vmc://192.168.1.20:39539]"
    python -m dualtalker_ros.nodes.bridge_node --ros-args -p 'send:=["livelink://HOST"]'

docs/outputs.md tells of the outputs, docs/ros_api.md of topics and parameters.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import JointState

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import OutputError
from dualtalker.faults import Faults
from dualtalker.outputs import outputs_open
from dualtalker.stream import Frame
from dualtalker_ros.parameters import Parameter, ParameterNode
from dualtalker_ros.processes import run_node, spin_and_close
from dualtalker_ros.topics import FaceReader, Growth, judge_growth, make_diagnostics

_QUEUE_DEPTH = 100  # frames: a moment that the machine has no time must lose none

PARAMETERS = (
    Parameter(
        "send",
        [""],
        'Where the face goes, for example ["vmc://127.0.0.1:39539"].',
        read_only=True,
    ),
)


class BridgeNode(ParameterNode):
    """Hands each frame on as it comes."""

    def __init__(self) -> None:
        """Raises ValueError for a parameter, OutputError where nothing can be sent."""
        super().__init__("bridge", PARAMETERS)
        addresses = [address for address in self.value("send") if address]
        if not addresses:
            raise OutputError("nowhere to send to: -p 'send:=[\"vmc://127.0.0.1:39539\"]'")
        self._open = ExitStack()
        outputs = self._open.enter_context(outputs_open(addresses))
        self._outputs = dict(zip(addresses, outputs, strict=True))
        self._reader = FaceReader()
        self._frames = 0
        self._faults = Faults(("bad_frames",), self.get_logger().warning)
        self._growth = Growth()
        self.create_subscription(JointState, "blendshapes", self._send, _QUEUE_DEPTH)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # one that /clock does not stop
        self.create_timer(1.0, self._report, clock=steady)

    def close(self) -> None:
        """Free the sockets."""
        self._open.close()

    def _send(self, message: JointState) -> None:
        try:
            values = self._reader.read(message)
        except ValueError as error:
            self._faults.count("bad_frames", str(error))
            return
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        weights, head = np.split(values, [len(ARKIT_NAMES)])
        told = head if self._reader.has_head else None
        frame = Frame(self._frames, stamp_ns / 1e9, stamp_ns, weights, False, told)
        for output in self._outputs.values():
            output.send(frame)
        self._frames += 1

    def _report(self) -> None:
        counters = dict(self._faults.counters)
        for address, output in self._outputs.items():
            counters |= {f"{address}: {kind}": n for kind, n in output.counters.items()}
        lost = {kind: n for kind, n in counters.items() if not kind.endswith(": sent")}
        level, text = judge_growth(self._growth.look(lost), f"{len(self._outputs)} outputs")
        values = {"frames": self._frames, **counters}
        self._diagnostics.publish(make_diagnostics(self, "bridge", level, text, values))


def main(args: list[str] | None = None) -> int:
    """Send the face until interrupted."""
    return run_node("bridge", BridgeNode, spin_and_close, args)


if __name__ == "__main__":
    sys.exit(main())
