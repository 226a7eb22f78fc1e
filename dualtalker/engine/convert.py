"""fp32 bundle -> fp16 bundle, checked before it is written: `dualtalker engine convert`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import tyro

from dualtalker.engine.half_precision import PrecisionError, convert_to_fp16
from dualtalker.engine.parity import Difference, measure_difference, run_stream
from dualtalker.engine.signals import read_speech
from dualtalker.engine.stamp import read_graph, write_sidecar
from dualtalker.files import write_whole, written_together
from dualtalker.model import Bundle, load_bundle
from dualtalker.model.backends import open_backend


@dataclass
class ConvertConfig:
    """Convert one bundle."""

    bundle: tyro.conf.Positional[Path]
    """The fp32 bundle (.onnx)."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where to write the new graph; the sidecar goes beside it as .json."""
    precision: Literal["fp16"] = "fp16"
    """Precision of the weights."""
    audio: Path | None = None
    """Speech to compare on (default: a made signal)."""
    seconds: float = 20.0
    """Length of the comparison; the audio is repeated or cut to it."""
    tolerance_mm: float = 0.2
    """Largest difference of the lip gap on the default head that is accepted, mm."""


def convert(config: ConvertConfig) -> Difference:
    """Convert, compare and write; returns how far the result is from the original.

    Raises:
        PrecisionError: the difference is too large, or the bundle is not fp32; nothing is written.
    """
    bundle = load_bundle(config.bundle)
    if bundle.sidecar.precision != "fp32":
        raise PrecisionError(
            f"{bundle.onnx_path} is {bundle.sidecar.precision}: convert the fp32 bundle"
        )
    files = (config.out.with_suffix(suffix) for suffix in (".onnx", ".json"))
    with written_together(*files) as made:
        draft = made / config.out.name
        write_fp16(bundle, draft)
        difference = _compare(bundle, load_bundle(draft), config)
        if not difference.lip_gap_max_mm <= config.tolerance_mm:
            raise PrecisionError(
                f"{config.precision} moves the lips by up to {difference.lip_gap_max_mm:.3f} mm, "
                f"accepted are {config.tolerance_mm} mm (--tolerance-mm); nothing was written"
            )
    return difference


def write_fp16(bundle: Bundle, out: Path) -> Path:
    """Write the bundle in fp16, unchecked, and return its path."""
    model = convert_to_fp16(read_graph(bundle.onnx_path))
    write_whole(out, model.SerializeToString())
    fields: dict[str, Any] = msgspec.to_builtins(bundle.sidecar)
    states = [dict(state) for state in fields.pop("states")]
    for name in ("onnx_sha256", "format", "format_version"):
        del fields[name]
    write_sidecar(out, states, **(fields | {"precision": "fp16"}))
    return out


def _compare(original: Bundle, converted: Bundle, config: ConvertConfig) -> Difference:
    audio = read_speech(config.audio, config.seconds, original.sidecar.sample_rate_hz)
    motions = []
    for bundle in (original, converted):
        backend = open_backend(bundle, "onnxruntime")
        motions.append(run_stream(backend, bundle.sidecar, audio))
        backend.close()
    return measure_difference(motions[0], motions[1])
