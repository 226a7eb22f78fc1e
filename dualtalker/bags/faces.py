"""Faces in a bag: the motion to compare with, and what a talker sent while it was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.bags.reading import Bag
from dualtalker.bags.types import JOINT_STATE
from dualtalker.errors import BagError
from dualtalker.evaluation import read_motion_table

DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
REFERENCE_ENDING = "/reference/blendshapes"
RUN_ENDING = "/blendshapes"
# A key that only the talker's diagnostics have.
TALKER_KEY = "first audio (ns)"


@dataclass(frozen=True)
class Faces:
    """Faces of one topic, in the order of their stamps."""

    topic: str
    stamps_ns: np.ndarray
    """[frames] int64, of the instants that they depict."""
    received_ns: np.ndarray
    """[frames] int64, when each was recorded."""
    weights: np.ndarray
    """[frames, 52] float32."""


@dataclass(frozen=True)
class Reference:
    """The motion to compare with; its time 0 is the audio's first sample."""

    source: str
    times_s: np.ndarray
    weights: np.ndarray


def read_faces(bag: Bag, topic: str) -> Faces:
    """Read a topic of blendshapes.

    Raises:
        BagError: no such topic, another type, no message, no ARKit name, NaN.
    """
    if topic not in bag.topics:
        raise BagError(f"{bag.path} has no topic {topic}; it holds {bag.describe()}")
    found = bag.topics[topic]
    if found.type_name != JOINT_STATE:
        raise BagError(f"{bag.path}: {topic} has type {found.type_name}; expected {JOINT_STATE}")
    stamps_ns, received_ns, rows = [], [], []
    for number, (received, message) in enumerate(bag.read(topic), start=1):
        weights = _order_weights(message)
        if weights is None:
            raise BagError(
                f"{bag.path}: message {number} of {topic} names no blendshape, but "
                f"{list(message.name)[:5]}; expected ARKit names such as jawOpen"
            )
        if not np.isfinite(weights).all():
            raise BagError(f"{bag.path}: message {number} of {topic} holds NaN or infinity")
        stamp = message.header.stamp
        # A stamp of zero means that nobody set it.
        stamps_ns.append(stamp.sec * 10**9 + stamp.nanosec or received)
        received_ns.append(received)
        rows.append(weights)
    if len(rows) < 2:
        raise BagError(f"{bag.path}: {topic} holds {len(rows)} faces; expected a stream of them")
    order = np.argsort(stamps_ns, kind="stable")
    return Faces(
        topic,
        np.array(stamps_ns, np.int64)[order],
        np.array(received_ns, np.int64)[order],
        np.stack(rows)[order],
    )


def _order_weights(message: Any) -> np.ndarray | None:
    """Return weights [52] by the message's names; None where none of them is ARKit's."""
    weights = np.zeros(len(ARKIT_NAMES), np.float32)
    if list(message.name) == list(ARKIT_NAMES) and len(message.position) == len(weights):
        return np.asarray(message.position, np.float32)
    pairs = [
        (ARKIT_INDEX[name], value)
        for name, value in zip(message.name, message.position, strict=False)
        if name in ARKIT_INDEX
    ]
    for index, value in pairs:
        weights[index] = value
    return weights if pairs else None


def find_reference(
    bag: Bag,
    wanted: str | None,
    first_stamp_ns: int,
    shift_s: float = 0.0,
    timecode_rate_hz: float | None = None,
) -> Reference | None:
    """Read the reference: a CSV, a topic, or the bag's only one; None where there is none.

    `first_stamp_ns` is the stamp of the first audio; a positive `shift_s` moves the reference to
    later times, `timecode_rate_hz` is that of the CSV's timecode.
    """
    if wanted is not None and wanted.lower().endswith(".csv"):
        table = read_motion_table(Path(wanted), timecode_rate_hz)
        counted = "" if table.counting is None else f", {table.counting.describe()}"
        source = f"{wanted}{counted}"
        return Reference(source, table.times_s + shift_s, table.weights.astype(np.float32))
    if wanted is not None:
        topic = wanted if wanted in bag.topics else f"/{wanted.lstrip('/')}"
    else:
        found = [name for name in _list_faces(bag) if name.endswith(REFERENCE_ENDING)]
        if len(found) > 1:
            raise BagError(
                f"{bag.path} has several references: {', '.join(found)}; choose one: "
                f"--reference {found[0]}"
            )
        if not found:
            return None
        topic = found[0]
    faces = read_faces(bag, topic)
    stamps_ns, kept = np.unique(faces.stamps_ns, return_index=True)
    times_s = (stamps_ns - first_stamp_ns) / 1e9 + shift_s
    return Reference(topic, times_s, faces.weights[kept])


def find_run(bag: Bag, wanted: str | None, audio_topic: str, reference: str | None) -> str | None:
    """Return the topic of blendshapes that a talker sent while the bag was recorded, if any."""
    if wanted is not None:
        return wanted if wanted in bag.topics else f"/{wanted.lstrip('/')}"
    found = [
        name
        for name in _list_faces(bag)
        if name.endswith(RUN_ENDING)
        and not name.endswith(REFERENCE_ENDING)
        and name.lstrip("/") != (reference or "").lstrip("/")
    ]
    namespace = audio_topic.rsplit("/", 1)[0]
    beside = [name for name in found if name.rsplit("/", 1)[0] == namespace]
    if len(found) > 1 and len(beside) != 1:
        raise BagError(
            f"{bag.path} has several topics of faces: {', '.join(found)}; choose one: "
            f"--run-topic {found[0]}"
        )
    return next(iter(beside or found), None)


def _list_faces(bag: Bag) -> list[str]:
    return [t.name for t in bag.topics.values() if t.type_name == JOINT_STATE and t.count]


def read_statuses(bag: Bag, run_topic: str) -> list[tuple[int, dict[str, str]]]:
    """Return the talker's diagnostics as (time of recording in ns, values); [] where none are."""
    named: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for topic in bag.topics.values():
        if topic.type_name != DIAGNOSTICS:
            continue
        for received_ns, message in bag.read(topic.name):
            for status in message.status:
                values = {pair.key: pair.value for pair in status.values}
                if TALKER_KEY in values:
                    named.setdefault(status.name, []).append((received_ns, values))
    return named[_nearest_name(list(named), run_topic)] if named else []


def _nearest_name(names: Sequence[str], run_topic: str) -> str:
    """Return the status of the node in the topic's namespace: `bob/talker: dualtalker`."""
    namespace = run_topic.rsplit("/", 1)[0].lstrip("/")
    return min(names, key=lambda n: (n.rpartition("/")[0] != namespace, n))
