"""Writes what a graph promises into the ONNX file itself, by its protobuf, without onnx.

A sidecar can be edited or mixed up; the shapes of a graph do not show its lookahead or the order
of its outputs. `metadata_props` is what ONNX has for it, and onnxruntime and Netron show it.
"""

from __future__ import annotations

from dualtalker.onnx_weights import read_varint

PREFIX = "dualtalker."
_METADATA_PROPS = 14  # of ModelProto; its entries are (1: key, 2: value)
_BYTES = 2  # wire type


def stamp_model(data: bytes, promises: dict[str, str]) -> bytes:
    """Return a serialized ModelProto with `promises` as metadata, keys with our prefix.

    Earlier stamps are replaced, other metadata stay.

    Raises:
        ValueError: the bytes are no protobuf message.
    """
    kept = [data[start:end] for start, end, ours in _split(data) if not ours]
    for key, value in sorted(promises.items()):
        entry = _field(1, (PREFIX + key).encode()) + _field(2, value.encode())
        kept.append(_field(_METADATA_PROPS, entry))
    return b"".join(kept)


def _split(data: bytes) -> list[tuple[int, int, bool]]:
    """Return the top-level fields: where each starts and ends, and whether it is our stamp."""
    fields = []
    at = size = 0
    end = len(data)
    while at < end:
        start = at
        tag, at = read_varint(data, at, end)
        wire = tag & 7
        if wire == 0:
            _, at = read_varint(data, at, end)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == _BYTES:
            size, at = read_varint(data, at, end)
            at += size
        else:
            raise ValueError(f"wire type {wire} at byte {start}")
        if at > end:
            raise ValueError(f"a field at byte {start} runs past the end")
        ours = wire == _BYTES and tag >> 3 == _METADATA_PROPS and _is_ours(data[at - size : at])
        fields.append((start, at, ours))
    return fields


def _is_ours(entry: bytes) -> bool:
    """Whether a metadata entry has our prefix; its key comes first, shorter than 128 bytes."""
    return entry[:1] == b"\x0a" and entry[2 : 2 + len(PREFIX)] == PREFIX.encode()


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
