"""Messages for bags, bags of them, and the command run on these."""

from __future__ import annotations

import numpy as np

from dualtalker.bags import Bag, GivenFormat, find_types
from dualtalker.bags.audio import read_bag_audio
from dualtalker.bags.writing import START_NS
from dualtalker.cli.main import main

RATE_HZ = 16000
JOINT_STATE = "sensor_msgs/msg/JointState"


def write_topics(path, topics):
    """Write messages by topic: name -> (type, [(time in ns, message)])."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for name, (type_name, messages) in topics.items():
            store = find_types(type_name)
            connection = writer.add_connection(name, type_name, typestore=store)
            for at_ns, message in messages:
                writer.write(connection, at_ns, store.serialize_cdr(message, type_name))
    return path


def int16_message(samples):
    types = find_types("std_msgs/msg/Int16MultiArray").types
    layout = types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    pcm = np.asarray(samples, np.int16)
    return types["std_msgs/msg/Int16MultiArray"](layout=layout, data=pcm)


def face_message(names, values, at_ns=START_NS):
    types = find_types(JOINT_STATE).types
    stamp = types["builtin_interfaces/msg/Time"](sec=at_ns // 10**9, nanosec=at_ns % 10**9)
    return types[JOINT_STATE](
        header=types["std_msgs/msg/Header"](stamp=stamp, frame_id=""),
        name=list(names),
        position=np.asarray(values, np.float64),
        velocity=np.zeros(0),
        effort=np.zeros(0),
    )


def open_audio(path, topic=None, **given_format):
    with Bag(path) as bag:
        return read_bag_audio(bag, topic, GivenFormat(**given_format))


def run(*arguments):
    return main([str(argument) for argument in arguments])
