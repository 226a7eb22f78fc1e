"""Plays `audio` of any supported type on a loudspeaker, and says how late it sounds.

    ros2 run dualtalker speaker_node --list-devices
    python -m dualtalker_ros.nodes.speaker_node --ros-args -r audio:=/tts/audio -p device:=USB

docs/ros_api.md lists topics and parameters.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from std_msgs.msg import Float32

from dualtalker.audio import CANCEL_MESSAGE, AudioChunk, channels_cancel, mix_to_mono
from dualtalker.devices import DeviceStream, PlayoutQueue, PortAudioStream, open_loudspeaker
from dualtalker.faults import Faults
from dualtalker_ros.nodes.device_node import DeviceNode, run_device_node
from dualtalker_ros.parameters import Parameter
from dualtalker_ros.topics import INPUT_PARAMETERS, AudioInput

# The latency is told once a second, and within so much when it changes by more than so much.
_LOOK_S = 0.05
_CHANGE_S = 0.001
# Stamps further from now than this are of another clock: then arrival counts for the latency.
_FOREIGN_STAMP_S = 10.0

PARAMETERS = (
    Parameter(
        "output_rate_hz",
        48000,
        "Sample rate of the device (Hz), to which all audio is converted; 0: the one it prefers.",
        0,
        192000,
        read_only=True,
    ),
    Parameter("output_channels", 2, "Channels that all play the same.", 1, 64, read_only=True),
    Parameter(
        "buffer_ms",
        60.0,
        "Audio that waits before playing begins (ms).",
        0.0,
        2000.0,
        read_only=True,
    ),
    Parameter(
        "max_queue_s",
        60.0,
        "Audio that may wait (s); more is dropped.",
        0.5,
        600.0,
        read_only=True,
    ),
    *(replace(parameter, read_only=True) for parameter in INPUT_PARAMETERS),
)


class SpeakerNode(DeviceNode):
    """The executor's thread queues audio, PortAudio's thread takes it."""

    def __init__(self) -> None:
        """Raises ValueError and ImportError for parameters, DeviceError without PortAudio."""
        super().__init__("speaker", PARAMETERS)
        self._queue: PlayoutQueue | None = None  # only while there is a device
        self._ended_queues: Counter[str] = Counter()
        kinds = ("cancelled_audio", "device_underflows", "unheard_ms")
        self._faults = Faults(kinds, self.get_logger().warning)
        self._counters = self._faults.counters
        self._played = 0
        self._latency = self.create_publisher(Float32, "~/latency", 10)
        self._latency_after_arrival = self.create_publisher(Float32, "~/latency_after_arrival", 10)
        self._told_s: float | None = None  # the latency
        self._stamped = True  # whether the last message's stamp counted
        self.create_timer(_LOOK_S, self._look, clock=self.steady)
        self._audio = AudioInput(self, self._play)
        self._audio.open()

    def open_stream(self) -> DeviceStream:
        """Open the loudspeaker; raises DeviceError."""
        return open_loudspeaker(
            self.wanted,
            self.value("output_rate_hz"),
            self.value("output_channels"),
            self._on_need,
            self.value("device_latency_ms") / 1e3,
        )

    def on_open(self, stream: DeviceStream) -> None:
        """Take audio again, none of it from before."""
        self._queue = PlayoutQueue(
            stream.rate_hz, self.value("buffer_ms") / 1e3, self.value("max_queue_s")
        )
        super().on_open(stream)

    def on_loss(self, reason: str) -> None:
        """Forget what waits: nobody wants to hear it after the device's return."""
        queue, self._queue = self._queue, None
        if queue is not None:
            self._counters["unheard_ms"] += round(queue.clear() * 1e3)
            self._ended_queues.update(queue.counters)
        super().on_loss(reason)

    def counters(self) -> Mapping[str, int]:
        """Return the device's, the queue's and the messages' counters."""
        queues, queue = self._ended_queues.copy(), self._queue
        if queue is not None:
            queues.update(queue.counters)
        return {**super().counters(), **queues, **self._audio.refused, **self._counters}

    def measurements(self) -> Mapping[str, Any]:
        """Return the latency, which is also published, and what waits."""
        queue = self._queue
        latency_s = queue.latency_s() if queue is not None else None
        if queue is None or latency_s is None:
            return {"latency p50 (ms)": "-", "queued audio (s)": "-", "messages": self._played}
        self._tell(latency_s)
        return {
            "latency p50 (ms)": f"{latency_s * 1e3:.1f}",
            "queued audio (s)": f"{queue.queued_s:.2f}",
            "messages": self._played,
        }

    def _look(self) -> None:
        """Tell a latency that has changed, as it does when an utterance begins."""
        queue = self._queue
        latency_s = queue.latency_s() if queue is not None else None
        if latency_s is None:
            return
        if self._told_s is None or abs(latency_s - self._told_s) > _CHANGE_S:
            self._tell(latency_s)

    def _tell(self, latency_s: float) -> None:
        self._told_s = latency_s
        message = Float32(data=float(latency_s))
        self._latency.publish(message)
        if not self._stamped:
            self._latency_after_arrival.publish(message)

    def _play(self, chunk: AudioChunk, received_ns: int) -> None:
        now_s = time.monotonic()
        queue = self._queue
        if queue is None:
            self._counters["unheard_ms"] += round(chunk.duration_s * 1e3)
            return
        age_s = 0.0
        if chunk.stamp_ns is not None:
            age_s = (self.get_clock().now().nanoseconds - chunk.stamp_ns) / 1e9
        self._stamped = chunk.stamp_ns is not None and abs(age_s) < _FOREIGN_STAMP_S
        time_s = now_s - age_s if self._stamped else now_s
        mono, _ = mix_to_mono(chunk.samples)
        if channels_cancel(chunk.samples, mono):
            self._faults.count("cancelled_audio", CANCEL_MESSAGE, len(mono))
        queue.add(mono, chunk.rate_hz, time_s, now_s)
        self._played += 1

    def _on_need(
        self, stream: PortAudioStream, count: int, sounds_s: float, underflow: bool
    ) -> np.ndarray:
        """In PortAudio's thread: nothing that takes time."""
        self._counters["device_underflows"] += underflow
        queue = self._queue
        if queue is None or queue.rate_hz != stream.rate_hz:
            return np.zeros(count, np.float32)
        return queue.pull(count, sounds_s, time.monotonic())


def main(args: list[str] | None = None) -> int:
    """Play until interrupted."""
    return run_device_node("speaker", SpeakerNode, args)


if __name__ == "__main__":
    sys.exit(main())
