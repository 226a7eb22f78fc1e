"""AudioInfo of ros-drivers tells a talker the format of bytes that do not tell their own."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from audio_driver import Segment, Stream
from ros_processes import Listener, stamp_ns
from ros_troupe import (
    START_TIMEOUT_S,
    Process,
    closing_all,
    expected_mouth,
    face_of,
    find_lag,
    interrupt_all,
    start_driver,
    start_talker,
    wait_for_begin,
)

from dualtalker.audio_messages import AudioFormat
from dualtalker.errors import AudioError

# Keeps an AudioInfo for late listeners until it is ended: first one of MP3, then the right one.
TELLER = """
import sys, time
import rclpy
from audio_common_msgs.msg import AudioInfo
from rclpy.qos import DurabilityPolicy, QoSProfile

rclpy.init()
node = rclpy.create_node("teller")
qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
publisher = node.create_publisher(AudioInfo, sys.argv[1], qos)
publisher.publish(AudioInfo(coding_format="mp3", sample_rate=16000, channels=1))
while publisher.get_subscription_count() == 0:
    time.sleep(0.05)
time.sleep(0.5)
publisher.publish(AudioInfo(channels=2, sample_rate=44100, sample_format="F32LE",
                            coding_format="wave"))
time.sleep(600)
"""


def info(**fields):
    values = {"channels": 0, "sample_rate": 0, "sample_format": "", "coding_format": ""}
    return SimpleNamespace(**{**values, **fields})


def test_fields_that_say_nothing_are_left_to_the_parameters():
    pytest.importorskip("rclpy")
    from dualtalker_ros.audio_info import read_info

    own = AudioFormat(22050, 2, "S24LE")
    assert read_info(info(), own) == own
    told = info(channels=1, sample_rate=48000, sample_format="s16le", coding_format="WAVE")
    assert read_info(told, own) == AudioFormat(48000, 1, "S16LE")
    for wrong, says in (
        ({"coding_format": "mp3"}, "format:=wave"),
        ({"sample_format": "S12LE"}, "S12LE"),
        ({"sample_rate": 100}, "100"),
        ({"channels": 200}, "200 channels"),
    ):
        with pytest.raises(AudioError, match=says):
            read_info(info(**wrong), own)


def test_what_audio_info_tells_is_heard(ros_domain, interfaces, tiny, tmp_path):
    from sensor_msgs.msg import JointState

    path, spoken_s, seed, ahead_s = interfaces["ros_drivers"], 2.5, 3, 0.5
    segment = Segment(0.0, spoken_s, 44100, 2, "F32LE", 0.25, burst=True)
    message_type = "audio_common_msgs/msg/AudioDataStamped"
    stream = Stream("/told/audio", message_type, [segment], seed, ahead_s=ahead_s)
    with closing_all() as processes:
        talker = start_talker("/told", tmp_path, path, model=tiny, audio_type=message_type)
        processes.append(talker)
        command = [sys.executable, "-c", TELLER, "/told/audio_info"]
        processes.append(Process(command, tmp_path / "teller.log", path))
        listener = Listener()
        try:
            heard = listener.hear(JointState, "/told/blendshapes")
            listener.spin_until(
                lambda: "audio_info: F32LE, 44100 Hz, 2 channels" in talker.text(), START_TIMEOUT_S
            )
            assert "tells of 'mp3'" in talker.text()
            processes.append(start_driver([stream], tmp_path, "driver", path))
            begin_ns = wait_for_begin(processes[-1], listener)
            end_ns = begin_ns + int((ahead_s + spoken_s) * 1e9)
            listener.spin_until(lambda: heard and stamp_ns(heard[-1][1]) > end_ns)
        finally:
            listener.close()
        face = face_of(heard, begin_ns).between(ahead_s + 0.2, ahead_s + spoken_s - 0.2)
        times_s, mouth = expected_mouth(tiny, spoken_s, seed)
        lag_s, likeness = find_lag(face, times_s + ahead_s, mouth)
        assert likeness > 0.9 and abs(lag_s) < 0.01, talker.text()
        assert interrupt_all([talker])["told"] == 0
