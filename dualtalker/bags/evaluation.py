"""Evaluates one bag: replays its audio, and measures that and the run recorded in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.bags.audio import BagAudio, GivenFormat, find_phones_topic, read_bag_audio
from dualtalker.bags.faces import Reference, find_reference, find_run, read_faces, read_statuses
from dualtalker.bags.live_run import (
    Equality,
    LiveRun,
    Timing,
    compare_frames,
    measure_timing,
    place_run,
    read_lead_frames,
    trace_run,
)
from dualtalker.bags.reading import Bag
from dualtalker.bags.replay import Heard, Replay, ReplaySettings, replay
from dualtalker.errors import BagError
from dualtalker.evaluation import Recording
from dualtalker.model import load_bundle

DEFAULT_FPS = 30.0
REPLAY, LIVE = "replay", "live"
# Less of the reference than this beside the audio tells nothing.
MIN_OVERLAP_S = 1.0

# Called with a label and a total; returns what is called with the number of things done.
Progress = Callable[[str, int], Callable[[int], object]]


@dataclass(frozen=True)
class BagOptions:
    """What the user says of a bag, and how it is replayed; None is found in the bag."""

    audio_topic: str | None = None
    run_topic: str | None = None
    reference: str | None = None
    reference_shift_s: float = 0.0
    timecode_rate_hz: float | None = None
    given: GivenFormat = field(default_factory=GivenFormat)
    fps: float | None = None
    settings: ReplaySettings = field(default_factory=ReplaySettings)


@dataclass(frozen=True)
class BagEvaluation:
    """One bag, replayed and measured."""

    path: Path
    contents: str
    """All topics, in words."""
    audio: BagAudio
    recording: Recording
    """The part that is judged: with a reference, what it covers."""
    start_s: float
    """Where that begins in the audio."""
    reference: Reference | None
    phones: str | None
    """Topic of the phones that the replays were told."""
    replays: dict[str, Replay]
    """By contestant: `replay`, or a name for each of several models."""
    run: LiveRun | None
    timing: Timing | None
    """Of the run."""
    equality: Equality | None
    """Of the run with the first replay."""
    motions: dict[str, np.ndarray]
    """Weights [frames, 52] on the recording's frames, by contestant; the run is `live`."""

    @property
    def first(self) -> Replay:
        """The replay that the recorded run is compared with."""
        return next(iter(self.replays.values()))


def evaluate_bag(
    path: Path,
    options: BagOptions,
    models: Mapping[str, Path | None] | None = None,
    progress: Progress | None = None,
) -> BagEvaluation:
    """Read a bag and replay its audio with each of `models`, by name of the contestant.

    Raises:
        BagError: the bag cannot be read, or lacks what is needed; the text says what mends it.
    """
    models = models or {REPLAY: None}
    bundles = {name: load_bundle(model) for name, model in models.items()}
    with Bag(path) as bag:
        audio = read_bag_audio(bag, options.audio_topic, options.given)
        first_ns = int(audio.times.begins_ns[0])
        run_topic = find_run(bag, options.run_topic, audio.topic, options.reference)
        faces = read_faces(bag, run_topic) if run_topic else None
        statuses = read_statuses(bag, run_topic) if run_topic else []
        shift_s = options.reference_shift_s
        reference = find_reference(
            bag, options.reference, first_ns, shift_s, options.timecode_rate_hz
        )
        phones_topic = find_phones_topic(bag, audio.topic, run_topic)
        phones = list(bag.read(phones_topic)) if phones_topic else []
        contents = bag.describe()
    told_fps = float(statuses[-1][1]["frame rate (Hz)"]) if statuses else DEFAULT_FPS
    fps = options.fps or told_fps
    run = place_run(faces, statuses, audio, first_ns) if faces else None
    lead_frames = read_lead_frames(statuses, fps) if run and run.from_start else None
    settings = replace(options.settings, talker=replace(options.settings.talker, fps=fps))
    replays = {
        name: replay(
            audio.messages,
            audio.format,
            replace(settings, model=bundle),
            phones=phones,
            lead_frames=lead_frames,
            progress=progress(name, len(audio.messages)) if progress else None,
        )
        for name, bundle in bundles.items()
    }
    return _judge(path, contents, audio, phones_topic, reference, replays, run)


def _judge(
    path: Path,
    contents: str,
    audio: BagAudio,
    phones: str | None,
    reference: Reference | None,
    replays: dict[str, Replay],
    run: LiveRun | None,
) -> BagEvaluation:
    """Put sound, reference and motions onto one grid of frames."""
    first = next(iter(replays.values()))
    fps = first.fps
    start, end = 0, max(int(np.ceil(first.duration_s * fps - 1e-6)), 1)
    if reference is not None:
        start, end = _find_overlap(path, reference, fps, end)
    grid_s = np.arange(start, end) / fps
    motions = {
        name: hold_frames(made.times_s, made.weights, grid_s, fps)
        for name, made in replays.items()
    }
    timing = equality = None
    if run is not None:
        motions[LIVE] = hold_frames(run.times_s, run.weights, grid_s, fps)
        stated_s = float(run.status.get("stated latency (ms)", first.latency_s * 1e3)) / 1e3
        timing = trace_run(run, audio, first.duration_s, stated_s)
        equality = compare_frames(run, first)
    return BagEvaluation(
        path=path,
        contents=contents,
        audio=audio,
        recording=_make_recording(path.stem, first, reference, grid_s),
        start_s=start / fps,
        reference=reference,
        phones=phones,
        replays=replays,
        run=run,
        timing=timing,
        equality=equality,
        motions=motions,
    )


def _make_recording(
    name: str, replayed: Replay, reference: Reference | None, grid_s: np.ndarray
) -> Recording:
    """Cut sound and reference to the frames at `grid_s`."""
    fps, count = replayed.fps, len(grid_s)
    sound, rate_hz = assemble_sound(replayed.heard)
    start = round(grid_s[0] * fps)
    return Recording(
        name=name,
        audio=sound[round(start / fps * rate_hz) : round((start + count) / fps * rate_hz)],
        sample_rate_hz=rate_hz,
        fps=fps,
        frames=count,
        reference=None if reference is None else interpolate(reference, grid_s),
        captured=reference is not None,
    )


def _find_overlap(path: Path, reference: Reference, fps: float, end: int) -> tuple[int, int]:
    """Return the first frame and the one after the last that reference and audio both cover."""
    begins_s, ends_s = float(reference.times_s[0]), float(reference.times_s[-1])
    first = max(int(np.ceil(begins_s * fps - 1e-3)), 0)
    last = min(int(np.floor(ends_s * fps + 1e-3)) + 1, end)
    if (last - first) / fps < MIN_OVERLAP_S:
        raise BagError(
            f"{path}: by its stamps the reference {reference.source} lasts from {begins_s:.2f} to "
            f"{ends_s:.2f} s, the audio from 0 to {end / fps:.2f} s: they share less than "
            f"{MIN_OVERLAP_S:g} s. Where their clocks differ: --reference-offset-ms"
        )
    return first, last


def assemble_sound(heard: Sequence[Heard]) -> tuple[np.ndarray, int]:
    """Return samples [n] at one rate, each piece where it was heard, silence where none was.

    Pieces of another rate than the first are interpolated: this is for looking and measuring. What
    came late and lies before the first piece is left out, as the talker leaves it out.
    """
    rate_hz, begin_ns = heard[0].rate_hz, heard[0].begin_ns
    places = [round((piece.begin_ns - begin_ns) / 1e9 * rate_hz) for piece in heard]
    parts = [_at_rate(piece, rate_hz) for piece in heard]
    size = max(place + len(part) for place, part in zip(places, parts, strict=True))
    sound = np.zeros(size, np.float32)
    for place, part in zip(places, parts, strict=True):
        begin, end = max(place, 0), max(place + len(part), 0)
        sound[begin:end] = part[begin - place :] if end else part[:0]
    return sound, rate_hz


def _at_rate(piece: Heard, rate_hz: int) -> np.ndarray:
    if piece.rate_hz == rate_hz:
        return piece.samples
    count = round(len(piece.samples) * rate_hz / piece.rate_hz)
    places = np.arange(count) * piece.rate_hz / rate_hz
    return np.interp(places, np.arange(len(piece.samples)), piece.samples).astype(np.float32)


def interpolate(reference: Reference, grid_s: np.ndarray) -> np.ndarray:
    """Return the reference's weights [frames, 52] at other times, by straight lines."""
    columns = [
        np.interp(grid_s, reference.times_s, reference.weights[:, channel])
        for channel in range(reference.weights.shape[1])
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def hold_frames(
    times_s: np.ndarray, weights: np.ndarray, grid_s: np.ndarray, fps: float
) -> np.ndarray:
    """Return weights [frames, 52] on a grid: the frame of each instant; a missing one is held."""
    order = np.argsort(times_s, kind="stable")
    last = np.searchsorted(times_s[order], grid_s + 0.5 / fps, side="right") - 1
    return np.asarray(weights[order][np.maximum(last, 0)])


def measure_counts(counters: Mapping[str, int]) -> dict[str, float]:
    """Return what went wrong, gathered for the table, from a talker's counters."""

    def total(*names: str) -> float:
        return float(sum(counters.get(name, 0) for name in names))

    return {
        "gaps": total("gaps", "reanchors"),
        "dropped chunks": total("queue_drops", "late_chunks"),
        "refused messages": total(
            "empty_messages", "compressed_messages", "nonfinite_messages", "undecodable_messages"
        ),
        "late frames": total("stale_frames", "late_frames", "overdue_frames"),
        "backend errors": total("backend_errors", "bad_steps"),
    }


def measure_bag(evaluation: BagEvaluation) -> dict[str, dict[str, float]]:
    """Return the figures that are no accuracy, by contestant."""
    figures: dict[str, dict[str, float]] = {}
    for name, made in evaluation.replays.items():
        times_s = made.times_s[made.times_s < made.duration_s]
        steps = np.rint(np.diff(times_s) * made.fps)
        figures[name] = {
            "frames": float(len(times_s)),
            "missing frames": float(np.maximum(steps - 1, 0).sum()),
            **measure_counts(made.counters),
            "stated ms": made.latency_s * 1e3,
            "real-time factor": made.real_time_factor,
            "piece p99 ms": float(np.percentile(made.step_s, 99)) * 1e3,
        }
    run, timing = evaluation.run, evaluation.timing
    if run is not None and timing is not None:
        first = evaluation.first
        figures[LIVE] = measure_timing(timing, first.fps, first.duration_s)
        if run.status:
            figures[LIVE].update(measure_counts(run.counters))
            figures[LIVE].update(_read_status(run.status))
        equality = evaluation.equality
        if equality is not None and equality.compared:
            figures[LIVE]["equal frames"] = equality.identical / equality.compared
            figures[LIVE]["equal mouths"] = equality.identical_mouths / equality.compared
    return figures


def _read_status(status: Mapping[str, Any]) -> dict[str, float]:
    """Return what a talker says of itself."""
    keys = {
        "stated ms": "stated latency (ms)",
        "real-time factor": "real-time factor total",
        "piece p99 ms": "step time p99 (ms)",
    }
    return {name: float(status[key]) for name, key in keys.items() if status.get(key, "-") != "-"}
