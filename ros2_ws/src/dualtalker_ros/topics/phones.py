"""The topic `phones`: what will be said, as a synthesizer tells it, in JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from dualtalker.errors import SpeechError
from dualtalker.faults import Faults

MAX_TEXT = 1 << 18  # characters of a message: some thousand phones


class Stamp(msgspec.Struct):
    """A time, as `builtin_interfaces/Time`."""

    sec: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
    nanosec: Annotated[int, msgspec.Meta(ge=0, lt=10**9)]


class Utterance(msgspec.Struct):
    """What a message says."""

    stamp: Stamp  # of the utterance's first sample, as the audio's own stamps
    phones: list[list[str | int | float]]  # label, start and end in seconds after that sample


class PhoneInput:
    """Hears it, from `configure` to `cleanup`; what makes no sense is counted and told once."""

    def __init__(self, node: Any, take: Callable[[list[Any], int], None]) -> None:
        """`take` gets the rows of an utterance and its stamp in ns; it may raise SpeechError."""
        self._node, self._take = node, take
        faults = Faults(("refused_phones",), node.get_logger().warning)
        self.refused, self._refuse = faults.counters, faults.count
        # Reliable: nobody says it twice.
        qos = QoSProfile(depth=100)
        self._subscription = node.create_subscription(String, "phones", self._hear, qos)

    def destroy(self) -> None:
        """Hear it no more."""
        self._node.destroy_subscription(self._subscription)

    def _hear(self, message: String) -> None:
        try:
            if len(message.data) > MAX_TEXT:
                raise SpeechError(f"{len(message.data)} characters; expected at most {MAX_TEXT}")
            told = msgspec.json.decode(message.data, type=Utterance)
            self._take(told.phones, told.stamp.sec * 10**9 + told.stamp.nanosec)
        except (msgspec.MsgspecError, SpeechError, RecursionError, UnicodeError) as error:
            self._refuse("refused_phones", f"a message of phones makes no sense: {error}")
