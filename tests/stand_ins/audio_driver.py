"""Publishes speech by a plan, with the faults that networks and drivers have; judges nothing.

    python tests/stand_ins/audio_driver.py plan.json [--in-turn]

The plan lists streams (see `Stream`); they begin together when every topic has a subscriber, or
in turn, each when its own has one. The time of that instant is printed as JSON. What is said is a
function of time (`sound_at`), so a stream may change its rate in mid-word, and a test knows what
each moment sounded like.
"""

from __future__ import annotations

import array
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ros_handshake import Handshake

LEAD_S = 0.3  # from the first line of output to the first message
DISCOVERY_TIMEOUT_S = 90.0
READING_TIMEOUT_S = 5.0  # for listeners that may have ended meanwhile
CLOCK = "rosgraph_msgs/msg/Clock"
TONES_HZ = (210.0, 660.0, 1430.0, 2570.0)
# mgonzs13's AudioInfo.format and the array for it, by sample format.
TYPED_ARRAYS = {
    "F32LE": (1, "float32_data", "f"),
    "S32LE": (2, "int32_data", "i"),
    "S16LE": (8, "int16_data", "h"),
    "S8": (16, "int8_data", "b"),
    "U8": (32, "uint8_data", "B"),
}


@dataclass(frozen=True)
class Segment:
    """A stretch of audio of one format."""

    begin_s: float = 0.0
    duration_s: float = 4.0
    rate_hz: int = 16000
    channels: int = 1
    sample_format: str = "S16LE"
    chunk_s: float = 0.02
    burst: bool = False  # all at once when it begins, instead of each chunk when it is full


@dataclass(frozen=True)
class Stream:
    """What goes to one topic, and what happens to it on the way."""

    topic: str
    message_type: str
    segments: list[Segment] = field(default_factory=lambda: [Segment()])
    seed: int = 0
    lost: float = 0.0  # share of messages that never come
    duplicated: float = 0.0  # share that comes twice
    reordered: float = 0.0  # share that comes after its successor
    paused: tuple[float, float] = (0.0, 0.0)  # from when for how long nothing comes, s
    stepped: tuple[float, float] = (0.0, 0.0)  # from when the sender's clock is off, by what, s
    ahead_s: float = 0.0  # how far stamps are ahead of the time at which the sample is due
    epoch_s: float | None = None  # stamp of the first sample; None: the system's time


@dataclass(frozen=True)
class Event:
    """One message: when it is sent and what is in it."""

    at_s: float
    position_s: float
    segment: Segment
    count: int
    shift_s: float = 0.0


def sound_at(times_s: np.ndarray, seed: int) -> np.ndarray:
    """Return the sound of some moments [n], -0.8 to 0.8: syllables of random lengths."""
    rng = np.random.default_rng(seed)
    tones = sum(
        np.sin(2 * np.pi * (hertz * times_s + phase))
        for hertz, phase in zip(TONES_HZ, rng.uniform(0, 1, 4), strict=True)
    )
    return 0.2 * np.asarray(tones) * _loudness(times_s, seed)


def _loudness(times_s: np.ndarray, seed: int) -> np.ndarray:
    """Syllables never repeat within a minute, and no cut of them resembles a shifted one."""
    rng = np.random.default_rng(seed + 1)
    turns_s = np.cumsum(rng.uniform(0.08, 0.35, 400))
    levels = np.where(np.arange(400) % 2, 0.0, rng.uniform(0.5, 1.0, 400))
    edges_s = np.concatenate([[turns_s[:-1] - 0.01], [turns_s[:-1] + 0.01]]).T.ravel()
    heights = np.concatenate([[levels[:-1]], [levels[1:]]]).T.ravel()
    return np.interp(np.mod(times_s, 60.0), edges_s, heights)


def schedule(stream: Stream) -> list[Event]:
    """Return the messages of a stream in the order of sending."""
    rng = np.random.default_rng(stream.seed + 2)
    events = [event for segment in stream.segments for event in _cut(segment)]
    events = [event for event in events if rng.random() >= stream.lost]
    events = [
        copy for event in events for copy in [event] * (1 + (rng.random() < stream.duplicated))
    ]
    for index in range(len(events) - 1):
        if rng.random() < stream.reordered:
            first, second = events[index : index + 2]
            events[index] = replace(second, at_s=first.at_s)
            events[index + 1] = replace(first, at_s=second.at_s)
    begin_s, length_s = stream.paused
    end_s = begin_s + length_s
    events = [
        replace(event, at_s=end_s) if begin_s <= event.at_s < end_s else event for event in events
    ]
    from_s, shift_s = stream.stepped
    return [
        replace(event, shift_s=shift_s) if shift_s and event.position_s >= from_s else event
        for event in events
    ]


def _cut(segment: Segment) -> Iterator[Event]:
    size = round(segment.chunk_s * segment.rate_hz)
    total = round(segment.duration_s * segment.rate_hz)
    for first in range(0, total, size):
        count = min(size, total - first)
        position_s = segment.begin_s + first / segment.rate_hz
        full_s = position_s + count / segment.rate_hz
        at_s = segment.begin_s if segment.burst else full_s
        yield Event(at_s, position_s, segment, count)


def encode(samples: np.ndarray, sample_format: str, rate_hz: int) -> bytes:
    """Return samples [n, channels] in -1 to 1 as bytes of a format, MP3 among them."""
    if sample_format == "MP3":
        import soundfile

        file = io.BytesIO()
        soundfile.write(file, samples, rate_hz, format="MP3")
        return file.getvalue()
    if sample_format.startswith("F"):
        return samples.astype({"F32LE": "<f4", "F64LE": "<f8"}[sample_format]).tobytes()
    if sample_format == "U8":
        return np.rint(samples * 127 + 128).astype(np.uint8).tobytes()
    bits = {"S8": 8, "S16LE": 16, "S16BE": 16, "S24LE": 24, "S24_32LE": 24, "S32LE": 32}
    scaled = np.rint(samples * (2 ** (bits[sample_format] - 1) - 1))
    if sample_format == "S24LE":
        return scaled.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    kinds = {"S8": "i1", "S16LE": "<i2", "S16BE": ">i2", "S24_32LE": "<i4", "S32LE": "<i4"}
    return scaled.astype(kinds[sample_format]).tobytes()


def make_message(message_class: Any, stream: Stream, event: Event, stamp_ns: int) -> Any:
    """Return a message of any type that the talker knows, or of /clock."""
    message = message_class()
    if stream.message_type == CLOCK:
        message.clock.sec, message.clock.nanosec = divmod(stamp_ns, 10**9)
        return message
    segment = event.segment
    times_s = event.position_s + np.arange(event.count) / segment.rate_hz
    samples = np.repeat(sound_at(times_s, stream.seed)[:, None], segment.channels, axis=1)
    data = encode(samples, segment.sample_format, segment.rate_hz)
    if hasattr(message, "header"):
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    body = message.audio if hasattr(message, "audio") else message
    if hasattr(body, "audio_data"):
        body.info.format, name, typecode = TYPED_ARRAYS[segment.sample_format]
        setattr(body.audio_data, name, array.array(typecode, data))
        body.info.channels, body.info.rate = segment.channels, segment.rate_hz
        body.info.chunk = event.count
    else:
        body.data = array.array(body.data.typecode, data)
    if hasattr(body, "layout"):
        body.layout.dim = _describe(segment)
    return message


def _describe(segment: Segment) -> list[Any]:
    from std_msgs.msg import MultiArrayDimension

    return [
        MultiArrayDimension(label=f"sample_rate_hz={segment.rate_hz}", size=1),
        MultiArrayDimension(label="channels", size=segment.channels),
    ]


def write_plan(path: Path, streams: list[Stream]) -> Path:
    """Write a plan for a driver's process; return its path."""
    path.write_text(json.dumps([asdict(stream) for stream in streams]), "utf-8")
    return path


def read_plan(path: Path) -> list[Stream]:
    """Return what `write_plan` wrote."""
    return [
        Stream(
            **{
                **fields,
                "segments": [Segment(**segment) for segment in fields["segments"]],
                "paused": tuple(fields["paused"]),
                "stepped": tuple(fields["stepped"]),
            }
        )
        for fields in json.loads(path.read_text("utf-8"))
    ]


def drive(streams: list[Stream], in_turn: bool) -> None:
    """Publish a plan; TimeoutError where nobody listens to a topic."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor

    rclpy.init()
    executor = SingleThreadedExecutor()
    node = rclpy.create_node("audio_driver")
    executor.add_node(node)
    for together in [[stream] for stream in streams] if in_turn else [streams]:
        parts = [_make_part(stream, node, executor.spin_once) for stream in together]
        if silent := [p.stream.topic for p in parts if not p.handshake.meet(DISCOVERY_TIMEOUT_S)]:
            raise TimeoutError(f"nobody listens to {', '.join(silent)}")
        _publish(parts)
        for part in parts:
            part.handshake.meet(READING_TIMEOUT_S)
            part.handshake.close()
            node.destroy_publisher(part.publisher)
    rclpy.shutdown()


class Part(NamedTuple):
    """A stream on its way to a topic."""

    stream: Stream
    message_class: Any
    publisher: Any
    handshake: Handshake


def _make_part(stream: Stream, node: Any, spin_once: Callable[[float], None]) -> Part:
    from rclpy.qos import QoSProfile

    package, _, name = stream.message_type.split("/")
    message_class = getattr(import_module(f"{package}.msg"), name)
    publisher = node.create_publisher(message_class, stream.topic, QoSProfile(depth=1000))
    return Part(stream, message_class, publisher, Handshake(node, spin_once, publisher))


def _publish(parts: list[Part]) -> None:
    begin_ns, begin_s = time.time_ns() + int(LEAD_S * 1e9), time.monotonic() + LEAD_S
    print(json.dumps({"begin_ns": begin_ns}), flush=True)
    plan = [(event, part) for part in parts for event in schedule(part.stream)]
    plan.sort(key=lambda item: item[0].at_s)
    for at_s, together in groupby(plan, key=lambda item: item[0].at_s):
        # All are made before the first is sent: nothing but reading holds up a burst.
        burst = [(event, part, _make(event, part, begin_ns)) for event, part in together]
        time.sleep(max(begin_s + at_s - time.monotonic(), 0.0))
        for event, part, message in burst:
            part.publisher.publish(message)
            if event.segment.burst:
                # Shared memory holds 512 kB. What a busy listener has no room for, DDS sends
                # again seconds later, which is no fault that this driver is asked for.
                part.handshake.meet(READING_TIMEOUT_S)


def _make(event: Event, part: Part, begin_ns: int) -> Any:
    stream = part.stream
    epoch_ns = begin_ns if stream.epoch_s is None else round(stream.epoch_s * 1e9)
    of_s = event.at_s if stream.message_type == CLOCK else event.position_s
    stamp_ns = epoch_ns + round((of_s + stream.ahead_s + event.shift_s) * 1e9)
    return make_message(part.message_class, stream, event, stamp_ns)


if __name__ == "__main__":
    drive(read_plan(Path(sys.argv[1])), in_turn="--in-turn" in sys.argv[2:])
