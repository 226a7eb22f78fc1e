"""Plays the speech of a rosbag in simulated time, to a talker that is there from its beginning on.

    python -m dualtalker_ros.nodes.bag_player_node talk/

Unlike `ros2 bag play --clock`, which loses the beginning of the speech to discovery and stops
/clock with the last message, this waits for its listeners, tells the audio's format before the
audio, and lets the time run on until a talker has sent its last frames. Plays once, in real time.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from rosgraph_msgs.msg import Clock

from dualtalker.audio import BARE_TYPES, AudioFormat, read_info
from dualtalker.bags import (
    REFERENCE_TOPIC,
    Bag,
    find_audio_topic,
    find_info_topic,
    find_phones_topic,
)
from dualtalker.errors import AudioError, BagError
from dualtalker_ros.parameters import Parameter, ParameterNode
from dualtalker_ros.processes import run_node
from dualtalker_ros.topics import INFO_TOPIC, import_type, wait_for_listeners

# Messages fit in whole even where a listener is held up for seconds.
_QUEUE_DEPTH = 1000
# Between two messages of /clock: what is timed by it is as exact as this.
TICK_S = 0.004

PARAMETERS = (
    Parameter("bag", "", "Bag to play: folder, .mcap or .db3.", read_only=True),
    Parameter("audio_topic", "", "Topic of the speech; empty: the only one.", read_only=True),
    Parameter("topics", [REFERENCE_TOPIC], "Topics played with it, if any.", read_only=True),
    Parameter(
        "wait_for_subscribers", 1, "Subscribers of the speech to wait for.", 1, 100, read_only=True
    ),
    Parameter("wait_s", 30.0, "How long to wait for them (s).", 0.0, 600.0, read_only=True),
    Parameter("lead_in_s", 2.0, "Time from there to the first message (s).", 0.0, 60.0, (), True),
    Parameter("tail_s", 3.0, "Time after the last message (s).", 0.0, 60.0, read_only=True),
)


class BagPlayerNode(ParameterNode):
    """Publishes /clock and the messages of a bag as they were recorded, undecoded."""

    def __init__(self) -> None:
        """Read the bag; BagError, or ImportError where a message type is not installed."""
        super().__init__("bag_player", PARAMETERS)
        if not self.value("bag"):
            raise BagError("no bag given; for example: bag_player_node talk/")
        with Bag(Path(self.value("bag"))) as bag:
            self._speech = find_audio_topic(bag, self.value("audio_topic") or None)
            phones = find_phones_topic(bag, self._speech)
            told = {self._speech, *self.value("topics"), *filter(None, [phones])}
            wanted = told & set(bag.topics)
            self._messages = list(bag.read_raw(wanted))
            self._infos = self._read_infos(bag)
            types = {name: bag.topics[name].type_name for name in wanted}
        if not any(topic == self._speech for _, topic, _ in self._messages):
            raise BagError(f"{self.value('bag')}: {self._speech} holds no message")
        qos = QoSProfile(depth=_QUEUE_DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        self._publishers_of = {
            # Phones go where a talker hears them, from wherever they were recorded.
            name: self.create_publisher(
                import_type(type_name), "phones" if name == phones else name, qos
            )
            for name, type_name in types.items()
        }
        self._clock_publisher = self.create_publisher(Clock, "/clock", 10)

    def wait_for_listeners(self) -> None:
        """Return when enough are there; TimeoutError says how many came."""
        wanted, wait_s = self.value("wait_for_subscribers"), self.value("wait_s")
        wait_for_listeners(self, self._publishers_of[self._speech], wanted, wait_s)

    def play(self) -> None:
        """Send everything at its time; the clock begins before and ends after it."""
        self.get_logger().info(f"playing {self.value('bag')}")
        first_ns, last_ns = self._messages[0][0], self._messages[-1][0]
        lead_ns, tail_ns = (round(self.value(n) * 1e9) for n in ("lead_in_s", "tail_s"))
        # Bags of made-up times may begin at 0; a time of 0 means that there is none yet. What the
        # lead lacks then, the clock stands still at its beginning.
        begin_ns = max(first_ns - lead_ns, 1)
        self._tell_time(begin_ns, (lead_ns - (first_ns - begin_ns)) / 1e9)
        self._ahead_ns = begin_ns - time.monotonic_ns()
        # Within the lead: who records by /clock has a time for it, and the audio comes later.
        self._tick_until((begin_ns + first_ns) // 2)
        for data in self._infos:
            self._info_publisher.publish(data)
        for at_ns, topic, data in self._messages:
            self._tick_until(at_ns)
            self._publishers_of[topic].publish(data)
        self._tick_until(last_ns + tail_ns)
        for publisher in self._publishers_of.values():
            publisher.wait_for_all_acked(Duration(seconds=2))
        self.get_logger().info("all played")

    def _read_infos(self, bag: Bag) -> list[bytes]:
        """Return what tells the format of the speech; make its publisher if there is any."""
        name = find_info_topic(bag, self._speech)
        if name is None or bag.topics[self._speech].type_name not in BARE_TYPES:
            return []
        qos = QoSProfile(
            depth=_QUEUE_DEPTH,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,  # as its driver has it
        )
        message_class = import_type(bag.topics[name].type_name)
        self._info_publisher = self.create_publisher(message_class, INFO_TOPIC, qos)
        # What comes later in the bag is from a restarted driver; `dualtalker evaluate`, too,
        # believes the first that makes sense.
        infos = []
        for (_, message), (_, _, data) in zip(bag.read(name), bag.read_raw({name}), strict=True):
            infos.append(data)
            with suppress(AudioError):
                read_info(message, AudioFormat())
                break
        return infos

    def _tell_time(self, now_ns: int, for_s: float) -> None:
        """Publish the same time for a while."""
        end_s = time.monotonic() + for_s
        while time.monotonic() < end_s:
            self._publish_time(now_ns)
            time.sleep(TICK_S)

    def _tick_until(self, moment_ns: int) -> None:
        """Publish /clock until that moment, and then once more: listeners know it exactly."""
        while (now_ns := time.monotonic_ns() + self._ahead_ns) < moment_ns:
            self._publish_time(now_ns)
            time.sleep(min(TICK_S, (moment_ns - now_ns) / 1e9))
        self._publish_time(now_ns)

    def _publish_time(self, now_ns: int) -> None:
        self._clock_publisher.publish(Clock(clock=Time(nanoseconds=now_ns).to_msg()))


def start() -> BagPlayerNode:
    """Return a player whose listeners are there."""
    node = BagPlayerNode()
    node.wait_for_listeners()
    return node


def main(args: list[str] | None = None) -> int:
    """Play the bag once and end; exit status 1 where that cannot be done."""
    return run_node("bag_player", start, BagPlayerNode.play, args, takes="bag")


if __name__ == "__main__":
    sys.exit(main())
