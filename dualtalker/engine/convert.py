"""fp32 bundle -> fp16 bundle, checked before it is written: `dualtalker engine convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dualtalker.engine.half_precision import PrecisionError, convert_to_fp16
from dualtalker.engine.parity import Difference, measure_difference, run_stream
from dualtalker.engine.signals import read_speech
from dualtalker.engine.stamp import plan_bundle, read_graph, write_sidecar
from dualtalker.files import write_whole, written_together
from dualtalker.model import Bundle, load_bundle
from dualtalker.model.backends import open_backend


def convert(
    bundle_path: Path,
    out: Path,
    audio: Path | None = None,
    seconds: float = 20.0,
    tolerance_mm: float = 0.2,
) -> Difference:
    """Convert, compare and write; returns how far the result is from the original.

    Args:
        bundle_path: the fp32 bundle (.onnx).
        out: where to write the new graph; the sidecar goes beside it as .json.
        audio: speech to compare on, repeated or cut to `seconds`; None is a made signal.
        seconds: length of the comparison.
        tolerance_mm: largest difference of the lip gap on the default head that is accepted.

    Raises:
        PrecisionError: the difference is too large, or the bundle is not fp32; nothing is written.
        DualtalkerError: what lies at `out` is no bundle.
    """
    bundle = load_bundle(bundle_path)
    if bundle.sidecar.precision != "fp32":
        raise PrecisionError(
            f"{bundle.onnx_path} is {bundle.sidecar.precision}: convert the fp32 bundle"
        )
    with written_together(*plan_bundle(out)) as made:
        draft = made / out.name
        write_fp16(bundle, draft)
        speech = read_speech(audio, seconds, bundle.sidecar.sample_rate_hz)
        difference = _compare(bundle, load_bundle(draft), speech)
        if not difference.lip_gap_max_mm <= tolerance_mm:
            raise PrecisionError(
                f"fp16 moves the lips by up to {difference.lip_gap_max_mm:.3f} mm, accepted are "
                f"{tolerance_mm} mm (--tolerance-mm); nothing was written"
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


def _compare(original: Bundle, converted: Bundle, audio: np.ndarray) -> Difference:
    motions = []
    for bundle in (original, converted):
        backend = open_backend(bundle, "onnxruntime")
        motions.append(run_stream(backend, bundle.sidecar, audio))
        backend.close()
    return measure_difference(motions[0], motions[1])
