"""Records topics of any type, undecoded, in a process of its own; judges nothing.

    python tests/stand_ins/topic_ear.py OUT.json '{"audio": ["std_msgs/msg/Int16MultiArray", 50]}'

Prints "ready" when it has subscribed to all, and ends when each topic gave as many messages as
asked for, with status 1 where that takes longer than a minute. OUT.json then holds for each topic
when each message came (s, system time) and its bytes in hexadecimal.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path

TIMEOUT_S = 60.0


def listen(wanted: dict[str, list], out: Path) -> bool:
    """Record `wanted` messages, a type and a count for each topic; return whether all came."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    rclpy.init()
    node = rclpy.create_node("topic_ear")
    heard: dict[str, list] = {topic: [] for topic in wanted}
    qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
    for topic, (type_name, _) in wanted.items():
        package, _, name = type_name.split("/")
        node.create_subscription(
            getattr(import_module(f"{package}.msg"), name),
            topic,
            lambda raw, topic=topic: heard[topic].append((time.time(), raw.hex())),
            qos,
            raw=True,
        )
    print("ready", flush=True)
    deadline_s = time.monotonic() + TIMEOUT_S
    done = False
    while not done and time.monotonic() < deadline_s:
        rclpy.spin_once(node, timeout_sec=0.05)
        done = all(len(heard[topic]) >= count for topic, (_, count) in wanted.items())
    print({topic: len(messages) for topic, messages in heard.items()}, flush=True)
    out.write_text(json.dumps(heard), "utf-8")
    rclpy.shutdown()
    return done


if __name__ == "__main__":
    sys.exit(0 if listen(json.loads(sys.argv[2]), Path(sys.argv[1])) else 1)
