"""Reads a bag of the talker's topics back and measures it.

What is measured is told in `dualtalker.bags.live_run`; `dualtalker evaluate` does more with such a
bag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualtalker.audio import mix_to_mono, read_message
from dualtalker.bags import (
    Bag,
    GivenFormat,
    find_run,
    measure_timing,
    place_run,
    read_bag_audio,
    read_faces,
    read_statuses,
    trace_run,
)
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
    figures: Mapping[str, float]  # of the frames that depict the speech, without the tail

    @property
    def duration_s(self) -> float:
        """Length of the audio."""
        return len(self.samples) / self.rate_hz


def read_recording(path: Path) -> Recording:
    """Read audio, blendshapes and diagnostics from a bag, and measure the talker's run.

    Raises:
        DualtalkerError: something is missing, which says which node did not run.
    """
    with Bag(path) as bag:
        audio = read_bag_audio(bag, None, GivenFormat())
        topic = find_run(bag, None, audio.topic, None)
        if topic is None:
            raise DualtalkerError(f"{path} holds no blendshapes; see the nodes' output")
        faces, statuses = read_faces(bag, topic), read_statuses(bag, topic)
    run = place_run(faces, statuses, audio, int(audio.times.begins_ns[0]))
    if not run.from_start:
        raise DualtalkerError(
            f"{path}: the talker did not hear the audio from its beginning; see the nodes' output"
        )
    chunks = [read_message(message, audio.format) for _, message in audio.messages]
    samples = np.concatenate([mix_to_mono(chunk.samples)[0] for chunk in chunks])
    fps, duration_s = float(run.status["frame rate (Hz)"]), len(samples) / audio.times.rate_hz
    stated_ms = float(run.status["stated latency (ms)"])
    timing = trace_run(run, audio, duration_s, stated_ms / 1e3)
    if len(timing.times_s) < 2:
        raise DualtalkerError(f"{path}: {len(timing.times_s)} frames of speech; expected a stream")
    kept = (run.times_s > -1e-4) & (run.times_s < duration_s + _TAIL_S)
    return Recording(
        samples=samples,
        rate_hz=audio.times.rate_hz,
        fps=fps,
        times_s=run.times_s[kept],
        weights=run.weights[kept],
        figures={
            **measure_timing(timing, fps, duration_s),
            "frame rate Hz": 1e3 / float(timing.intervals_ms.mean()),
            "stated latency ms": stated_ms,
            "real-time factor": float(run.status["real-time factor total"]),
        },
    )


def describe(figures: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return label and value of each line of the demo's table."""

    def pair(name: str) -> str:
        return f"{figures[f'{name} p50 ms']:.2f} / {figures[f'{name} p99 ms']:.2f} ms"

    return [
        ("frames", f"{figures['frames']:.0f}"),
        ("frame rate", f"{figures['frame rate Hz']:.2f} Hz"),
        ("jitter p50 / p99", pair("jitter")),
        ("stated latency", f"{figures['stated latency ms']:.1f} ms"),
        ("beyond it p50 / p99", pair("beyond")),
        ("frames missing", f"{figures['missing frames']:.0f}"),
        ("real-time factor", f"{figures['real-time factor']:.3f}"),
    ]
