"""fp32 bundle -> fp16 or int8: `python -m engines.convert NAME.onnx --precision int8 -o X.onnx`.

fp16 is for TensorRT (`engines.build_engine` does it by itself); int8 is for onnxruntime on a CPU.
For int8 give real speech, the kind that the robot will hear: the weights are rounded for it, and
the products that would move the lips too far on it stay in fp32:

    python -m engines.convert NAME.onnx -o NAME-int8.onnx --calibrate A.wav B.wav --audio C.wav

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
from engines.half_precision import PrecisionError, convert_to_fp16
from engines.parity import Difference, measure_difference, read_speech, run_stream

if TYPE_CHECKING:
    import onnx


SEARCHES = 4  # for int8, each with less of the tolerance
CARE = 0.75


@dataclass
class ConvertConfig:
    """Convert one bundle."""

    bundle: tyro.conf.Positional[Path]
    """The fp32 bundle (.onnx)."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where to write the new graph; the sidecar goes beside it as .json."""
    precision: Literal["fp16", "int8"] = "int8"
    """Precision of the weights."""
    calibrate: tuple[Path, ...] = ()
    """int8: recordings of speech, several speakers if possible, to round the weights for and to
    choose the products on (default: a made signal, which is worse)."""
    calibrate_s: float = 8.0
    """How much of each of them is used, seconds."""
    audio: Path | None = None
    """Speech to compare on, better none of those (default: a made signal)."""
    seconds: float = 20.0
    """Length of the comparison; the audio is repeated or cut to it."""
    tolerance_mm: float = 0.2
    """Largest difference of the lip gap on the default head that is accepted, mm."""


@dataclass(frozen=True)
class Converted:
    """What a conversion made."""

    difference: Difference  # from the original
    products: str = ""  # int8: how many products are what


def convert(config: ConvertConfig) -> Converted:
    """Convert, compare and write; says how far the result is from the original.

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
        draft = Path(folder) / config.out.name
        converted = _write_draft(bundle, draft, config)
        difference = converted.difference
        if not difference.lip_gap_max_mm <= config.tolerance_mm:
            raise PrecisionError(
                f"{config.precision} moves the lips by up to {difference.lip_gap_max_mm:.3f} mm, "
                f"accepted are {config.tolerance_mm} mm (--tolerance-mm); nothing was written"
            )
        for suffix in (".onnx", ".json"):
            os.replace(draft.with_suffix(suffix), config.out.with_suffix(suffix))
    return converted


def _write_draft(bundle: Bundle, draft: Path, config: ConvertConfig) -> Converted:
    """Write the bundle, in int8 more and more carefully until it fits, and compare it."""
    if config.precision == "fp16":
        write_fp16(bundle, draft)
        return Converted(_compare(bundle, load_bundle(draft), config))
    for attempt in range(SEARCHES):
        # The speech that decides is not that of the search, so it may find a larger error.
        search_mm = config.tolerance_mm * CARE**attempt
        products = write_searched_int8(bundle, draft, config, search_mm)
        converted = Converted(_compare(bundle, load_bundle(draft), config), products)
        if converted.difference.lip_gap_max_mm <= config.tolerance_mm:
            break
    return converted


def write_fp16(bundle: Bundle, out: Path) -> Path:
    """Write the bundle in fp16, unchecked, and return its path."""
    import onnx

    return write_changed(
        bundle, convert_to_fp16(onnx.load(str(bundle.onnx_path))), out, precision="fp16"
    )


def write_searched_int8(
    bundle: Bundle, out: Path, config: ConvertConfig, tolerance_mm: float
) -> str:
    """Write the bundle with as much int8 as the tolerance allows; say how much that is."""
    import onnx

    from engines.int8_search import search_int8

    rate_hz = bundle.sidecar.sample_rate_hz
    speech = [
        read_speech(path, config.calibrate_s, rate_hz) for path in config.calibrate or (None,)
    ]
    model, choice = search_int8(
        onnx.load(str(bundle.onnx_path)),
        bundle,
        speech,
        tolerance_mm,
        lambda model, path: write_changed(bundle, model, path, precision="int8"),
    )
    write_changed(bundle, model, out, precision="int8")
    return (
        f"{len(choice.computed)} products computed in int8, {len(choice.stored)} stored in int8, "
        f"{len(choice.kept)} and the spectrum in fp32"
    )


def write_changed(bundle: Bundle, model: onnx.ModelProto, out: Path, **changes: Any) -> Path:
    """Write another graph with the bundle's sidecar, some of whose fields change."""
    write_whole(out, model.SerializeToString())
    fields: dict[str, Any] = dataclasses.asdict(bundle.sidecar)
    states = [dict(state) for state in fields.pop("states")]
    for name in ("onnx_sha256", "format", "format_version"):
        del fields[name]
    write_sidecar(out, states, **(fields | changes))
    return out


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
        converted = convert(config)
    except DualtalkerError as error:
        sys.exit(f"engines.convert: {error}")
    sizes = [path.stat().st_size / 1e6 for path in (config.bundle, config.out)]
    print(
        f"{config.out}: {sizes[1]:.2f} MB (from {sizes[0]:.2f} MB), lip gap differs by at most "
        f"{converted.difference.lip_gap_max_mm:.4f} mm, weights by "
        f"{converted.difference.largest:.1e}"
    )
    if converted.products:
        print(converted.products)


if __name__ == "__main__":
    main()
