"""A talker's run that a bag recorded: how punctual it was, and whether a replay gives the same.

What is measured, exactly, over the frames that depict the audio:

  jitter     |time between the receipt of two frames - 1 / frame rate|
  latency    receipt of a frame - its stamp, where the stamps are of the recorder's clock
  beyond     receipt of a frame - (moment at which the instant it depicts was heard + stated
             latency). The audio is heard from the latest start on for which no chunk was received
             before it was due; the stated latency is the talker's own: lookahead + hop + resampler
  missing    frames absent from the grid of 1 / frame rate, from the first instant of the audio to
             the last

The recorder, which receives, is another process than the talker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dualtalker.arkit import MOUTH_INDICES
from dualtalker.bags.audio import BagAudio
from dualtalker.bags.faces import TALKER_KEY, Faces
from dualtalker.bags.replay import SAME_CLOCK_S, Replay

# What a talker tells of when its first audio came; with it a replay has the same idle life.
LEAD_KEY = "first audio (stream s)"
# Two frames of one instant: closer than anything between them.
SAME_INSTANT_S = 1e-4
# The node notes the arrival of audio without stamps itself; the recorder's may differ by so much.
ARRIVAL_SLACK_S = 1.0


@dataclass(frozen=True)
class LiveRun:
    """Frames that a talker sent, on the time axis of the audio (0 is its first sample)."""

    topic: str
    times_s: np.ndarray  # [frames]
    stamps_ns: np.ndarray  # [frames]
    received_ns: np.ndarray  # [frames]
    weights: np.ndarray  # [frames, 52]
    status: Mapping[str, str]  # the talker's last diagnostics; empty where none were recorded
    counters: Mapping[str, int]  # what went wrong while it was recorded
    from_start: bool  # the bag holds all audio that the talker had heard


@dataclass(frozen=True)
class Timing:
    """When the frames that depict the audio came, in order of the instants that they depict."""

    times_s: np.ndarray  # [frames] that they depict
    intervals_ms: np.ndarray  # [frames - 1] between their receipts
    beyond_ms: np.ndarray  # [frames] latency beyond the stated
    latency_ms: np.ndarray | None  # [frames] from stamp to receipt; None: of different clocks


@dataclass(frozen=True)
class Equality:
    """How a replay compares with a recorded run, frame by frame of the same instant."""

    compared: int
    identical: int
    identical_mouths: int
    """Those whose channels that speech moves are the same; idle life may differ."""
    largest: float
    """Largest difference of a weight."""
    largest_mouth: float
    """The same, of the channels that speech moves."""


def read_lead_frames(statuses: Sequence[tuple[int, Mapping[str, str]]], fps: float) -> int | None:
    """Return how many idle frames the talker had sent before its first audio; None: unknown."""
    for _, status in reversed(statuses):
        text = status.get(LEAD_KEY, "-")
        if text != "-":
            return round(float(text) * fps)
    return None


def place_run(
    faces: Faces,
    statuses: Sequence[tuple[int, Mapping[str, str]]],
    audio: BagAudio,
    first_stamp_ns: int,
) -> LiveRun:
    """Put a run's frames on the time axis of the audio.

    `first_stamp_ns` is the stamp of the first sample in the bag, or its arrival.
    """
    status = statuses[-1][1] if statuses else {}
    zero_ns, from_start = first_stamp_ns, False
    if status.get(TALKER_KEY, "-") != "-":
        told_ns = int(status[TALKER_KEY])
        slack_s = SAME_INSTANT_S if audio.times.stamps_ns is not None else ARRIVAL_SLACK_S
        from_start = abs(told_ns - first_stamp_ns) <= slack_s * 1e9
        zero_ns = told_ns if from_start else first_stamp_ns
    return LiveRun(
        topic=faces.topic,
        times_s=(faces.stamps_ns - zero_ns) / 1e9,
        stamps_ns=faces.stamps_ns,
        received_ns=faces.received_ns,
        weights=faces.weights,
        status=status,
        counters=_count_faults(statuses, int(audio.times.received_ns[0])),
        from_start=from_start,
    )


def _count_faults(
    statuses: Sequence[tuple[int, Mapping[str, str]]], begin_ns: int
) -> dict[str, int]:
    """Return the counters at the end, less those before the audio began where that is known."""
    if not statuses:
        return {}
    last = {key: int(value) for key, value in statuses[-1][1].items() if _is_counter(key, value)}
    before = [values for received_ns, values in statuses if received_ns < begin_ns]
    if not before:
        return last
    return {key: count - int(before[-1].get(key, 0)) for key, count in last.items()}


def _is_counter(key: str, value: str) -> bool:
    """Counters are named like variables; measured values have spaces and units."""
    return key.isidentifier() and value.isdigit() and key != "frames"


def trace_run(run: LiveRun, audio: BagAudio, duration_s: float, stated_s: float) -> Timing:
    """Return when the frames that depict the audio came (see the head of this file)."""
    inside = (run.times_s > -SAME_INSTANT_S) & (run.times_s < duration_s)
    times_s, received_ns = run.times_s[inside], run.received_ns[inside]
    heard_s = (received_ns - audio.times.find_start_ns()) / 1e9
    latency_ms = (received_ns - run.stamps_ns[inside]) / 1e6
    of_one_clock = len(latency_ms) > 0 and np.abs(latency_ms).max() < SAME_CLOCK_S * 1e3
    return Timing(
        times_s=times_s,
        intervals_ms=np.diff(np.sort(received_ns)) / 1e6,
        beyond_ms=(heard_s - times_s - stated_s) * 1e3,
        latency_ms=latency_ms if of_one_clock else None,
    )


def measure_timing(timing: Timing, fps: float, duration_s: float) -> dict[str, float]:
    """Return the figures of a run's timing, over audio of `duration_s`."""
    wanted = int(np.floor(duration_s * fps - 1e-6)) + 1
    taken = len(np.unique(np.rint(timing.times_s * fps)))
    figures = {"frames": float(len(timing.times_s)), "missing frames": float(wanted - taken)}
    if len(timing.times_s) < 2:
        return figures
    figures.update(_describe("jitter", np.abs(timing.intervals_ms - 1e3 / fps)))
    figures.update(_describe("beyond", timing.beyond_ms))
    if timing.latency_ms is not None:
        figures.update(_describe("latency", timing.latency_ms))
    return figures


def _describe(name: str, values_ms: np.ndarray) -> dict[str, float]:
    middle, high = np.percentile(values_ms, [50, 99])
    return {f"{name} p50 ms": float(middle), f"{name} p99 ms": float(high)}


def compare_frames(run: LiveRun, replay: Replay) -> Equality:
    """Compare the frames of a run with those of a replay that depict the same instants."""
    times_s, weights = replay.times_s, replay.weights
    place = np.clip(np.searchsorted(times_s, run.times_s), 1, len(times_s) - 1)
    before_s, after_s = run.times_s - times_s[place - 1], times_s[place] - run.times_s
    nearest = np.where(before_s < after_s, place - 1, place)
    same = np.abs(times_s[nearest] - run.times_s) <= SAME_INSTANT_S
    mine, theirs = weights[nearest[same]], run.weights[same]
    if not len(mine):
        return Equality(0, 0, 0, 0.0, 0.0)
    difference, mouth = np.abs(mine - theirs), list(MOUTH_INDICES)
    return Equality(
        compared=len(mine),
        identical=int((difference == 0).all(axis=1).sum()),
        identical_mouths=int((difference[:, mouth] == 0).all(axis=1).sum()),
        largest=float(difference.max()),
        largest_mouth=float(difference[:, mouth].max()),
    )
