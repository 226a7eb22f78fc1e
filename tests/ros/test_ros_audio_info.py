"""AudioInfo of ros-drivers tells a talker the format of bytes that do not tell their own."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from audio_driver import Segment, Stream
from dualtalker.audio import INFO_TYPE
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


class NodeStub:
    """A node of whose graph one publisher of AudioInfo is known."""

    def __init__(self):
        self.errors, self.subscribed = [], []

    def resolve_topic_name(self, name):
        return f"/robot/{name}"

    def get_publishers_info_by_topic(self, name):
        profile = SimpleNamespace(reliability=1, durability=1)
        return [SimpleNamespace(topic_type=INFO_TYPE, qos_profile=profile)]

    def get_logger(self):
        return SimpleNamespace(error=self.errors.append)

    def create_subscription(self, *given):
        self.subscribed.append(given)
        return given

    def destroy_subscription(self, subscription):
        self.subscribed.remove(subscription)


# What a package of that name may hold, and what is said of it.
PACKAGES = {
    "none": (None, "No module named 'audio_common_msgs"),
    "without AudioInfo": ({}, "has no attribute 'AudioInfo'"),
    "mgonzs13's": ({"AudioInfo": type("AudioInfo", (), {"rate": 0})}, "no coding_format"),
}


def install_messages(monkeypatch, classes):
    """Have a package audio_common_msgs of these classes."""
    messages = ModuleType("audio_common_msgs.msg")
    vars(messages).update(classes)
    monkeypatch.setitem(sys.modules, "audio_common_msgs", ModuleType("audio_common_msgs"))
    monkeypatch.setitem(sys.modules, "audio_common_msgs.msg", messages)


def look_thrice():
    """Return a node and its listener, which has looked for a publisher three times."""
    from dualtalker_ros.talker import AudioInfoListener

    node = NodeStub()
    listener = AudioInfoListener(node, lambda message: None)
    for _ in range(3):
        listener.look()
    return node, listener


@pytest.mark.parametrize("package", list(PACKAGES))
def test_without_its_class_audio_info_is_given_up_and_told_once(ros, monkeypatch, package):
    classes, says = PACKAGES[package]
    if classes is not None:
        install_messages(monkeypatch, classes)
    node = look_thrice()[0]
    assert len(node.errors) == 1 and not node.subscribed
    for part in (says, "/robot/audio_info", "ros-drivers' audio_common_msgs", "sample_rate_hz"):
        assert part in node.errors[0]


def test_ros_drivers_class_is_listened_to_once(ros, monkeypatch):
    install_messages(monkeypatch, {"AudioInfo": type("AudioInfo", (), {"coding_format": ""})})
    node, listener = look_thrice()
    assert not node.errors and len(node.subscribed) == 1
    listener.stop()
    assert not node.subscribed


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
