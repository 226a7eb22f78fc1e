"""The words of the WebSocket subprotocol `dualtalker-face-1`, as docs/face_display.md tells them.

All times are seconds of the server's monotonic clock. Binary messages are little-endian: a header
of 24 bytes (type u8, version u8, count u16, number u32, at f64, stamp f64), then `count` values.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from dualtalker.arkit import ARKIT_NAMES, HEAD_NAMES

SUBPROTOCOL = "dualtalker-face-1"
VERSION = 1
# What a frame's weights are of: 52 weights in [0, 1], then the head's angles in radians.
FACE_NAMES = (*ARKIT_NAMES, *HEAD_NAMES)
FRAME, SOUND = 1, 2
LONGEST_MESSAGE = 4096  # bytes, of a viewer's
_HEADER = struct.Struct("<BBHIdd")
_MOST_SAMPLES = 2**16 - 1
_LONGEST_VALUE = 1e9


@dataclass(frozen=True)
class Ping:
    """A viewer asks for the time; `id` comes back."""

    id: int


class Statistics(msgspec.Struct, forbid_unknown_fields=True, tag="stats", tag_field="type"):
    """What a viewer tells of itself once a second: milliseconds, counts, frames per second."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    late: float = 0.0
    dropped: float = 0.0
    starved: float = 0.0
    shown: float = 0.0
    fps: float = 0.0
    offset_ms: float = 0.0
    rtt_ms: float = 0.0
    sound_ms: float = 0.0


class _Ping(msgspec.Struct, forbid_unknown_fields=True, tag="ping", tag_field="type"):
    id: int


_decoder = msgspec.json.Decoder(_Ping | Statistics)


def encode_hello(
    fps: float, rig_digest: str, shapes: Mapping[str, Sequence[tuple[str, float]]], now_s: float
) -> str:
    """Return the first message to a viewer.

    `shapes` says which weights, by which factors, drive each morph target of the rig's file.
    """
    rig = {"url": f"/rig.glb?sha256={rig_digest}", "sha256": rig_digest, "shapes": shapes}
    hello = {"type": "hello", "protocol": VERSION, "names": FACE_NAMES, "fps": fps}
    return json.dumps({**hello, "server_s": now_s, "rig": rig, "expressions": []})


def encode_pong(ping: Ping, now_s: float) -> str:
    """Return the answer to a ping."""
    return json.dumps({"type": "pong", "id": ping.id, "server_s": now_s})


def encode_frame(index: int, show_at_s: float, stamp_s: float, weights: np.ndarray) -> bytes:
    """Return a face to show: weights [55] in the order of FACE_NAMES, about 244 bytes."""
    values = np.ascontiguousarray(weights, "<f4")
    header = _HEADER.pack(FRAME, VERSION, len(values), index % 2**32, show_at_s, stamp_s)
    return header + values.tobytes()


def encode_sound(
    samples: np.ndarray, rate_hz: int, sounds_at_s: float, position: int
) -> list[bytes]:
    """Return mono float samples [n] in [-1, 1] as 16-bit pieces.

    `position` is the running number of the first sample: pieces that follow each other join
    without a seam.
    """
    pcm = (np.clip(samples, -1.0, 1.0) * 32767).round().astype("<i2")
    pieces = []
    for start in range(0, len(pcm), _MOST_SAMPLES):
        part = pcm[start : start + _MOST_SAMPLES]
        at_s = sounds_at_s + start / rate_hz
        header = _HEADER.pack(SOUND, VERSION, len(part), rate_hz, at_s, float(position + start))
        pieces.append(header + part.tobytes())
    return pieces


def read_time(message: bytes) -> float:
    """Return when a frame is to be shown, or a piece of sound to be heard."""
    return float(_HEADER.unpack_from(message)[4])


def read_message(message: Any) -> Ping | Statistics:
    """Return what a viewer said; raises ValueError for what it may not say."""
    if not isinstance(message, str):
        raise ValueError("a viewer sends no binary messages")
    try:
        read = _decoder.decode(message)
    except msgspec.DecodeError as error:  # a ValueError of itself only in newer versions
        raise ValueError(str(error)) from error
    if isinstance(read, _Ping):
        if not 0 <= read.id < 2**53:
            raise ValueError(f"ping id {read.id}; expected 0 to 2**53")
        return Ping(read.id)
    for name in read.__struct_fields__:
        value = getattr(read, name)
        if not math.isfinite(value) or abs(value) > _LONGEST_VALUE:
            raise ValueError(f"{name} is {value}")
    return read
