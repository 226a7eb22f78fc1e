"""The ONNX file of a bundle: opened in onnxruntime, compared with its sidecar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualtalker.errors import BackendError, BundleError
from dualtalker.model.sidecar import EXPORT_COMMAND, Sidecar, mismatch

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
    pairs = zip(found.shape, shape, strict=False)
    wrong = any(n != wanted for n, wanted in pairs if isinstance(n, int) and n > 0)
    if wrong or len(found.shape) != len(shape):
        raise mismatch(
            path, label, f"{found.name!r} is {found.shape} in the graph", f"{list(shape)}"
        )
