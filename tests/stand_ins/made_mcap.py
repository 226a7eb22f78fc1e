"""MCAP files record by record, also such as no recorder writes. https://mcap.dev/spec"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

MAGIC = b"\x89MCAP0\r\n"
_DEFINITION = (
    "std_msgs/MultiArrayLayout layout\nint16[] data\n" + "=" * 80 + "\n"
    "MSG: std_msgs/MultiArrayLayout\nstd_msgs/MultiArrayDimension[] dim\nuint32 data_offset\n"
    + "=" * 80
    + "\nMSG: std_msgs/MultiArrayDimension\nstring label\nuint32 size\nuint32 stride\n"
)


def record(op: int, content: bytes) -> bytes:
    return bytes([op]) + struct.pack("<Q", len(content)) + content


def text(value: str) -> bytes:
    return struct.pack("<I", len(value.encode())) + value.encode()


def schema(type_name: str = "std_msgs/msg/Int16MultiArray") -> bytes:
    fields = struct.pack("<H", 1) + text(type_name) + text("ros2msg") + text(_DEFINITION)
    return record(0x03, fields)


def channel(topic: str, number: int = 1) -> bytes:
    return record(0x04, struct.pack("<HH", number, 1) + text(topic) + text("cdr") + bytes(4))


def message(at_ns: int, data: bytes, number: int = 1) -> bytes:
    return record(0x05, struct.pack("<HIQQ", number, 0, at_ns, at_ns) + data)


@dataclass
class Chunk:
    """A chunk, and what its header and index say of it."""

    content: bytes  # packed
    compression: str
    claimed: int  # bytes when unpacked
    begin_ns: int = 0
    end_ns: int = 0
    counts: dict[int, int] = field(default_factory=dict)  # messages by channel; {}: no index

    def to_record(self) -> bytes:
        head = struct.pack("<QQQI", self.begin_ns, self.end_ns, self.claimed, 0)
        size = struct.pack("<Q", len(self.content))
        return record(0x06, head + text(self.compression) + size + self.content)

    def to_indexes(self) -> bytes:
        """Message indexes, of zeros: readers take their lengths."""
        return b"".join(
            record(0x07, struct.pack("<HI", number, 16 * count) + bytes(16 * count))
            for number, count in self.counts.items()
        )

    def to_chunk_index(self, at: int) -> bytes:
        length = len(self.to_record())
        place, offsets = at + length, b""
        for number, count in self.counts.items():
            offsets += struct.pack("<HQ", number, place)
            place += 15 + 16 * count
        fields = struct.pack("<QQQQ", self.begin_ns, self.end_ns, at, length)
        fields += struct.pack("<I", len(offsets)) + offsets
        fields += struct.pack("<Q", len(self.to_indexes())) + text(self.compression)
        return record(0x08, fields + struct.pack("<QQ", len(self.content), self.claimed))


def write_mcap(
    path: Path,
    parts: list[bytes | Chunk],
    *,
    repeated: bytes = b"",
    chunk_index: int = 1,
    statistics: dict[int, int] | None = None,
    has_summary: bool = True,
) -> Path:
    """Write header, parts and summary: `repeated` records, each chunk's index so many times."""
    body = bytearray(MAGIC + record(0x01, text("ros2") + text("made")))
    indexes = b""
    for part in parts:
        if isinstance(part, Chunk):
            indexes += part.to_chunk_index(len(body)) * chunk_index
            body += part.to_record() + part.to_indexes()
        else:
            body += part
    body += record(0x0F, bytes(4))
    at = len(body)
    if has_summary:
        body += repeated + indexes
        if statistics is not None:
            counts = b"".join(struct.pack("<HQ", *item) for item in statistics.items())
            total = sum(statistics.values())
            head = struct.pack("<QHIIIIQQ", total, 1, len(statistics), 0, 0, 1, 0, 1 << 60)
            body += record(0x0B, head + struct.pack("<I", len(counts)) + counts)
    start = at if has_summary and len(body) > at else 0
    body += record(0x02, struct.pack("<QQI", start, 0, 0)) + MAGIC
    path.write_bytes(body)
    return path
