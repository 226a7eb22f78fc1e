"""Sends `blendshapes` to faces of others: VTuber programs, Unreal, a robot's servos.

    ros2 launch dualtalker talker.launch.py send:="[vmc://192.168.1.20:39539]"
    python -m dualtalker_ros.nodes.bridge_node --ros-args -p 'send:=["livelink://HOST"]'
    python -m dualtalker_ros.nodes.bridge_node --ros-args -p servos:=my_robot.yaml

docs/outputs.md tells of the outputs, docs/ros_api.md of topics and parameters.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import OutputError
from dualtalker.outputs import ServoMotion, load_servos, outputs_open
from dualtalker.stream import Frame
from dualtalker_ros.nodes.show_node import DELAY_PARAMETER, ShowNode
from dualtalker_ros.parameters import Parameter
from dualtalker_ros.processes import run_node, spin_and_close
from dualtalker_ros.topics import ServoCommands

PARAMETERS = (
    Parameter(
        "send",
        [""],
        'Where the face goes, for example ["vmc://127.0.0.1:39539"].',
        read_only=True,
    ),
    Parameter(
        "servos",
        "",
        "YAML file of a robot's servos, whose commands are published; empty: none.",
        read_only=True,
    ),
    DELAY_PARAMETER,
)


class BridgeNode(ShowNode):
    """Hands each frame on as it comes, and to servos in time with its sound."""

    part = "bridge"

    def __init__(self) -> None:
        """Raises ValueError for a parameter, OutputError where nothing can be sent."""
        super().__init__("bridge", PARAMETERS, ("short_leads",))
        addresses = [address for address in self.value("send") if address]
        file = self.value("servos")
        if not addresses and not file:
            raise OutputError(
                "nowhere to send to: -p 'send:=[\"vmc://127.0.0.1:39539\"]', or -p servos:=FILE"
            )
        self._motion: ServoMotion | None = None
        self._moving = 0  # frames that moved them, at the last report
        if file:
            servos = load_servos(Path(file))
            self._motion, self._commands = ServoMotion(servos), ServoCommands(self, servos)
        self._open = ExitStack()
        outputs = self._open.enter_context(outputs_open(addresses))
        self._outputs = dict(zip(addresses, outputs, strict=True))
        self.listen()
        if self._motion is not None:
            if self._motion.lead_s and self.delay.source == "arrival":
                self.get_logger().info(
                    "when the sound is heard is not known before speaker/latency, or the "
                    "parameter audio_delay_ms, tells it: until then joints move as frames come"
                )
            self.create_timer(self._motion.step_s, self._move, clock=self.steady)

    def close(self) -> None:
        """Free the sockets."""
        self._open.close()

    def show(self, stamp_ns: int, values: np.ndarray, has_head: bool) -> None:
        """Send a frame, and keep it for the servos."""
        if self._motion is not None:
            heard_s, now_s = self.find_show_s(stamp_ns)
            self._motion.add(heard_s, values, now_s)
        weights, head = np.split(values, [len(ARKIT_NAMES)])
        told = head if has_head else None
        frame = Frame(self.shown, stamp_ns / 1e9, stamp_ns, weights, False, told)
        for output in self._outputs.values():
            output.send(frame)

    def _move(self) -> None:
        if self._motion is not None and self.shown:
            positions = self._motion.advance(time.monotonic())
            self._commands.send(positions, self._motion.velocities)

    def describe(self) -> tuple[str, dict[str, Any], dict[str, int]]:
        """Return what was sent, and whether the servos know the face early enough."""
        values: dict[str, Any] = {"frames": self.shown}
        faults: dict[str, int] = {}
        for address, output in self._outputs.items():
            for kind, count in output.counters.items():
                (values if kind == "sent" else faults)[f"{address}: {kind}"] = count
        if self._motion is not None:
            values |= self._describe_lead(self._motion)
        return f"{len(self._outputs) + (self._motion is not None)} outputs", values, faults

    def _describe_lead(self, motion: ServoMotion) -> dict[str, str]:
        available_s = motion.available_s()
        moved, self._moving = motion.moving - self._moving, motion.moving
        is_known = self.delay.source != "arrival"  # when the sound is heard
        if moved and is_known and available_s is not None and available_s < motion.lead_s:
            self.count(
                "short_leads",
                f"a joint is to move {motion.lead_s * 1e3:.0f} ms before its sound, and the face "
                f"is known {available_s * 1e3:.0f} ms before: it comes late by "
                f"{(motion.lead_s - available_s) * 1e3:.0f} ms. A larger buffer_ms of the speaker "
                "makes room, where audio_delay_ms or speaker/latency tell of it "
                "(docs/outputs.md, Servos)",
            )
        told = "-" if available_s is None else f"{available_s * 1e3:.1f}"
        return {
            "lead needed (ms)": f"{motion.lead_s * 1e3:.1f}",
            "lead available (ms)": told,
            "sound delay (ms)": f"{self.delay.s * 1e3:.1f}",
            "sound delay is of": self.delay.source,
        }


def main(args: list[str] | None = None) -> int:
    """Send the face until interrupted."""
    return run_node("bridge", BridgeNode, spin_and_close, args)


if __name__ == "__main__":
    sys.exit(main())
