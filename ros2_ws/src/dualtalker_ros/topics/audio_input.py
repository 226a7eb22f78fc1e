"""The topic `audio` as a node hears it: type found, messages read, bad ones counted.

`dualtalker.audio.read_message` says what each type of message holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from dualtalker.audio import (
    REFUSALS,
    SAMPLE_FORMATS,
    SUPPORTED_TYPES,
    AudioChunk,
    AudioFormat,
    kind_of,
    read_channel,
    read_message,
)
from dualtalker.errors import AudioError
from dualtalker.faults import Faults
from dualtalker_ros.parameters import Parameter
from dualtalker_ros.topics.subscriptions import OfferedSubscription
from dualtalker_ros.topics.types import find_type, import_type

# ros-drivers' messages on it tell the format of the byte arrays on `audio`.
INFO_TOPIC = "audio_info"
# Twenty seconds of 20 ms chunks: a burst must fit, or what does not is gone.
_QUEUE_DEPTH = 1000
LOOK_AROUND_S = 0.1  # between looks for a publisher, while the audio's type is not known

# Those that the fields of AudioFormat come from.
FORMAT_PARAMETERS = ("sample_rate_hz", "channels", "sample_format", "channel")
INPUT_PARAMETERS = (
    Parameter(
        "audio_type",
        "auto",
        "Type of the audio topic; auto takes that of the first publisher.",
        choices=("auto", *SUPPORTED_TYPES),
        changes="activate",
    ),
    Parameter(
        "sample_rate_hz",
        16000,
        "Sample rate of messages that do not carry their own (Hz).",
        8000,
        192000,
        changes="live",
    ),
    Parameter(
        "channels",
        1,
        "Channels of messages that do not carry their own count.",
        1,
        64,
        changes="live",
    ),
    Parameter(
        "sample_format",
        "S16LE",
        "Format of the samples in byte arrays.",
        choices=SAMPLE_FORMATS,
        changes="live",
    ),
    Parameter(
        "channel",
        "mix",
        "Channel that is heard, an index from 0; mix: the mean of all.",
        changes="live",
        takes=read_channel,
    ),
)


def read_format(node: Node) -> AudioFormat:
    """Return the format of messages that do not carry their own, as the parameters tell it."""
    rate_hz, channels, sample_format, channel = (
        node.get_parameter(name).value for name in FORMAT_PARAMETERS
    )
    return AudioFormat(rate_hz, channels, sample_format, read_channel(channel))


class AudioInput:
    """Subscribes `audio` once its type is known; hands on each message that can be read."""

    def __init__(
        self,
        node: Node,
        use: Callable[[AudioChunk, int], None],
        on_found: Callable[[Any], None] = lambda audio_class: None,
    ) -> None:
        """Hear nothing before `open`.

        Args:
            node: one with INPUT_PARAMETERS.
            use: takes a chunk, and when DDS received it (ns of system time; 0: not told). An
                AudioError that it raises is counted, as those of reading are.
            on_found: is told the class of the messages once it is known.
        """
        self._node, self._use, self._on_found = node, use, on_found
        self.format = read_format(node)
        self._faults = Faults(REFUSALS, node.get_logger().warning)
        self.type_name = ""  # of the messages, once it is known
        self._is_open = False
        self._subscription: OfferedSubscription | None = None
        self._search_timer: Any = None

    @property
    def refused(self) -> dict[str, int]:
        """Messages by what is wrong with them; the same object all the time."""
        return self._faults.counters

    def open(self, arrivals_told: bool = False) -> None:
        """Hear `audio` from now on; where `arrivals_told`, DDS's times come with the messages.

        Raises:
            ImportError: the type that `audio_type` names is not installed.
        """
        self._receive = self._receive_told if arrivals_told else self.receive
        self._is_open = True
        audio_type = self._node.get_parameter("audio_type").value
        if audio_type == "auto":
            steady = Clock(clock_type=ClockType.STEADY_TIME)  # one that /clock does not stop
            self._search_timer = self._node.create_timer(LOOK_AROUND_S, self._look, clock=steady)
        else:
            self._subscribe(audio_type)

    def close(self) -> None:
        """Hear nothing any more.

        Executors may still call back, once, for what is destroyed: the event was in their queue.
        """
        self._is_open, self.type_name = False, ""
        self._end_search()
        if self._subscription is not None:
            self._subscription.destroy()
            self._subscription = None

    def _end_search(self) -> None:
        if self._search_timer is not None:
            self._node.destroy_timer(self._search_timer)
            self._search_timer = None

    def _look(self) -> None:
        """Take the type of the topic's first publisher."""
        found = find_type(self._node, "audio")
        if self._search_timer is None or found is None:
            return
        if found in SUPPORTED_TYPES:
            try:
                self._subscribe(found)
            except ImportError as error:
                problem = str(error)
            else:
                self._end_search()
                return
        else:
            problem = f"audio has type {found}; expected one of: {', '.join(SUPPORTED_TYPES)}"
        self._node.get_logger().error(problem, throttle_duration_sec=10.0)

    def _subscribe(self, type_name: str) -> None:
        message_class = import_type(type_name)
        self._subscription = OfferedSubscription(
            self._node, message_class, "audio", self._receive, _QUEUE_DEPTH
        )
        self.type_name = type_name
        self._on_found(message_class)
        topic = self._node.resolve_topic_name("audio")
        self._node.get_logger().info(f"listening to {topic} ({type_name})")

    def _receive_told(self, message: Any, info: Any) -> None:
        self.receive(message, info["received_timestamp"])

    def receive(self, message: Any, received_ns: int = 0) -> None:
        """Read a message and have it used; count it where it cannot be, and log each kind once."""
        if not self._is_open:
            return
        try:
            self._use(read_message(message, self.format), received_ns)
        except AudioError as error:
            self._faults.count(kind_of(error), str(error))
