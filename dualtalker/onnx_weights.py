"""Finds weights that an ONNX file keeps outside itself, by reading the protobuf without onnx.

An ONNX tensor may name a file and an offset instead of holding its numbers. Such a file is covered
by no digest, and older versions of onnxruntime follow any path that is written there.
"""

from __future__ import annotations

# Which fields of which message lead to tensors; numbers are those of onnx.proto.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse",
        23: "sparse",
    },
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA = 13
_DATA_LOCATION = 14


def has_outside_weights(data: bytes) -> bool:
    """Whether any tensor of a serialized ModelProto lies in another file.

    Raises:
        ValueError: the bytes are no protobuf message of this shape.
    """
    todo = [("model", 0, len(data))]
    while todo:
        message, at, end = todo.pop()
        while at < end:
            tag, at = read_varint(data, at, end)
            number, wire = tag >> 3, tag & 7
            if wire == 0:
                value, at = read_varint(data, at, end)
                if message == "tensor" and number == _DATA_LOCATION and value:
                    return True
                continue
            size = {1: 8, 5: 4}.get(wire)
            if size is None:
                if wire != 2:
                    raise ValueError(f"wire type {wire} at byte {at}")
                size, at = read_varint(data, at, end)
            if size > end - at:
                raise ValueError(f"field of {size} bytes at byte {at} runs past its message")
            if message == "tensor" and number == _EXTERNAL_DATA:
                return True
            inner = _FIELDS[message].get(number)
            if wire == 2 and inner is not None:
                todo.append((inner, at, at + size))
            at += size
    return False


def read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a protobuf number and where it ends; raises ValueError where it does not."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise ValueError(f"broken number at byte {at}")
