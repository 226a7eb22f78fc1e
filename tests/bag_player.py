"""Plays a bag's audio over DDS at the times of its recording, undecoded, like `ros2 bag play`.

    python tests/bag_player.py BAG TYPE SUBSCRIBERS FROM_S TO_S

Says `ready` once there are subscribers, then waits for the bag to appear. What lies between the
two times after the first message is left out: a pause.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import rclpy
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import Reader

from dualtalker_ros.topic_types import import_type


def main(bag: Path, message_type: str, subscribers: int, pause_s: tuple[float, float]) -> None:
    rclpy.init()
    node = rclpy.create_node("player")
    qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
    publisher = node.create_publisher(import_type(message_type), "audio", qos)
    while publisher.get_subscription_count() < subscribers:
        rclpy.spin_once(node, timeout_sec=0.05)
    time.sleep(1.0)  # subscribers know each other a little later
    print("ready", flush=True)
    while not bag.exists():
        time.sleep(0.01)
    with Reader(bag) as reader:
        connections = [c for c in reader.connections if c.topic == "/audio"]
        messages = [(at_ns, bytes(data)) for _, at_ns, data in reader.messages(connections)]
    for at_ns, data in messages:
        after_s = (at_ns - messages[0][0]) / 1e9
        if not pause_s[0] <= after_s < pause_s[1]:
            time.sleep(max((at_ns - time.time_ns()) / 1e9, 0.0))
            publisher.publish(data)
    publisher.wait_for_all_acked(Duration(seconds=5))
    rclpy.shutdown()


if __name__ == "__main__":
    begin_s, end_s = map(float, sys.argv[4:])
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), (begin_s, end_s))
