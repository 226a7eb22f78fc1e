"""Reads a bag of the talker's topics back and measures it.

What is measured is told in `dualtalker.bags.live_run`; `dualtalker evaluate` does more with such a
bag.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.audio import AudioFormat, mix_to_mono, read_message
from dualtalker.bags import Bag, BagMessage, ChunkTimes, Timing, measure_timing
from dualtalker.errors import DualtalkerError

# Frames after the end of the audio that belong to the curves: the mouth closes in them.
_TAIL_S = 0.5


@dataclass(frozen=True)
class Recording:
    """Speech and the face that answered it, on one time axis: 0 is the audio's first sample."""

    samples: np.ndarray  # [n] float32
    rate_hz: int
    fps: float
    times_s: np.ndarray  # [frames] that each frame depicts
    weights: np.ndarray  # [frames, 52]
    received_s: np.ndarray  # [frames] when it came, after the audio's start (see above)
    status: dict[str, str]  # the talker's last diagnostics

    @property
    def duration_s(self) -> float:
        """Length of the audio."""
        return len(self.samples) / self.rate_hz


@dataclass(frozen=True)
class Measures:
    """What the table of the demo shows; see the head of this file."""

    frames: int
    rate_hz: float
    jitter_p50_ms: float
    jitter_p99_ms: float
    stated_ms: float
    beyond_p50_ms: float
    beyond_p99_ms: float
    missing: int
    real_time_factor: float

    def rows(self) -> list[tuple[str, str]]:
        """Return label and value of each line."""
        return [
            ("frames", f"{self.frames}"),
            ("frame rate", f"{self.rate_hz:.2f} Hz"),
            ("jitter p50 / p99", f"{self.jitter_p50_ms:.2f} / {self.jitter_p99_ms:.2f} ms"),
            ("stated latency", f"{self.stated_ms:.1f} ms"),
            ("beyond it p50 / p99", f"{self.beyond_p50_ms:.2f} / {self.beyond_p99_ms:.2f} ms"),
            ("frames missing", f"{self.missing}"),
            ("real-time factor", f"{self.real_time_factor:.3f}"),
        ]


def read_recording(bag: Path) -> Recording:
    """Read audio, blendshapes and diagnostics from a bag.

    Raises:
        DualtalkerError: a topic is missing, which says which node did not run.
    """
    messages = _read_topics(bag)
    for topic in ("audio", "blendshapes", "diagnostics"):
        if not messages.get(topic):
            raise DualtalkerError(f"{bag} holds no message of {topic}; see the nodes' output")
    chunks = [read_message(message, AudioFormat()) for _, message in messages["audio"]]
    status = {v.key: v.value for v in messages["diagnostics"][-1][1].status[0].values}
    fps = float(status["frame rate (Hz)"])
    if status["first audio (ns)"] == "-":
        raise DualtalkerError(f"{bag}: the talker heard no audio; see the nodes' output")
    samples = np.concatenate([mix_to_mono(chunk.samples)[0] for chunk in chunks])
    frames = messages["blendshapes"]
    stamps_ns = np.array([m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for _, m in frames])
    times_s = (stamps_ns - int(status["first audio (ns)"])) / 1e9
    received_ns = np.array([received for received, _ in frames])
    times = ChunkTimes(
        received_ns=np.array([received for received, _ in messages["audio"]]),
        stamps_ns=None,
        lengths_s=np.array([chunk.duration_s for chunk in chunks]),
        rate_hz=chunks[0].rate_hz,
    )
    end_s = len(samples) / chunks[0].rate_hz + _TAIL_S
    kept = (times_s > -1e-4) & (times_s < end_s)
    # Head motion, where it is on, follows the weights.
    positions = np.stack([message.position for _, message in frames])
    return Recording(
        samples=samples,
        rate_hz=chunks[0].rate_hz,
        fps=fps,
        times_s=times_s[kept],
        weights=positions[kept, : len(ARKIT_NAMES)].astype(np.float32),
        received_s=(received_ns[kept] - times.find_start_ns()) / 1e9,
        status=status,
    )


def measure(recording: Recording) -> Measures:
    """Measure the frames that depict the speech, without the tail."""
    speech = recording.times_s < recording.duration_s
    times_s, received_s = recording.times_s[speech], recording.received_s[speech]
    if len(times_s) < 2:
        raise DualtalkerError(f"{len(times_s)} frames were received; expected a stream of them")
    stated_ms = float(recording.status["stated latency (ms)"])
    timing = Timing(
        times_s=times_s,
        intervals_ms=np.diff(received_s) * 1e3,
        beyond_ms=(received_s - times_s) * 1e3 - stated_ms,
        latency_ms=None,
    )
    figures = measure_timing(timing, recording.fps, recording.duration_s)
    return Measures(
        frames=len(times_s),
        rate_hz=1e3 / float(timing.intervals_ms.mean()),
        jitter_p50_ms=figures["jitter p50 ms"],
        jitter_p99_ms=figures["jitter p99 ms"],
        stated_ms=stated_ms,
        beyond_p50_ms=figures["beyond p50 ms"],
        beyond_p99_ms=figures["beyond p99 ms"],
        missing=int(figures["missing frames"]),
        real_time_factor=float(recording.status["real-time factor total"]),
    )


def _read_topics(path: Path) -> dict[str, list[BagMessage]]:
    """Return the messages in order, by the last part of the topic's name."""
    with Bag(path) as bag:
        return {name.rsplit("/", 1)[-1]: list(bag.read(name)) for name in bag.topics}
