"""Publishes a microphone to `audio`, each message stamped with the time of its first sample.

    ros2 run dualtalker microphone_node --list-devices
    python -m dualtalker_ros.nodes.microphone_node --ros-args -p device:=USB

docs/ros_api.md lists topics and parameters.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from dualtalker.audio import INFO_TYPE, pick_channel, read_channel
from dualtalker.devices import Block, CaptureClock, DeviceStream, PortAudioStream, open_microphone
from dualtalker.faults import Faults
from dualtalker_ros.nodes.device_node import DeviceNode, run_device_node
from dualtalker_ros.parameters import Parameter
from dualtalker_ros.processes import shorten
from dualtalker_ros.topics import INFO_TOPIC, fill_message, import_type

# What `audio_type: auto` takes, the first that is installed: those with a stamp first.
PREFERRED_TYPES = (
    "audio_common_msgs/msg/AudioStamped",
    "audio_common_msgs/msg/AudioDataStamped",
    "std_msgs/msg/Int16MultiArray",
)
# Blocks that may wait to be published; more are dropped and counted, never piled up.
QUEUED_S = 2.0
ENDING_S = 2.0  # that the publishing thread may take to finish what waits
# The two clocks are read one after the other; a pair read in more than this tells nothing.
READING_NS = 200_000
CLIPPED = 32767

PARAMETERS = (
    Parameter(
        "sample_rate_hz",
        16000,
        "Sample rate (Hz), 8000 to 192000; 0: the rate that the device prefers.",
        0,
        192000,
        read_only=True,
    ),
    Parameter("channels", 1, "Channels to record, sent interleaved.", 1, 64, read_only=True),
    Parameter(
        "channel",
        "mix",
        "Channel that is sent alone, an index from 0; mix: all are sent, and who hears mixes.",
        read_only=True,
        takes=read_channel,
    ),
    Parameter(
        "chunk_ms", 20.0, "Length of one message's audio (ms).", 5.0, 1000.0, read_only=True
    ),
    Parameter(
        "audio_type",
        "auto",
        "Type of the messages; auto: the stamped one of audio_common_msgs that is installed, or "
        "else std_msgs/msg/Int16MultiArray with rate, channels and stamp in its layout.",
        choices=("auto", *PREFERRED_TYPES, "audio_common_msgs/msg/AudioData"),
        read_only=True,
    ),
    Parameter(
        "frame_id", "microphone", "header.frame_id, where there is a header.", changes="live"
    ),
)


class MicrophoneNode(DeviceNode):
    """PortAudio's thread queues blocks, a thread of the node stamps and publishes them."""

    def __init__(self) -> None:
        """Raises ValueError and ImportError for parameters, DeviceError without PortAudio."""
        super().__init__("microphone", PARAMETERS)
        self._channel, channels = read_channel(self.value("channel")), self.value("channels")
        if self._channel is not None and self._channel >= channels:
            raise ValueError(
                f"channel is {self._channel}, but channels is {channels}; record more: "
                f"-p channels:={self._channel + 1}, or as many as the device has"
            )
        self._message_class = choose_type(self.value("audio_type"))
        qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        self._audio = self.create_publisher(self._message_class, "audio", qos)
        self._info = self._make_info_publisher()
        blocks = round(QUEUED_S * 1e3 / self.value("chunk_ms")) + 1
        self._blocks: queue.Queue[tuple[DeviceStream, Block] | None] = queue.Queue(blocks)
        self._stream: DeviceStream | None = None
        self._capture = CaptureClock(16000, 0.0)
        self._ended_clocks: Counter[str] = Counter()
        self._offset_ns = min(self._read_offset() for _ in range(5))[1]
        kinds = ("dropped_blocks", "failed_blocks", "clipped_samples")
        self._faults = Faults(kinds, self.get_logger().warning)
        self._counters = self._faults.counters
        self._published = 0
        self._peak = 0
        self._publisher = threading.Thread(target=self._publish_all, name="publisher", daemon=True)
        self._publisher.start()

    def open_stream(self) -> DeviceStream:
        """Open the microphone; raises DeviceError."""
        rate_hz = self.value("sample_rate_hz")
        frames = max(round((rate_hz or 16000) * self.value("chunk_ms") / 1e3), 1)
        return open_microphone(
            self.wanted,
            rate_hz,
            self.value("channels"),
            frames,
            self._on_block,
            self.value("device_latency_ms") / 1e3,
        )

    def counters(self) -> Mapping[str, int]:
        """Return the device's, the clock's and the queue's counters."""
        clocks = self._ended_clocks.copy()
        clocks.update(self._capture.counters)
        return {**super().counters(), **clocks, **self._counters}

    def measurements(self) -> Mapping[str, Any]:
        """Return the level of the last second and the messages published."""
        peak, self._peak = self._peak, 0
        level = f"{20 * np.log10(peak / 32768):.1f}" if peak else "-"
        return {"peak level (dBFS)": level, "messages": self._published}

    def _on_block(self, stream: PortAudioStream, block: Block) -> None:
        """In PortAudio's thread: nothing that takes time."""
        try:
            self._blocks.put_nowait((stream, block))
        except queue.Full:
            self._counters["dropped_blocks"] += 1

    def _publish_all(self) -> None:
        while (item := self._blocks.get()) is not None:
            try:
                self._take(*item)
            except Exception as error:  # noqa: BLE001 - the next block may fare better
                if not self.context.ok():  # ROS ended under it, which may be at any moment
                    return
                self._faults.count("failed_blocks", f"{type(error).__name__}: {shorten(error)}")

    def _take(self, stream: DeviceStream, block: Block) -> None:
        if stream is not self._stream:
            self._begin_stream(stream)
        stamp_s = self._capture.stamp(block)
        if stamp_s is not None:
            self._publish(stream, block, stamp_s)

    def _begin_stream(self, stream: DeviceStream) -> None:
        self._ended_clocks.update(self._capture.counters)
        self._stream = stream
        self._capture = CaptureClock(stream.rate_hz, stream.latency_s)
        if self._info is not None:
            self._publish_info(stream)

    def _publish(self, stream: DeviceStream, block: Block, stamp_s: float) -> None:
        samples = np.frombuffer(block.pcm, np.int16).reshape(block.frames, -1)
        samples = pick_channel(samples, self._channel)
        magnitude = np.abs(samples.astype(np.int32))
        self._peak = max(self._peak, int(magnitude.max(initial=0)))
        self._counters["clipped_samples"] += int(np.count_nonzero(magnitude >= CLIPPED))
        took_ns, offset_ns = self._read_offset()
        if took_ns <= READING_NS:
            self._offset_ns = offset_ns
        stamp_ns = max(round(stamp_s * 1e9) + self._offset_ns, 1)
        message = self._message_class()
        if hasattr(message, "header"):
            message.header.frame_id = self.value("frame_id")
        fill_message(message, samples, stream.rate_hz, stamp_ns, stamp_layout=True)
        self._audio.publish(message)
        self._published += 1

    def _make_info_publisher(self) -> Any:
        """ros-drivers' bytes do not tell their format: AudioInfo does, also to late comers."""
        body = self._message_class()
        body = body.audio if hasattr(body, "audio") else body
        if hasattr(body, "layout") or hasattr(body, "audio_data"):
            return None
        qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._info_class = import_type(INFO_TYPE)
        return self.create_publisher(self._info_class, INFO_TOPIC, qos)

    def _publish_info(self, stream: DeviceStream) -> None:
        channels = self.value("channels") if self._channel is None else 1
        info = self._info_class(
            channels=channels,
            sample_rate=stream.rate_hz,
            sample_format="S16LE",
            bitrate=stream.rate_hz * channels * 16,
            coding_format="wave",
        )
        self._info.publish(info)

    def _read_offset(self) -> tuple[int, int]:
        """Return how long reading both clocks took, and ROS time less monotonic time (ns)."""
        before_ns = time.monotonic_ns()
        ros_ns = self.get_clock().now().nanoseconds
        after_ns = time.monotonic_ns()
        return after_ns - before_ns, int(ros_ns - (before_ns + after_ns) // 2)

    def close(self) -> None:
        """Free the device and end the publishing thread."""
        super().close()
        if self._publisher.is_alive():  # else nobody would ever make room in a full queue
            with suppress(queue.Full):
                self._blocks.put(None, timeout=ENDING_S)
            self._publisher.join(ENDING_S)


def choose_type(name: str) -> Any:
    """Return the class of a message type, or of the best that is installed for "auto".

    Raises ImportError where the type that was asked for is not installed.
    """
    if name != "auto":
        return import_type(name)
    for candidate in PREFERRED_TYPES[:-1]:
        try:
            return import_type(candidate)
        except ImportError:
            continue  # optional packages, of which one or none is there
    return import_type(PREFERRED_TYPES[-1])


def main(args: list[str] | None = None) -> int:
    """Publish the microphone until interrupted."""
    return run_device_node("microphone", MicrophoneNode, args)


if __name__ == "__main__":
    sys.exit(main())
