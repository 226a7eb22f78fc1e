"""Scans a serialized ONNX file by itself: where its weights lie, how many nodes it has, its stamp.

The scan reads the file's protobuf without onnx, which a robot need not have. What it cannot read
in full, as the specification writes it, it refuses: a reader that is more forgiving would see
another model than the one that was scanned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from dualtalker.model.sidecar import STAMP_PREFIX

# The shipped model has about 500 nodes and 9,000 fields; more is a mistake or an attack.
MAX_NODES = 100_000
MAX_FIELDS = 1_000_000

# Which fields of which message lead to tensors and nodes; numbers are those of onnx.proto.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 14: "entry", 20: "training", 25: "function"},
    "entry": {},
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
_EXTERNAL_DATA = 13  # of a tensor
_DATA_LOCATION = 14  # of a tensor; 0 is the file itself
_NAMES = {"function": (1, 10), "node": (4, 7)}  # fields of the operator and of its domain
_VARINT, _BYTES = 0, 2  # wire types
_LARGEST_TAG = (1 << 32) - 1
_LARGEST_MESSAGE = (1 << 31) - 1


Operator = tuple[bytes, bytes]  # its name and its domain


@dataclass
class Scan:
    """What a serialized ModelProto says of itself."""

    has_outside_weights: bool = False  # a tensor names another file, which no digest covers
    stamp: dict[str, str] = field(default_factory=dict)  # what it promises (`Sidecar.promises`)
    nodes: int = 0  # once every function stands where it is called


def scan_model(data: bytes) -> Scan:
    """Scan a serialized ModelProto.

    A tensor may name a file and an offset instead of holding its numbers; older versions of
    onnxruntime follow any path that is written there. Functions that call functions are written
    out by it when it loads, so that a small file may hold any number of nodes.

    Raises:
        ValueError: the bytes are no protobuf message of this shape, there are more than
            `MAX_NODES` nodes or `MAX_FIELDS` fields, or functions call each other in a circle.
    """
    scan = Scan()
    bodies: dict[Operator | None, Counter[Operator]] = {None: Counter()}  # None: all the graphs
    todo: list[tuple[str, int, int, Operator | None]] = [("model", 0, len(data), None)]
    fields = 0
    while todo:
        message, at, end, owner = todo.pop()
        found = list(_read_fields(data, at, end, MAX_FIELDS - fields))
        fields += len(found)
        if message == "function":
            owner = _read_operator(data, found, "function")
            if owner in bodies:
                raise ValueError(f"function {_tell(owner)} comes twice")
            bodies[owner] = Counter()
        elif message == "node":
            bodies[owner][_read_operator(data, found, "node")] += 1
        elif message == "entry":
            _add_stamp(scan.stamp, data, found)
        for number, wire, start, stop in found:
            if message == "tensor":
                is_outside = number == _DATA_LOCATION and (
                    wire != _VARINT or _read_varint(data, start, stop)[0] != 0
                )
                scan.has_outside_weights |= is_outside or number == _EXTERNAL_DATA
            inner = _FIELDS[message].get(number)
            if inner is not None:
                if wire != _BYTES:
                    raise ValueError(f"wire type {wire} where a message is expected, byte {start}")
                todo.append((inner, start, stop, owner))
    scan.nodes = _count_nodes(bodies)
    return scan


def _count_nodes(bodies: dict[Operator | None, Counter[Operator]]) -> int:
    """Count the nodes of the graphs with all functions written out."""
    counts: dict[Operator | None, int] = {}
    path: list[Operator | None] = [None]  # each calls the next
    while path:
        at = path[-1]
        unknown = next((call for call in bodies[at] if call in bodies and call not in counts), at)
        if unknown in path[:-1]:
            raise ValueError(f"function {_tell(unknown)} calls itself")
        if unknown != at:
            path.append(unknown)
            continue
        if at in bodies[at]:
            raise ValueError(f"function {_tell(at)} calls itself")
        counts[at] = sum(times * counts.get(call, 1) for call, times in bodies[at].items())
        if counts[at] > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES} nodes once its functions are written out")
        path.pop()
    return counts[None]


def _tell(operator: Operator | None) -> str:
    return "" if operator is None else repr(operator[0][:80].decode(errors="replace"))


Field = tuple[int, int, int, int]  # number, wire type, start and end of its value


def _read_operator(data: bytes, fields: list[Field], message: str) -> Operator:
    """Return a node's operator, or what a function defines; the last of two values counts."""
    values = {number: data[start:stop] for number, _, start, stop in fields}
    name, domain = (values.get(number, b"") for number in _NAMES[message])
    return name, b"" if domain == b"ai.onnx" else domain


def _add_stamp(stamp: dict[str, str], data: bytes, fields: list[Field]) -> None:
    """Add an entry (1: key, 2: value) of the metadata, where it is one of ours."""
    entry = {number: data[start:stop] for number, _, start, stop in fields}
    key, prefix = entry.get(1, b""), STAMP_PREFIX.encode()
    if key.startswith(prefix):
        name = key.removeprefix(prefix).decode()
        if name in stamp:
            raise ValueError(f"metadata {name!r} come twice")
        stamp[name] = entry.get(2, b"").decode()


def _read_fields(data: bytes, at: int, end: int, most: int) -> Iterator[Field]:
    """Yield number, wire type, start and end of the value of each field of a message."""
    while at < end:
        if most <= 0:
            raise ValueError(f"more than {MAX_FIELDS} fields")
        most -= 1
        tag_at = at
        tag, at = _read_varint(data, at, end)
        number, wire, start = tag >> 3, tag & 7, at
        # Readers cut a longer tag off, each in its own way.
        if tag > _LARGEST_TAG or at - tag_at > 5 or number == 0:
            raise ValueError(f"field number {number} at byte {tag_at}")
        if wire == _VARINT:
            _, at = _read_varint(data, at, end)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == _BYTES:
            size, start = _read_varint(data, at, end)
            if size > _LARGEST_MESSAGE or start - at > 5:
                raise ValueError(f"a field of {size} bytes at byte {at}")
            at = start + size
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at > end:
            raise ValueError(f"a field at byte {start} runs past its message")
        yield number, wire, start, at


def _read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a protobuf number of up to 64 bits and where it ends; raises where there is none."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            if value >> 64:
                break
            return value, at
    raise ValueError(f"broken number at byte {at}")
