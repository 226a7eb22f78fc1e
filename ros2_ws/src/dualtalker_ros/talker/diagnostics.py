"""What the talker says about itself once a second: numbers, and a level that means something."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from dualtalker.audio import find_peak, scale_samples
from dualtalker.delivery import Delivery
from dualtalker_ros.topics import Growth, make_diagnostics

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

# More overdue frames than this share of all are seen.
OVERDUE_SHARE = 0.1
# One frame in ten may be later than what counts as late: a busy machine is no fault.
LATE_PERCENTILE = 90
# From here on a sample counts as clipped: 16-bit PCM ends at 0.99997.
FULL_SCALE = 0.9995
SILENT_DBFS = -120.0


@dataclass(frozen=True)
class Threshold:
    """From which values on something is worth a WARN and an ERROR."""

    warn: float
    error: float

    def judge(self, value: float) -> bytes:
        """Return the level of a value."""
        return ERROR if value > self.error else WARN if value > self.warn else OK


@dataclass(frozen=True)
class Thresholds:
    """What counts as bad: the parameters `warn_NAME` and `error_NAME` of each name."""

    real_time_factor: Threshold
    late_ms: Threshold  # beyond what is planned
    clipping: Threshold  # share of the samples at full scale
    queue: Threshold  # share of `max_queue_s` that waits


@dataclass(frozen=True)
class State:
    """What is judged: all since the last status."""

    new: Mapping[str, int]  # counters' increase
    frames: int
    starving: bool
    real_time_factor: float = 0.0
    late_ms: float = 0.0
    clipping: float = 0.0
    queue: float = 0.0
    peak_db: float = SILENT_DBFS  # of no judgment, but of the same time


class LevelMeter:
    """Looks at samples; tells peak and clipped share since it was last asked."""

    def __init__(self) -> None:
        """Nothing was heard."""
        self._heard = self._clipped = 0
        self._peak = 0.0

    def note(self, samples: np.ndarray) -> None:
        """Take samples [n] or [n, channels], float in [-1, 1] or integer PCM."""
        if samples.size == 0:
            return
        peak = find_peak(samples)
        self._heard += samples.size
        self._peak = max(self._peak, peak)
        if peak >= FULL_SCALE:
            magnitude = np.abs(scale_samples(samples)[0])
            self._clipped += int(np.count_nonzero(magnitude >= FULL_SCALE))

    def read(self) -> tuple[float, float]:
        """Return peak in dBFS and clipped share since the last call."""
        share = self._clipped / self._heard if self._heard else 0.0
        peak_db = 20 * math.log10(self._peak) if self._peak > 0 else SILENT_DBFS
        self._heard = self._clipped = 0
        self._peak = 0.0
        return max(peak_db, SILENT_DBFS), share


class Diagnostician:
    """Makes status messages; remembers the last counters, because what is new is what counts."""

    def __init__(self, node: Any, delivery: Delivery, messages: Mapping[str, int]) -> None:
        """`messages` are the node's own counters of refused and dropped messages."""
        self._node, self._delivery, self._messages = node, delivery, messages
        self.retune()
        self.levels = LevelMeter()  # of all audio that was decoded
        self._growth = Growth()
        self._last_compute_s = self._last_audio_s = 0.0
        self._published = 0

    def retune(self) -> None:
        """Take the thresholds that the parameters name now."""
        self._thresholds = Thresholds(
            **{
                field.name: Threshold(
                    self._node.get_parameter(f"warn_{field.name}").value,
                    self._node.get_parameter(f"error_{field.name}").value,
                )
                for field in fields(Thresholds)
            }
        )

    def examine(self, published: int, sent: Mapping[str, int]) -> DiagnosticArray:
        """Return the state since the last call.

        `published` is the total of frames sent, `sent` that of messages made for each topic.
        """
        counters = {**self._messages, **self._delivery.all_counters}
        state = self._look(counters, published)
        level, message = judge(state, self._thresholds)
        values = {
            "frames since last": state.frames,
            "frames": published,
            **self._describe(state),
            **{f"sent {topic}": count for topic, count in sent.items()},
            **counters,
        }
        backend = self._delivery.talker.backend_name
        return make_diagnostics(self._node, "dualtalker", level, message, values, backend)

    def _look(self, counters: Mapping[str, int], published: int) -> State:
        """Take what happened since the last call, which is then the last."""
        delivery = self._delivery
        compute_s = delivery.compute_s - self._last_compute_s
        audio_s = delivery.audio_s - self._last_audio_s
        peak_db, clipping = self.levels.read()
        late_ms = [late_s * 1e3 for late_s in delivery.late_s]
        delivery.late_s.clear()
        state = State(
            new=self._growth.look(counters),
            frames=published - self._published,
            starving=delivery.starving,
            real_time_factor=compute_s / audio_s if audio_s > 0 else 0.0,
            late_ms=find_percentile(late_ms, LATE_PERCENTILE) if late_ms else 0.0,
            clipping=clipping,
            queue=delivery.backlog.share,
            peak_db=peak_db,
        )
        self._published = published
        self._last_compute_s, self._last_audio_s = delivery.compute_s, delivery.audio_s
        return state

    def _describe(self, state: State) -> dict[str, Any]:
        """Return what the delivery is like now."""
        delivery = self._delivery
        first_ns, first_s = delivery.first_audio_ns, delivery.first_audio_s
        return {
            "real-time factor": f"{state.real_time_factor:.4f}",
            "real-time factor total": f"{delivery.compute_s / max(delivery.audio_s, 1e-9):.4f}",
            **_describe_times("step time", delivery.step_s),
            **_describe_times("latency beyond stated", delivery.beyond_s),
            "stated latency (ms)": f"{delivery.latency_s * 1e3:.2f}",
            "planned delay (ms)": f"{delivery.delay_s * 1e3:.2f}",
            "starvation (ms)": f"{delivery.patience_s * 1e3:.2f}",
            "queued audio (s)": f"{delivery.queued_s:.2f}",
            "late p90 (ms)": f"{state.late_ms:.2f}",
            "clipping (share)": f"{state.clipping:.5f}",
            "peak level (dBFS)": f"{state.peak_db:.1f}",
            "interruptions": delivery.interruptions,
            "interrupted_s": f"{delivery.interrupted_s:.3f}",
            "first audio (ns)": "-" if first_ns is None else first_ns,
            # With it a replay has the same idle life at the same instants.
            "first audio (stream s)": "-" if first_s is None else f"{first_s:.6f}",
            "backend": delivery.talker.backend_name,
            "model digest": delivery.talker.bundle.digest,
            "frame rate (Hz)": f"{delivery.talker.fps:g}",
            "style": ", ".join(f"{k} {v:.2f}" for k, v in delivery.talker.style.items()),
            "intensity": f"{delivery.talker.intensity:g}",
        }


def judge(state: State, thresholds: Thresholds) -> tuple[bytes, str]:
    """Return level and message: ERROR where the face suffers, WARN where the input is odd."""
    if state.frames == 0:
        return ERROR, "no frame was published"
    measures = (
        ("slow: real-time factor", state.real_time_factor, thresholds.real_time_factor, ".2f"),
        ("late: frames by (ms)", state.late_ms, thresholds.late_ms, ".0f"),
        ("clipping: share of samples", state.clipping, thresholds.clipping, ".3f"),
        ("queue: share of max_queue_s", state.queue, thresholds.queue, ".2f"),
    )
    found = [
        (threshold.judge(value), f"{name} {value:{form}}")
        for name, value, threshold, form in measures
    ]
    happened = {key: count for key, count in state.new.items() if count}
    if happened:
        failed = happened.get("bad_steps") or happened.get("backend_errors")
        overdue = happened.get("overdue_frames", 0) > OVERDUE_SHARE * state.frames
        text = ", ".join(f"{key} {count}" for key, count in happened.items())
        found.append((ERROR if failed or overdue else WARN, text))
    level = max(level for level, _ in found)
    if level == OK:
        return OK, "idle: no audio" if state.starving else "speaking"
    return level, "; ".join(text for own, text in sorted(found, reverse=True) if own != OK)


def find_percentile(values: Iterable[float], percentile: float) -> float:
    """Return a percentile of at least one value, linear between two.

    np.percentile, the first time, imports for 90 ms, in which no frame would go out.
    """
    ordered = np.sort(np.fromiter(values, float))
    place = percentile / 100.0 * (len(ordered) - 1)
    return float(np.interp(place, np.arange(len(ordered)), ordered))


def _describe_times(name: str, times_s: Collection[float]) -> dict[str, str]:
    if not times_s:
        return {f"{name} p50 (ms)": "-", f"{name} p99 (ms)": "-"}
    middle_ms, high_ms = (find_percentile(times_s, percent) * 1e3 for percent in (50, 99))
    return {f"{name} p50 (ms)": f"{middle_ms:.2f}", f"{name} p99 (ms)": f"{high_ms:.2f}"}
