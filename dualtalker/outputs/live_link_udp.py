"""Sends faces as the app Live Link Face does, to Unreal's source of that name (UDP, version 6).

Layout, big-endian: u8 version; i32 length and device id; i32 length and subject; the frame's time
as i32 frame, f32 part of a frame, i32 rate and i32 denominator; u8 count of values and f32 values
(FAppleARKitLiveLinkSource in Unreal's AppleARKitFaceSupport).
"""

from __future__ import annotations

import math
import struct
import time
from urllib.parse import SplitResult, unquote

from dualtalker.errors import OutputError
from dualtalker.outputs.live_link import list_live_link_values
from dualtalker.outputs.output import DatagramOutput
from dualtalker.stream import Frame

_VERSION, _RATE = 6, 60
_DEVICE = b"dualtalker"
_LONGEST_SUBJECT = 128  # bytes: Unreal takes datagrams up to 774


class LiveLinkOutput(DatagramOutput):
    """A face for Unreal; the path of its address names the subject."""

    scheme, usual_port = "livelink", 11111

    def __init__(self, address: SplitResult) -> None:
        """Raises OutputError for an address or subject that is none."""
        subject = unquote(address.path.strip("/")).encode() or _DEVICE
        if len(subject) > _LONGEST_SUBJECT:
            raise OutputError(
                f"a subject of {len(subject)} bytes; expected at most {_LONGEST_SUBJECT}"
            )
        super().__init__(address)
        self._begin = bytes([_VERSION]) + _with_length(_DEVICE) + _with_length(subject)

    def encode(self, frame: Frame) -> list[bytes]:
        """Return one datagram, whose time is the time of day at 60 frames a second."""
        values = list_live_link_values(frame.weights, frame.head)
        part, whole = math.modf(time.time() % 86400 * _RATE)
        head = struct.pack(">ifiiB", int(whole), part, _RATE, 1, len(values))
        return [self._begin + head + values.astype(">f4").tobytes()]


def _with_length(text: bytes) -> bytes:
    return struct.pack(">i", len(text)) + text
