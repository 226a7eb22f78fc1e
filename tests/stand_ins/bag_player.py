"""Plays a bag's audio over DDS at the times of its recording, undecoded, like `ros2 bag play`.

    python tests/stand_ins/bag_player.py BAG TYPE SUBSCRIBERS FROM_S TO_S

Says `ready` once there are subscribers, then waits for the bag to appear. What lies between the
two times after the first message is left out: a pause.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import rclpy
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import Reader

from dualtalker_ros.topics import import_type
from ros_handshake import Handshake

TIMEOUT_S = 30.0


def main(bag: Path, message_type: str, subscribers: int, pause_s: tuple[float, float]) -> None:
    rclpy.init()
    node = rclpy.create_node("player")
    qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
    publisher = node.create_publisher(import_type(message_type), "audio", qos)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while publisher.get_subscription_count() < subscribers:
        executor.spin_once(timeout_sec=0.05)
    handshake = Handshake(node, executor.spin_once, publisher)
    if not handshake.meet(TIMEOUT_S):
        raise TimeoutError("the listeners do not answer")
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
    handshake.meet(TIMEOUT_S)  # best effort acknowledges nothing
    rclpy.shutdown()


if __name__ == "__main__":
    begin_s, end_s = map(float, sys.argv[4:])
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), (begin_s, end_s))
