"""Measures motions against recordings: from the formulas of `metrics` to a report's figures.

The same figures come out of a training corpus and of a replayed robot recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import metrics
from dualtalker.speech import LABIODENTAL

if TYPE_CHECKING:
    from dualtalker.rig import Rig

PAUSE_DISTANCE_S = 0.2
CAPTURED_COUNT = "captured recordings"
INTERVAL_ENDS = (", low", ", high")  # of a figure's 95 % interval, behind its own name
_STRETCH_S = 2.0  # of speech, about a phrase, that the intervals of correlations take as one
_BLOCK = 256  # frames posed at a time: a long recording's vertices would not fit in memory


@dataclass(frozen=True)
class Recording:
    """Speech with what is known of the face that said it. Frame k depicts k / fps."""

    name: str
    audio: np.ndarray
    """float32 [samples], mono."""
    sample_rate_hz: int
    fps: float
    frames: int
    reference: np.ndarray | None = None
    """Weights [frames, 52] to compare with, or None."""
    captured: bool = False
    """The reference was captured from a face (accuracy is measured), not made by rule."""
    phones: tuple[tuple[str, float, float], ...] | None = None
    """(class, start_s, end_s), or None where nobody labelled them."""
    group: str = ""
    """Kind of speech to tell apart in the figures of labelled phones: "" or "synthetic"."""
    unseen: bool = False
    """The speaker is certainly not in the model's training data."""
    source: str = ""
    """Where it comes from: what figures of recordings of one kind are gathered under."""
    talker: str = ""
    """Who speaks."""
    evidence: np.ndarray | None = None
    """Channels [52] bool of the reference that were captured; None where all were."""

    def knows(self, names: Sequence[str]) -> bool:
        """Tell whether any of these blendshapes was captured."""
        return self.evidence is None or any(self.evidence[ARKIT_INDEX[name]] for name in names)

    @property
    def times_s(self) -> np.ndarray:
        """Time of each frame, [frames]."""
        return np.arange(self.frames) / self.fps


@dataclass
class Tally:
    """Figures of one contestant, of one recording or of many.

    Each is a ratio of two sums, or the place of the peak of a sum.
    """

    sums: dict[str, tuple[float, float]] = field(default_factory=dict)
    roots: set[str] = field(default_factory=set)
    """Names of figures that are the root of their ratio."""
    lags: dict[str, tuple[np.ndarray, float]] = field(default_factory=dict)
    """Of figures that are a peak's place: sums of correlations by lag [lags], and the rate."""

    def add(self, name: str, value: float) -> None:
        """Add one recording's figure: the result is the mean."""
        self.count(name, value, 1)

    def count(self, name: str, part: float, whole: float) -> None:
        """Add one recording's share as (part, whole)."""
        before, total = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = (before + part, total + whole)

    def relate(self, name: str, power: float, wanted: float) -> None:
        """Add one recording's mean squares: the result is the ratio of their roots."""
        self.roots.add(name)
        self.count(name, power, wanted)

    def align(self, name: str, scores: np.ndarray, rate_hz: float) -> None:
        """Add one recording's correlations by lag: the result is the peak of all, in ms."""
        before, _ = self.lags.get(name, (np.zeros(len(scores)), rate_hz))
        self.lags[name] = (before + scores, rate_hz)

    def merge(self, other: Tally) -> None:
        """Add all of another tally."""
        self.roots |= other.roots
        for name, (part, whole) in other.sums.items():
            self.count(name, part, whole)
        for name, (scores, rate_hz) in other.lags.items():
            self.align(name, scores, rate_hz)

    def result(self) -> dict[str, float]:
        """The figures; those of which nothing was there to be counted are left out."""
        ratios = {name: part / whole for name, (part, whole) in self.sums.items() if whole}
        found = {n: float(r**0.5) if n in self.roots else float(r) for n, r in ratios.items()}
        return found | {name: metrics.find_peak_ms(*lags) for name, lags in self.lags.items()}


def find_recorded_speech(recording: Recording) -> np.ndarray:
    """Speech frames `[frames]` bool of a recording; see `metrics.find_speech_frames`."""
    return metrics.find_speech_frames(recording.audio, recording.sample_rate_hz, recording.times_s)


def measure_motions(
    recordings: Sequence[Recording], motions: Sequence[np.ndarray], rig: Rig
) -> dict[str, float]:
    """Return the figures of one contestant: its motions `[frames, 52]`, one for each recording.

    Figures are means over the recordings that have what they need; shares, and ratios of what
    moves, are pooled. How far a correlation may be off is told of a single captured recording.

    Raises:
        DualtalkerError: a motion has another number of frames than its recording.
    """
    return gather_figures(recordings, motions, rig, tally_motions(recordings, motions, rig))


def gather_figures(
    recordings: Sequence[Recording],
    motions: Sequence[np.ndarray],
    rig: Rig,
    tallies: Sequence[Tally],
) -> dict[str, float]:
    """Return the figures of `measure_motions` from its tallies, one for each recording."""
    whole = Tally()
    for tally in tallies:
        whole.merge(tally)
    in_speech, in_pauses = measure_speeds(recordings, [rig.lip_gap(m) for m in motions])
    if in_speech > 0 and in_pauses is not None:
        whole.add("pause motion", in_pauses / in_speech)
    figures = whole.result()
    captured = sum(r.captured and r.reference is not None for r in recordings)
    if captured:
        figures[CAPTURED_COUNT] = float(captured)
    if captured > 1:  # the mean of ends is not the end of the mean
        figures = {n: v for n, v in figures.items() if not n.endswith(INTERVAL_ENDS)}
    return figures


def tally_motions(
    recordings: Sequence[Recording], motions: Sequence[np.ndarray], rig: Rig
) -> list[Tally]:
    """Return what each recording tells of one contestant's motions; see `measure_motions`."""
    for recording, motion in zip(recordings, motions, strict=True):
        if motion.shape != (recording.frames, len(ARKIT_NAMES)):
            raise DualtalkerError(
                f"{recording.name}: found motion {list(motion.shape)}, expected "
                f"{[recording.frames, len(ARKIT_NAMES)]}: resample it to {recording.fps:g} Hz"
            )
    rest = measure_rest_gap(rig)
    # Thresholds of closure and contact come from this contestant's own range of motion.
    gaps = [rig.lip_gap(motion) for motion in motions]
    drops = [metrics.lower_lip_drop(rig, motion) for motion in motions]
    span = float(np.percentile(np.concatenate(gaps), 98.0)) - rest
    reach = float(np.percentile(np.concatenate(drops), 98.0))
    tallies = []
    for recording, motion, gap, drop in zip(recordings, motions, gaps, drops, strict=True):
        tally = Tally()
        if recording.captured and recording.reference is not None:
            _compare(recording, motion, gap, rig, tally)
        if recording.phones:
            closed = metrics.find_closed(gap, rest, span)
            _read_phones(recording, closed, metrics.find_contact(drop, reach), tally)
        tallies.append(tally)
    return tallies


def measure_rest_gap(rig: Rig) -> float:
    """The lip gap of the face at rest, metres."""
    return float(rig.lip_gap(np.zeros((1, len(ARKIT_NAMES)), np.float32))[0])


def measure_speeds(
    recordings: Sequence[Recording], gaps: Sequence[np.ndarray]
) -> tuple[float, float | None]:
    """90th percentile of the gap's speed in speech frames and in pauses, metres per second.

    Pauses are frames `PAUSE_DISTANCE_S` or more from any speech; None where there are none.
    """
    spoken: list[np.ndarray] = []
    silent: list[np.ndarray] = []
    for recording, gap in zip(recordings, gaps, strict=True):
        speech = find_recorded_speech(recording)
        speed = np.abs(np.diff(gap)) * recording.fps
        spoken.append(speed[speech[1:] & speech[:-1]])
        reach = int(np.ceil(PAUSE_DISTANCE_S * recording.fps))
        spread = np.convolve(speech, np.ones(2 * reach + 1))  # `reach` longer on either side
        near = spread[reach : reach + len(speech)] > 0.5
        silent.append(speed[~near[1:] & ~near[:-1]])
    moving, still = np.concatenate(spoken), np.concatenate(silent)
    in_speech = float(np.percentile(moving, 90.0)) if len(moving) else 0.0
    return in_speech, float(np.percentile(still, 90.0)) if len(still) else None


def _compare_curves(
    name: str,
    shown: np.ndarray,
    wanted: np.ndarray,
    speech: np.ndarray,
    fps: float,
    tally: Tally,
) -> None:
    """Add how one curve `[frames]` follows the captured one in speech, and how lively it is."""
    tally.add(f"{name} r", metrics.correlate(shown, wanted, speech))
    stretch = max(1, round(fps * _STRETCH_S))
    interval = metrics.bound_correlation(shown, wanted, stretch, speech)
    if interval:
        for end, value in zip(INTERVAL_ENDS, interval, strict=True):
            tally.add(f"{name} r{end}", value)
    if speech.any():
        # In double precision, or a constant curve would vary by its rounding.
        power, true_power = (float(np.var(c[speech], dtype=np.float64)) for c in (shown, wanted))
        spoken = int(speech.sum())
        tally.relate(f"{name} amplitude", spoken * power, spoken * true_power)


def _compare_shapes(
    recording: Recording, motion: np.ndarray, truth: np.ndarray, speech: np.ndarray, tally: Tally
) -> None:
    """Add the mouth's shapes: the jaw, the rounding, and whatever else was captured."""
    for name, channels in metrics.MOUTH_SHAPES.items():
        if not recording.knows(channels):
            continue
        shown, wanted = (metrics.sum_shape(weights, channels) for weights in (motion, truth))
        is_alive = speech.any() and float(wanted[speech].std()) >= metrics.LEAST_MOTION
        if is_alive or name in ("jaw", "rounding"):
            _compare_curves(name, shown, wanted, speech, recording.fps, tally)


def _compare(
    recording: Recording, motion: np.ndarray, gap: np.ndarray, rig: Rig, tally: Tally
) -> None:
    """Add the figures against a captured reference."""
    truth = recording.reference
    assert truth is not None
    speech, fps = find_recorded_speech(recording), recording.fps
    true_gap = rig.lip_gap(truth)
    jaw, true_jaw = metrics.jaw_opening(motion), metrics.jaw_opening(truth)
    _compare_shapes(recording, motion, truth, speech, tally)
    _compare_curves("lip gap", gap, true_gap, speech, fps, tally)
    if speech.any():
        tally.add("lip gap error mm", float(np.abs(gap - true_gap)[speech].mean()) * 1e3)
    moves = min(np.ptp(jaw), np.ptp(true_jaw), np.ptp(gap), np.ptp(true_gap)) > 1e-6
    if moves and recording.frames > fps:  # the search for the offset reaches 0.3 s each way
        if recording.knows(("jawOpen",)):
            tally.align("offset ms", metrics.correlate_lags(jaw, true_jaw, fps), fps)
        tally.align("offset gap ms", metrics.correlate_lags(gap, true_gap, fps), fps)
    if recording.frames > 3:  # a third derivative takes four
        power, true_power = (metrics.measure_jitter(curve, fps) ** 2 for curve in (gap, true_gap))
        tally.relate("jitter ratio", power, true_power)
    _compare_meshes(motion, truth, rig, tally)


def _compare_meshes(motion: np.ndarray, truth: np.ndarray, rig: Rig, tally: Tally) -> None:
    """Add the errors of the lips' and of all vertices, and of the upper face's dynamics."""
    lips, upper = rig.lip_vertices, rig.upper_face_vertices
    errors = metrics.measure_lip_error(
        metrics.pose_vertices(rig, motion, lips), metrics.pose_vertices(rig, truth, lips)
    )
    tally.add("LVE mm2", errors["lve_squared_mm2"])
    tally.add("LVE root mm", errors["lve_root_mm"])
    tally.add("LVE mm", errors["lve_mm"])
    tally.add("vertex error mm", float(measure_error_map(rig, motion, truth).mean()) * 1e3)
    if len(upper):
        dynamics = metrics.measure_dynamics_deviation(
            metrics.pose_vertices(rig, motion, upper),
            metrics.pose_vertices(rig, truth, upper),
            rig.neutral[upper],
        )
        tally.add("FDD signed", dynamics["fdd_signed"] * 1e5)
        tally.add("FDD absolute", dynamics["fdd_absolute"] * 1e5)


def _read_phones(
    recording: Recording, closed: np.ndarray, touching: np.ndarray, tally: Tally
) -> None:
    """Add the shares of closures and contacts under the recording's group."""
    assert recording.phones is not None
    times_s, phones = recording.times_s, recording.phones
    endings = [f", {recording.group}" if recording.group else ""]
    if recording.unseen and not recording.group:
        endings.append(", unseen speakers")
    met = metrics.measure_closure_recall(closed, times_s, phones)
    wrong = metrics.measure_false_closures(closed, times_s, phones)
    touched = metrics.measure_closure_recall(
        touching, times_s, phones, label_of_interest=LABIODENTAL
    )
    for ending in endings:
        tally.count(f"closures met{ending}", *met)
        tally.count(f"false closures{ending}", *wrong)
        tally.count(f"lip-teeth contact{ending}", *touched)


def measure_error_map(rig: Rig, motion: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean distance of each vertex over time, `[vertices]` metres."""
    total = np.zeros(len(rig.neutral))
    flat = rig.deltas.reshape(len(rig.names), -1)
    own = [ARKIT_NAMES.index(name) for name in rig.names]
    # The neutral mesh cancels: the difference is that of the weights alone.
    difference = (motion - truth)[:, own].astype(np.float32)
    for start in range(0, len(difference), _BLOCK):
        moved = difference[start : start + _BLOCK] @ flat
        total += np.linalg.norm(moved.reshape(-1, *rig.neutral.shape), axis=-1).sum(0)
    return total / max(len(difference), 1)
