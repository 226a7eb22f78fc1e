"""Plays a bag's audio over DDS at the times of its recording, undecoded, like `ros2 bag play`.

    python tests/stand_ins/bag_player.py BAG TYPE SUBSCRIBERS FROM_S TO_S

Says `ready` once there are subscribers, then waits for the bag to appear. Audio that lies between
the two times after the first message is left out: a pause. Messages of phones, for one talker and
a recorder, are in BAG.phones, one a line of JSON: time and text.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import rclpy
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import Reader
from std_msgs.msg import String

from dualtalker_ros.topics import import_type
from ros_handshake import Handshake

TIMEOUT_S = 120.0  # nodes start meanwhile, on a busy machine
PHONES = "/lively/phones"


def main(bag: Path, message_type: str, subscribers: int, pause_s: tuple[float, float]) -> None:
    rclpy.init()
    node = rclpy.create_node("player")
    qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
    publisher = node.create_publisher(import_type(message_type), "audio", qos)
    phones = node.create_publisher(String, PHONES, qos)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    both = {publisher: subscribers, phones: 2}
    deadline_s = time.monotonic() + TIMEOUT_S
    while any(each.get_subscription_count() < count for each, count in both.items()):
        if time.monotonic() > deadline_s:
            raise TimeoutError("fewer listeners than expected came")
        executor.spin_once(timeout_sec=0.05)
    handshakes = [Handshake(node, executor.spin_once, each) for each in both]
    if not all(handshake.meet(TIMEOUT_S) for handshake in handshakes):
        raise TimeoutError("the listeners do not answer")
    print("ready", flush=True)
    while not bag.exists():
        time.sleep(0.01)
    with Reader(bag) as reader:
        connections = [c for c in reader.connections if c.topic == "/audio"]
        audio = [(at_ns, bytes(data)) for _, at_ns, data in reader.messages(connections)]
    begin_ns, end_ns = (audio[0][0] + round(after_s * 1e9) for after_s in pause_s)
    sent = [(at_ns, publisher, data) for at_ns, data in audio if not begin_ns <= at_ns < end_ns]
    told = map(json.loads, bag.with_suffix(".phones").read_text("utf-8").splitlines())
    sent += [(at_ns, phones, String(data=text)) for at_ns, text in told]
    for at_ns, through, message in sorted(sent, key=lambda one: one[0]):
        time.sleep(max((at_ns - time.time_ns()) / 1e9, 0.0))
        through.publish(message)
    for each, handshake in zip(both, handshakes, strict=True):
        each.wait_for_all_acked(Duration(seconds=5))
        handshake.meet(TIMEOUT_S)  # best effort acknowledges nothing
    rclpy.shutdown()


if __name__ == "__main__":
    begin_s, end_s = map(float, sys.argv[4:])
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), (begin_s, end_s))
