"""Model bundles: `NAME.onnx` with its `NAME.json` sidecar, checked. Runs no model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualtalker.errors import BundleError
from dualtalker.files import sha256_of_file
from dualtalker.onnx_weights import has_outside_weights
from dualtalker.sidecar import EXPORT_COMMAND, STAMP_PREFIX, Sidecar, mismatch, read_sidecar

DEFAULT_MODEL = Path(__file__).parent / "models" / "default.onnx"


@dataclass(frozen=True)
class Bundle:
    """A checked model: the ONNX file, what it says about itself, and its digest."""

    onnx_path: Path
    sidecar: Sidecar
    digest: str  # SHA-256 of the ONNX file


def load_bundle(path: str | Path | None = None) -> Bundle:
    """Load and check a bundle from the path of its `.onnx` or `.json` file.

    None means the model shipped with the package. The sidecar's types and values, the file's
    digest and the graph's real inputs and outputs are all checked.

    Raises:
        BundleError: says which field is wrong, what was found, what was expected.
    """
    if path is None and not DEFAULT_MODEL.is_file():
        raise BundleError(
            f"this installation has no default model: expected {DEFAULT_MODEL}. Give one with "
            f"--model NAME.onnx, or make it: {EXPORT_COMMAND}"
        )
    given = DEFAULT_MODEL if path is None else Path(path)
    if given.suffix not in (".onnx", ".json"):
        raise BundleError(
            f"{str(path)!r} is no model bundle; expected NAME.onnx with NAME.json beside it. A "
            "TensorRT engine is found by itself: give the bundle that it was built from"
        )
    onnx_path, sidecar_path = given.with_suffix(".onnx"), given.with_suffix(".json")
    for needed in (onnx_path, sidecar_path):
        if not needed.is_file():
            raise BundleError(
                f"{needed}: no such file. A bundle is NAME.onnx with NAME.json beside it; make "
                f"both with: {EXPORT_COMMAND}"
            )
    sidecar = read_sidecar(sidecar_path)
    digest = sha256_of_file(onnx_path)
    if digest != sidecar.onnx_sha256:
        raise mismatch(sidecar_path, "onnx_sha256", sidecar.onnx_sha256, f"{digest} (the file's)")
    _check_weights(onnx_path)
    _check_graph(onnx_path, sidecar_path, sidecar)
    return Bundle(onnx_path, sidecar, digest)


def _check_weights(onnx_path: Path) -> None:
    try:
        outside = has_outside_weights(onnx_path.read_bytes())
    except ValueError as error:
        raise BundleError(
            f"{onnx_path}: not an ONNX file ({error}). Write it anew with: {EXPORT_COMMAND}"
        ) from error
    if outside:
        raise BundleError(
            f"{onnx_path}: keeps weights in another file, which the digest does not cover; "
            f"expected one file. Write it anew with: {EXPORT_COMMAND}"
        )


def _check_graph(onnx_path: Path, sidecar_path: Path, sidecar: Sidecar) -> None:
    """Compare the sidecar's claims with the graph's own inputs and outputs."""
    from dualtalker.backends.onnxruntime import open_session

    session = open_session(onnx_path)
    inputs = {item.name: item for item in session.get_inputs()}
    outputs = {item.name: item for item in session.get_outputs()}
    wanted_in: dict[str, tuple[str, tuple[int, ...]]] = {}
    wanted_out: dict[str, tuple[str, tuple[int, ...]]] = {}
    wanted_in[sidecar.audio_input] = ("audio_input", (1, sidecar.input_samples))
    motion_shape = (1, sidecar.graph_frames, len(sidecar.output_names))
    wanted_out[sidecar.motion_output] = ("motion_output", motion_shape)
    if sidecar.style_input:
        if sidecar.style_input in wanted_in:
            name = sidecar.style_input
            raise mismatch(sidecar_path, "style_input", name, "each name only once")
        styles = (1, len(sidecar.style_names))
        wanted_in[sidecar.style_input] = ("style_input", styles)
    for i, state in enumerate(sidecar.states):
        for names, name, side in (
            (wanted_in, state.input, "input"),
            (wanted_out, state.output, "output"),
        ):
            if name in names:
                raise mismatch(sidecar_path, f"states[{i}].{side}", name, "each name only once")
            names[name] = (f"states[{i}].{side}", state.shape)
    for wanted, found, side in ((wanted_in, inputs, "input"), (wanted_out, outputs, "output")):
        for name, (label, shape) in wanted.items():
            if name not in found:
                raise mismatch(sidecar_path, label, name, f"a graph {side}: {sorted(found)}")
            _check_tensor(sidecar_path, label, found[name], shape)
    extra = sorted(set(inputs) - set(wanted_in))
    if extra:
        raise mismatch(sidecar_path, "states", f"no entry for the graph's inputs {extra}", "one")
    _check_promises(sidecar_path, sidecar, session.get_modelmeta().custom_metadata_map)


def _check_promises(path: Path, sidecar: Sidecar, stamped: dict[str, str]) -> None:
    """Compare the sidecar with what was stamped into the graph when both were written."""
    for name, promised in sidecar.promises.items():
        found = stamped.get(STAMP_PREFIX + name)
        if found is None:
            raise mismatch(path, name, promised, "the same in the ONNX metadata, which lack it")
        if found != promised:
            raise mismatch(path, name, promised, f"{found}, which the ONNX file was written with")


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
