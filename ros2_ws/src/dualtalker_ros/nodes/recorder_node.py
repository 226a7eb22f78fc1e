"""Records topics to a rosbag2 (MCAP), each message with the time it was received.

    python -m dualtalker_ros.nodes.recorder_node my_bag

Messages are written as they come, undecoded; rosbag2's own libraries are not needed. Receive
times are of the system clock; with use_sim_time of /clock, and nothing is written before it is
heard (as by `ros2 bag record`), so that they fit stamps and what was recorded elsewhere.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

from rclpy.clock import Clock, ClockType

from dualtalker.bags import BAG_VERSION, find_types, import_rosbags
from dualtalker.errors import BagError
from dualtalker_ros.parameters import Parameter, ParameterNode
from dualtalker_ros.processes import run_node, spin
from dualtalker_ros.topics import OfferedSubscription, find_type, import_type

TOPICS = ["audio", "phones", "blendshapes", "mouth_open", "/diagnostics"]

PARAMETERS = (
    Parameter("output", "bag", "Folder of the bag; must not exist.", read_only=True),
    Parameter(
        "topics", TOPICS, "Topics to record, each from its first publisher on.", read_only=True
    ),
)


class RecorderNode(ParameterNode):
    """Subscribes each topic once its publisher, and so its type, is known."""

    def __init__(self) -> None:
        """Make no bag yet; FileExistsError where there is something, BagError without rosbags."""
        super().__init__("recorder", PARAMETERS)
        if not self.value("output"):
            raise BagError("output is empty; expected a folder that does not exist yet")
        output = Path(self.value("output"))
        if output.exists():
            raise FileExistsError(f"{output} exists; remove it or choose another output")
        self._missing = list(self.value("topics"))
        rosbag2 = import_rosbags().rosbag2
        self._writer = rosbag2.Writer(
            output, version=BAG_VERSION, storage_plugin=rosbag2.StoragePlugin.MCAP
        )
        # Simulated time may begin only when its player sees that somebody listens.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(0.05, self._look_around, clock=steady)

    def record(self) -> None:
        """Record until a signal comes, and write the bag's index: most readers need it.

        Raises BagError where the bag cannot be made.
        """
        try:
            spin(self, begin=self._open)
        finally:
            if self._writer.storage is not None:
                self._writer.close()

    def _open(self) -> None:
        try:
            self._writer.open()
        except OSError as error:
            raise BagError(str(error)) from error

    def _look_around(self) -> None:
        for topic in list(self._missing):
            type_name = find_type(self, topic)
            if type_name is not None:
                self._missing.remove(topic)
                self._record(topic, type_name)

    def _record(self, topic: str, type_name: str) -> None:
        name = self.resolve_topic_name(topic)
        try:
            types = find_types(type_name)
        except BagError:
            self.get_logger().error(
                f"not recording {name}: {type_name} is neither among the types of ROS 2 Jazzy nor "
                "of audio_common_msgs; use `ros2 bag record` for it"
            )
            return
        connection = self._writer.add_connection(name, type_name, typestore=types)
        OfferedSubscription(
            self, import_type(type_name), topic, partial(self._write, connection), 1000, raw=True
        )
        self.get_logger().info(f"recording {name} ({type_name})")

    def _write(self, connection, data: bytes) -> None:
        now_ns = time.time_ns()
        if self.get_clock().ros_time_is_active:
            now_ns = self.get_clock().now().nanoseconds
        if now_ns > 0:
            self._writer.write(connection, now_ns, data)
        else:
            self.get_logger().warning(
                "not recorded, as use_sim_time is on and /clock tells no time", once=True
            )


def main(args: list[str] | None = None) -> int:
    """Record until interrupted; the bag is complete afterwards. Status 1 where none can begin."""
    return run_node("recorder", RecorderNode, RecorderNode.record, args, takes="output")


if __name__ == "__main__":
    sys.exit(main())
