"""The ONNX file of a bundle: opened in onnxruntime, compared with its sidecar, scanned by itself.

The scan reads the file's protobuf without onnx, which a robot need not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualtalker.errors import BackendError, BundleError
from dualtalker.model.sidecar import EXPORT_COMMAND, STAMP_PREFIX, Sidecar, mismatch

if TYPE_CHECKING:
    import onnxruntime


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU, with one thread: small networks lose with more.

    Raises:
        BackendError: onnxruntime is missing.
        BundleError: it cannot load the graph.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            f"onnxruntime cannot be imported ({error}); install it with: "
            "python -m pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except session_errors() as error:
        raise BundleError(
            f"{path}: onnxruntime {onnxruntime.__version__} cannot load this graph: {error}. "
            f"Write it anew with: {EXPORT_COMMAND}"
        ) from error


def session_errors() -> tuple[type[Exception], ...]:
    """All that onnxruntime raises for a bad graph: its classes share no public base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile")
    more = ("NotImplemented", "RuntimeException")
    kinds = [getattr(state, name) for name in names + more if hasattr(state, name)]
    return (*kinds, RuntimeError, ValueError, MemoryError)


# What a sidecar says of a graph's inputs or outputs: by name, the sidecar's field and the shape.
Tensors = dict[str, tuple[str, tuple[int, ...]]]


def list_tensors(sidecar: Sidecar, path: Path) -> tuple[Tensors, Tensors]:
    """Return the inputs and outputs, all float32, that a graph with this sidecar has.

    Raises:
        BundleError: a name is given twice; `path` is the sidecar's.
    """
    inputs: Tensors = {sidecar.audio_input: ("audio_input", (1, sidecar.input_samples))}
    motion_shape = (1, sidecar.graph_frames, len(sidecar.output_names))
    outputs: Tensors = {sidecar.motion_output: ("motion_output", motion_shape)}

    def add(tensors: Tensors, name: str, label: str, shape: tuple[int, ...]) -> None:
        if name in tensors:
            raise mismatch(path, label, name, "each name only once")
        tensors[name] = (label, shape)

    if sidecar.style_input:
        add(inputs, sidecar.style_input, "style_input", (1, len(sidecar.style_names)))
    for i, state in enumerate(sidecar.states):
        add(inputs, state.input, f"states[{i}].input", state.shape)
        add(outputs, state.output, f"states[{i}].output", state.shape)
    return inputs, outputs


def check_session(session: onnxruntime.InferenceSession, sidecar: Sidecar, path: Path) -> None:
    """Compare the sidecar's claims with the graph's own inputs and outputs.

    Raises:
        BundleError: which differs; `path` is the sidecar's.
    """
    inputs = {item.name: item for item in session.get_inputs()}
    outputs = {item.name: item for item in session.get_outputs()}
    wanted_in, wanted_out = list_tensors(sidecar, path)
    for wanted, found, side in ((wanted_in, inputs, "input"), (wanted_out, outputs, "output")):
        for name, (label, shape) in wanted.items():
            if name not in found:
                raise mismatch(path, label, name, f"a graph {side}: {sorted(found)}")
            _check_tensor(path, label, found[name], shape)
    extra = sorted(set(inputs) - set(wanted_in))
    if extra:
        raise mismatch(path, "states", f"no entry for the graph's inputs {extra}", "one")


def _check_tensor(path: Path, label: str, found: Any, shape: tuple[int, ...]) -> None:
    if found.type != "tensor(float)":
        raise mismatch(path, label, f"{found.name!r} is {found.type} in the graph", "float32")
    # A symbolic dimension (a string or None) fits any size; the first step settles it.
    fixed = [n if isinstance(n, int) and n > 0 else None for n in found.shape]
    fits = len(fixed) == len(shape) and all(
        n is None or n == wanted for n, wanted in zip(fixed, shape, strict=True)
    )
    if not fits:
        raise mismatch(
            path, label, f"{found.name!r} is {found.shape} in the graph", f"{list(shape)}"
        )


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
_EXTERNAL_DATA = 13  # of a tensor
_DATA_LOCATION = 14  # of a tensor; 0 is the file itself
_METADATA = 14  # of the model; its entries are (1: key, 2: value)
_VARINT, _BYTES = 0, 2  # wire types


def has_outside_weights(data: bytes) -> bool:
    """Whether any tensor of a serialized ModelProto lies in another file.

    A tensor may name a file and an offset instead of holding its numbers. Such a file is covered
    by no digest, and older versions of onnxruntime follow any path that is written there.

    Raises:
        ValueError: the bytes are no protobuf message of this shape.
    """
    todo = [("model", 0, len(data))]
    while todo:
        message, at, end = todo.pop()
        for number, wire, start, stop in _read_fields(data, at, end):
            if message == "tensor" and number == _EXTERNAL_DATA:
                return True
            is_location = (message, number, wire) == ("tensor", _DATA_LOCATION, _VARINT)
            if is_location and _read_varint(data, start, stop)[0]:
                return True
            inner = _FIELDS[message].get(number)
            if wire == _BYTES and inner is not None:
                todo.append((inner, start, stop))
    return False


def read_stamp(data: bytes) -> dict[str, str]:
    """Return what a serialized ModelProto was stamped with (`Sidecar.promises`).

    Raises:
        ValueError: the bytes are no protobuf message of this shape.
    """
    stamp, prefix = {}, STAMP_PREFIX.encode()
    for number, wire, start, stop in _read_fields(data, 0, len(data)):
        if number == _METADATA and wire == _BYTES:
            entry = {n: data[a:b] for n, _, a, b in _read_fields(data, start, stop)}
            key = entry.get(1, b"")
            if key.startswith(prefix):
                stamp[key.removeprefix(prefix).decode()] = entry.get(2, b"").decode()
    return stamp


def _read_fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, start and end of the value of each field of a message."""
    while at < end:
        tag, at = _read_varint(data, at, end)
        number, wire, start = tag >> 3, tag & 7, at
        if wire == _VARINT:
            _, at = _read_varint(data, at, end)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == _BYTES:
            size, start = _read_varint(data, at, end)
            at = start + size
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at > end:
            raise ValueError(f"a field at byte {start} runs past its message")
        yield number, wire, start, at


def _read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
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
