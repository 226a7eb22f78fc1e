"""What the talker says about itself once a second: numbers, and a level that means something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from dualtalker_ros.delivery import Delivery

# Above these the node is close to being, or is, too slow for its audio.
BUSY_REAL_TIME_FACTOR = 0.7
SLOW_REAL_TIME_FACTOR = 1.0

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

# More overdue frames than this share of all are seen.
OVERDUE_SHARE = 0.1


class Diagnostician:
    """Makes status messages; remembers the last counters, because what is new is what counts."""

    def __init__(self, delivery: Delivery, name: str, messages: Mapping[str, int]) -> None:
        """`messages` are the node's own counters of refused and dropped messages."""
        self._delivery = delivery
        self._name = name
        self._messages = messages
        self._last: dict[str, int] = {}
        self._last_compute_s = self._last_audio_s = 0.0
        self._published = 0
        # The first percentile makes numpy import for 90 ms, in which no frame would go out.
        _describe_times("", [0.0])

    def examine(self, stamp: Any, published: int, sent: Mapping[str, int]) -> DiagnosticArray:
        """Return the state since the last call.

        `published` is the total of frames sent, `sent` that of messages made for each topic.
        """
        delivery = self._delivery
        counters = {**self._messages, **delivery.counters, **delivery.talker.counters}
        new = {key: n - self._last.get(key, 0) for key, n in counters.items()}
        compute_s = delivery.compute_s - self._last_compute_s
        audio_s = delivery.audio_s - self._last_audio_s
        factor = compute_s / audio_s if audio_s > 0 else 0.0
        frames = published - self._published
        level, message = judge(new, factor, frames, delivery.starving)
        values = {
            "frames since last": frames,
            "frames": published,
            "real-time factor": f"{factor:.4f}",
            "real-time factor total": f"{delivery.compute_s / max(delivery.audio_s, 1e-9):.4f}",
            **_describe_times("step time", delivery.step_s),
            **_describe_times("latency beyond stated", delivery.beyond_s),
            "stated latency (ms)": f"{delivery.latency_s * 1e3:.2f}",
            "planned delay (ms)": f"{delivery.delay_s * 1e3:.2f}",
            "starvation (ms)": f"{delivery.patience_s * 1e3:.2f}",
            "queued audio (s)": f"{delivery.queued_s:.2f}",
            "first audio (ns)": "-"
            if delivery.first_audio_ns is None
            else delivery.first_audio_ns,
            # With it a replay has the same idle life at the same instants.
            "first audio (stream s)": "-"
            if delivery.first_audio_s is None
            else f"{delivery.first_audio_s:.6f}",
            "backend": delivery.talker.backend_name,
            "model digest": delivery.talker.bundle.digest,
            "frame rate (Hz)": f"{delivery.talker.fps:g}",
            **{f"sent {topic}": count for topic, count in sent.items()},
            **counters,
        }
        self._last, self._published = counters, published
        self._last_compute_s, self._last_audio_s = delivery.compute_s, delivery.audio_s
        status = DiagnosticStatus(
            level=level,
            name=self._name,
            message=message,
            hardware_id=delivery.talker.backend_name,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        array = DiagnosticArray(status=[status])
        array.header.stamp = stamp
        return array


def judge(
    new: Mapping[str, int], real_time_factor: float, frames: int, starving: bool
) -> tuple[bytes, str]:
    """Return level and message: ERROR where the face suffers, WARN where the input is odd."""
    if frames == 0:
        return ERROR, "no frame was published"
    if real_time_factor > SLOW_REAL_TIME_FACTOR:
        return ERROR, f"too slow: real-time factor {real_time_factor:.2f}"
    happened = {key: count for key, count in new.items() if count}
    text = ", ".join(f"{key} {count}" for key, count in happened.items())
    failed = happened.get("bad_steps") or happened.get("backend_errors")
    if failed or happened.get("overdue_frames", 0) > OVERDUE_SHARE * frames:
        return ERROR, text
    if happened:
        return WARN, text
    if real_time_factor > BUSY_REAL_TIME_FACTOR:
        return WARN, f"nearly too slow: real-time factor {real_time_factor:.2f}"
    return OK, "idle: no audio" if starving else "speaking"


def _describe_times(name: str, times_s: Any) -> dict[str, str]:
    if not times_s:
        return {f"{name} p50 (ms)": "-", f"{name} p99 (ms)": "-"}
    middle, high = np.percentile(np.fromiter(times_s, float), [50, 99]) * 1e3
    return {f"{name} p50 (ms)": f"{middle:.2f}", f"{name} p99 (ms)": f"{high:.2f}"}
