"""Listens to ros-drivers' AudioInfo, which tells the format of byte arrays that do not.

audio_capture sends one on `audio_info` and keeps it for late listeners. What it tells goes before
the node's parameters (`dualtalker.audio.read_info`); whatever no reader understands is refused,
logged, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile

from dualtalker.audio import INFO_TYPE, AudioFormat, is_info, read_info
from dualtalker.errors import AudioError
from dualtalker_ros.topics import INFO_TOPIC, import_type, read_format


class AudioInfoListener:
    """Has `apply` called with each format that is told, once `look` has found its publisher."""

    def __init__(self, node: Any, apply: Callable[[AudioFormat], None]) -> None:
        """Hear nothing yet."""
        self._node, self._apply = node, apply
        self._info: Any = None  # the last that made sense
        self._subscription: Any = None
        self._hopeless = False  # whatever is published, there is no class to read it with

    def look(self) -> None:
        """Subscribe once there is a publisher, with its own durability: none fits both kinds."""
        if self._subscription is not None or self._hopeless:
            return
        name = self._node.resolve_topic_name(INFO_TOPIC)
        for publisher in self._node.get_publishers_info_by_topic(name):
            if publisher.topic_type == INFO_TYPE:
                break
        else:
            return
        message_class = self._import_class(name)
        if message_class is None:
            return
        profile = publisher.qos_profile
        qos = QoSProfile(depth=1, reliability=profile.reliability, durability=profile.durability)
        self._subscription = self._node.create_subscription(message_class, name, self._read, qos)

    def _import_class(self, name: str) -> Any:
        """Return the class of ros-drivers' AudioInfo; None, logged once, where it is not here."""
        try:
            message_class = import_type(INFO_TYPE)
            found = "another package of that name, where AudioInfo has no coding_format"
        except ImportError as error:
            message_class, found = None, str(error)
        if message_class is not None and is_info(message_class):
            return message_class
        self._hopeless = True
        self._node.get_logger().error(
            f"{name} cannot be read: found {found}; expected ros-drivers' audio_common_msgs. The "
            "parameters sample_rate_hz, channels and sample_format tell the format"
        )
        return None

    def _read(self, message: Any) -> None:
        if self._subscription is None:
            return
        try:
            told = read_info(message, read_format(self._node))
        except AudioError as error:
            self._node.get_logger().error(f"{error}; it changes nothing")
            return
        self._info = message
        self._apply(told)
        self._node.get_logger().info(
            f"{INFO_TOPIC}: {told.sample_format}, {told.rate_hz} Hz, {told.channels} channels"
        )

    def renew(self) -> None:
        """Apply the parameters as they are now, and what was last told."""
        told = read_format(self._node)
        self._apply(told if self._info is None else read_info(self._info, told))

    def stop(self) -> None:
        """Listen no more; a later `look` begins afresh."""
        self._hopeless = False
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
