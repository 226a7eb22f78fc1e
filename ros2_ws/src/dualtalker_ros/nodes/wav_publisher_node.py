"""Publishes a recording to `audio` at speaking speed, as a microphone or a speech engine would.

python -m dualtalker_ros.nodes.wav_publisher_node speech.wav --ros-args -p speed:=2
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import rclpy
from rclpy.duration import Duration
from rclpy.qos import QoSProfile, ReliabilityPolicy

from dualtalker.audio import SUPPORTED_TYPES, read_audio, read_channel
from dualtalker.errors import AudioError
from dualtalker_ros.parameters import Parameter, ParameterNode
from dualtalker_ros.processes import run_node
from dualtalker_ros.topics import fill_message, import_type, wait_for_listeners

LINGER_S = 1.0  # after the last chunk

# All are read once.
PARAMETERS = tuple(
    replace(parameter, read_only=True)
    for parameter in (
        Parameter("file", "", "Recording to publish: wav, flac, ogg or mp3 of any rate."),
        Parameter(
            "channel",
            "mix",
            "Channel of it that is published, an index from 0; mix: the mean of all.",
            takes=read_channel,
        ),
        Parameter("chunk_ms", 20.0, "Length of one message's audio (ms).", 1.0, 1000.0),
        Parameter(
            "speed",
            1.0,
            "Multiple of speaking speed; 0 sends all at once, as fast speech engines do.",
            0.0,
            100.0,
        ),
        Parameter("wait_for_subscribers", 1, "Subscribers of `audio` to wait for.", 0, 100),
        Parameter("wait_s", 20.0, "How long to wait for them (s).", 0.0, 3600.0),
        Parameter(
            "lead_in_s", 0.0, "Pause between their coming and the first chunk (s).", 0.0, 60.0
        ),
        Parameter(
            "audio_type",
            "std_msgs/msg/Int16MultiArray",
            "Type of the messages; samples are 16-bit.",
            choices=tuple(name for name in SUPPORTED_TYPES if "Float" not in name),
        ),
    )
)


class WavPublisherNode(ParameterNode):
    """Reads the whole file when made, so that a bad one is refused before anything is sent."""

    def __init__(self) -> None:
        """Raises AudioError for the file, ValueError and ImportError for the message type."""
        super().__init__("wav_publisher", PARAMETERS)
        if not self.value("file"):
            raise AudioError("no recording given; for example: wav_publisher_node speech.wav")
        self._samples, self._rate_hz = read_audio(
            self.value("file"), channel=read_channel(self.value("channel"))
        )
        self._message_class = import_type(self.value("audio_type"))
        # Reliable: what is sent at once must not be lost. Best-effort subscribers match, too.
        qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
        self._publisher = self.create_publisher(self._message_class, "audio", qos)

    def wait_for_listeners(self) -> None:
        """Return when enough are there; TimeoutError says how many came."""
        wanted, wait_s = self.value("wait_for_subscribers"), self.value("wait_s")
        wait_for_listeners(self, self._publisher, wanted, wait_s)
        self._spin_until(time.monotonic() + self.value("lead_in_s"))

    def play(self) -> None:
        """Send the recording: chunk k at start + k chunks, and stamped so where the type can."""
        seconds = len(self._samples) / self._rate_hz
        self.get_logger().info(f"publishing {seconds:.1f} s of {self.value('file')}")
        size = max(round(self._rate_hz * self.value("chunk_ms") / 1e3), 1)
        speed = self.value("speed")
        start_s, start_ns = time.monotonic(), self.get_clock().now().nanoseconds
        for first in range(0, len(self._samples), size):
            if speed > 0:
                self._spin_until(start_s + first / self._rate_hz / speed)
            chunk = self._samples[first : first + size]
            stamp_ns = start_ns + first * 10**9 // self._rate_hz
            self._publisher.publish(
                fill_message(self._message_class(), chunk, self._rate_hz, stamp_ns)
            )
        self._publisher.wait_for_all_acked(Duration(seconds=2))
        # Best effort acknowledges nothing, and what a busy listener has not read goes with us.
        self._spin_until(time.monotonic() + LINGER_S)
        self.get_logger().info("all published")

    def _spin_until(self, moment_s: float) -> None:
        while (left_s := moment_s - time.monotonic()) > 0:
            rclpy.spin_once(self, timeout_sec=min(left_s, 0.05))  # signals wait as long


def start() -> WavPublisherNode:
    """Return a publisher whose listeners are there."""
    node = WavPublisherNode()
    node.wait_for_listeners()
    return node


def main(args: list[str] | None = None) -> int:
    """Publish the file once and end; exit status 1 where that cannot be done."""
    return run_node("wav_publisher", start, WavPublisherNode.play, args, takes="file")


if __name__ == "__main__":
    sys.exit(main())
