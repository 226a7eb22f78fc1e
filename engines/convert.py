"""fp32 bundle -> fp16 or int8: `python -m engines.convert NAME.onnx --precision int8 -o X.onnx`.

fp16 is for TensorRT (`engines.build_engine` does it by itself); int8 is for onnxruntime on a CPU.
The lip gap of the result is compared with the original's before the bundle is written.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from dualtalker.backends import open_backend
from dualtalker.backends.engine_files import write_whole
from dualtalker.bundle import Bundle, load_bundle, write_sidecar
from dualtalker.errors import DualtalkerError
from engines.half_precision import (
    PRODUCTS,
    PrecisionError,
    convert_to_fp16,
    find_log_ancestors,
)
from engines.parity import Difference, measure_difference, read_speech, run_stream

if TYPE_CHECKING:
    import onnx


@dataclass
class ConvertConfig:
    """Convert one bundle."""

    bundle: tyro.conf.Positional[Path]
    """The fp32 bundle (.onnx)."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where to write the new graph; the sidecar goes beside it as .json."""
    precision: Literal["fp16", "int8"] = "int8"
    """Precision of the weights."""
    audio: Path | None = None
    """Speech to compare on (default: a made signal)."""
    seconds: float = 20.0
    """Length of the comparison; the audio is repeated or cut to it."""
    tolerance_mm: float = 0.2
    """Largest difference of the lip gap on the default head that is accepted, mm."""


def convert(config: ConvertConfig) -> Difference:
    """Convert, compare and write; returns the difference from the original.

    Raises:
        PrecisionError: the difference is too large, or the bundle is not fp32; nothing is written.
    """
    bundle = load_bundle(config.bundle)
    if bundle.sidecar.precision != "fp32":
        raise PrecisionError(
            f"{bundle.onnx_path} is {bundle.sidecar.precision}: convert the fp32 bundle"
        )
    config.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=config.out.parent, prefix=".converting-") as folder:
        draft = write_converted(bundle, Path(folder) / config.out.name, config.precision)
        difference = _compare(bundle, load_bundle(draft), config)
        if not difference.lip_gap_max_mm <= config.tolerance_mm:
            raise PrecisionError(
                f"{config.precision} moves the lips by up to {difference.lip_gap_max_mm:.3f} mm, "
                f"accepted are {config.tolerance_mm} mm (--tolerance-mm); nothing was written"
            )
        for suffix in (".onnx", ".json"):
            os.replace(draft.with_suffix(suffix), config.out.with_suffix(suffix))
    return difference


def write_converted(bundle: Bundle, out: Path, precision: str) -> Path:
    """Write the bundle in another precision, unchecked, and return its path."""
    import onnx

    model = onnx.load(str(bundle.onnx_path))
    converted = convert_to_fp16(model) if precision == "fp16" else convert_to_int8(model)
    write_whole(out, converted.SerializeToString())
    fields: dict[str, Any] = dataclasses.asdict(bundle.sidecar)
    states = [dict(state) for state in fields.pop("states")]
    for name in ("onnx_sha256", "format", "format_version"):
        del fields[name]
    write_sidecar(out, states, **(fields | {"precision": precision}))
    return out


def convert_to_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose matrix products have int8 weights, for onnxruntime on a CPU.

    Activations are quantized as they come (dynamic), so that no calibration data are needed. The
    spectrum and the first and last products stay in fp32: they are small, and half of the error
    came from them. Weights are unsigned: signed ones saturate on x86 without VNNI.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    spectrum = find_log_ancestors(model.graph)
    kept = spectrum | find_end_products(model.graph, spectrum)
    excluded = [node.name for i, node in enumerate(model.graph.node) if i in kept and node.name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QUInt8,
            nodes_to_exclude=excluded,
            extra_options={"MatMulConstBOnly": True},
        )
        return onnx.load(str(path))


def find_end_products(graph: onnx.GraphProto, spectrum: set[int]) -> set[int]:
    """Return the indices of the first and last products, those in `spectrum` aside."""
    products = [
        i for i, node in enumerate(graph.node) if node.op_type in PRODUCTS and i not in spectrum
    ]
    ends = set()
    after: set[str] = set()  # values that some product leads to
    for i, node in enumerate(graph.node):
        preceded = bool(after.intersection(node.input))
        if i in products and not preceded:
            ends.add(i)
        if i in products or preceded:
            after.update(node.output)
    before: set[str] = set()  # values that lead to some product
    for i in reversed(range(len(graph.node))):
        node = graph.node[i]
        followed = bool(before.intersection(node.output))
        if i in products and not followed:
            ends.add(i)
        if i in products or followed:
            before.update(node.input)
    return ends


def _compare(original: Bundle, converted: Bundle, config: ConvertConfig) -> Difference:
    audio = read_speech(config.audio, config.seconds, original.sidecar.sample_rate_hz)
    motions = []
    for bundle in (original, converted):
        backend = open_backend(bundle, "onnxruntime")
        motions.append(run_stream(backend, bundle.sidecar, audio))
        backend.close()
    return measure_difference(motions[0], motions[1], original.sidecar.model_rate_hz)


def main() -> None:
    """Parse the command line and convert."""
    config = tyro.cli(ConvertConfig, description=__doc__)
    try:
        difference = convert(config)
    except DualtalkerError as error:
        sys.exit(f"engines.convert: {error}")
    sizes = [path.stat().st_size / 1e6 for path in (config.bundle, config.out)]
    print(
        f"{config.out}: {sizes[1]:.2f} MB (from {sizes[0]:.2f} MB), lip gap differs by at most "
        f"{difference.lip_gap_max_mm:.4f} mm, weights by {difference.largest:.1e}"
    )


if __name__ == "__main__":
    main()
