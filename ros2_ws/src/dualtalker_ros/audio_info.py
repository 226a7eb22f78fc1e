"""Listens to ros-drivers' AudioInfo, which tells the format of byte arrays that do not.

audio_capture sends one on `audio_info` and keeps it for late listeners. What it tells goes before
the node's parameters; whatever no reader understands is refused, logged, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rclpy.qos import QoSProfile

from dualtalker.audio_messages import AudioFormat
from dualtalker.errors import AudioError
from dualtalker.resampling import check_rate
from dualtalker_ros.parameters import SAMPLE_FORMATS
from dualtalker_ros.topic_types import import_type

TOPIC = "audio_info"
INFO_TYPE = "audio_common_msgs/msg/AudioInfo"
# Types whose messages are bytes without a format.
BARE_TYPES = ("audio_common_msgs/msg/AudioDataStamped", "audio_common_msgs/msg/AudioData")
MAX_CHANNELS = 64


def read_info(message: Any, parameters: AudioFormat) -> AudioFormat:
    """Return the format that an AudioInfo tells; fields of zero or "" are left to `parameters`.

    Raises:
        AudioError: the coding is compressed, or rate, channels or sample format are unknown.
    """
    coding = str(message.coding_format).strip().lower()
    if coding not in ("", "wave", "wav", "raw", "pcm"):
        raise AudioError(
            f"audio_info tells of {coding!r}; expected uncompressed audio: start audio_capture "
            "with format:=wave"
        )
    told = str(message.sample_format).strip().upper()
    if told and told not in SAMPLE_FORMATS:
        raise AudioError(
            f"audio_info tells of samples in {told!r}; expected one of {', '.join(SAMPLE_FORMATS)}"
        )
    channels = int(message.channels) or parameters.channels
    if channels > MAX_CHANNELS:
        raise AudioError(f"audio_info tells of {channels} channels; expected 1 to {MAX_CHANNELS}")
    rate_hz = int(message.sample_rate) or parameters.rate_hz
    check_rate(rate_hz)
    return replace(
        parameters,
        rate_hz=rate_hz,
        channels=channels,
        sample_format=told or parameters.sample_format,
    )


class AudioInfoListener:
    """Has `apply` called with each AudioInfo once `look` has found its publisher."""

    def __init__(self, node: Any, apply: Callable[[Any], None]) -> None:
        """`apply` may raise `AudioError`, which is logged."""
        self._node, self._apply = node, apply
        self._subscription: Any = None

    def look(self) -> None:
        """Subscribe once there is a publisher, with its own durability: none fits both kinds."""
        if self._subscription is not None:
            return
        name = self._node.resolve_topic_name(TOPIC)
        for publisher in self._node.get_publishers_info_by_topic(name):
            if publisher.topic_type == INFO_TYPE:
                break
        else:
            return
        message_class = import_type(INFO_TYPE)
        if not hasattr(message_class, "coding_format"):  # mgonzs13's, which audio carries itself
            return
        profile = publisher.qos_profile
        qos = QoSProfile(depth=1, reliability=profile.reliability, durability=profile.durability)
        self._subscription = self._node.create_subscription(message_class, name, self._read, qos)

    def _read(self, message: Any) -> None:
        if self._subscription is None:
            return
        try:
            self._apply(message)
        except AudioError as error:
            self._node.get_logger().error(f"{error}; it changes nothing")

    def stop(self) -> None:
        """Listen no more."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
