"""Are all runtimes one function? One model in all of them: `dualtalker engine compare`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.engine.parity import Difference, measure_difference, run_stream
from dualtalker.engine.signals import read_speech
from dualtalker.errors import BackendError, DualtalkerError
from dualtalker.model import Bundle, load_bundle, mix_style
from dualtalker.model.backends import open_backend

# Accepted differences of the lip gap on the default head, mm.
LIMITS_MM = {"fp32": 0.05, "fp16": 0.2, "int8": 0.2}


@dataclass
class Comparison:
    """One runtime beside the reference."""

    name: str
    precision: str
    difference: Difference | None
    reason: str = ""  # why it did not run

    @property
    def passed(self) -> bool:
        """Whether the lip gap stays within the limit of this precision."""
        if self.difference is None:
            return False
        return self.difference.lip_gap_max_mm <= LIMITS_MM[self.precision]


@dataclass(frozen=True)
class Reference:
    """What else may run a bundle's model, for the others to be compared with."""

    name: str
    run: Callable[[Bundle, np.ndarray, np.ndarray | None], np.ndarray]
    """Takes a bundle, audio `[samples]` and weights `[1, styles]` or None, the bundle's default;
    returns motion `[frames, 52]`."""


def compare(
    bundle_paths: Sequence[Path] = (),
    audio: Path | None = None,
    seconds: float = 60.0,
    style: str = "",
    reference: Reference | None = None,
) -> tuple[str, list[Comparison]]:
    """Run everything; returns the reference's name and the comparisons.

    Args:
        bundle_paths: bundles of one model (.onnx), the fp32 one first; none: the shipped model.
        audio: speech to run, repeated or cut to `seconds`; None is a made signal.
        seconds: length of the run.
        style: a name or `NAME:WEIGHT,NAME:WEIGHT`; empty is the model's own.
        reference: what the others are compared with; None is the first bundle in onnxruntime.

    Raises:
        DualtalkerError: a bundle is bad, or nothing is left to compare.
    """
    bundles = [load_bundle(path) for path in bundle_paths or (None,)]
    sidecar = bundles[0].sidecar
    weights = mix_style(style, sidecar)
    speech = read_speech(audio, seconds, sidecar.sample_rate_hz)
    runs: list[tuple[str, str, Bundle, str]] = []
    for bundle in bundles:
        name = f"onnxruntime {bundle.onnx_path.name}"
        runs.append((name, bundle.sidecar.precision, bundle, "onnxruntime"))
    if sidecar.precision == "fp32":
        runs.append((f"tensorrt {bundles[0].onnx_path.name}", "", bundles[0], "tensorrt"))
    if reference is not None:
        reference_name, expected = reference.name, reference.run(bundles[0], speech, weights)
    else:
        reference_name, _, bundle, engine = runs.pop(0)
        expected = _run(bundle, engine, speech, weights)[0]
    results = []
    for name, precision, bundle, engine in runs:
        try:
            motion, described = _run(bundle, engine, speech, weights)
        except BackendError as error:
            results.append(Comparison(name, precision or "fp16", None, str(error)))
            continue
        precision = precision or ("fp16" if " fp16 " in described else "fp32")
        difference = measure_difference(expected, motion)
        results.append(Comparison(name, precision, difference))
    if not any(result.difference for result in results):
        reasons = "; ".join(result.reason for result in results)
        raise DualtalkerError(f"nothing to compare with {reference_name}: {reasons}")
    return reference_name, results


def _run(
    bundle: Bundle, engine: str, audio: np.ndarray, style: np.ndarray | None
) -> tuple[np.ndarray, str]:
    backend = open_backend(bundle, engine)
    try:
        return run_stream(backend, bundle.sidecar, audio, style), backend.name
    finally:
        backend.close()


def format_comparisons(reference: str, results: list[Comparison], channels: int) -> str:
    """Return the table that the command prints."""
    head = (
        f"{'against ' + reference:<44}{'max':>9}{'mean':>9}{'relative':>10}"
        f"{'first 1/6':>11}{'last 1/6':>10}{'lip gap mm':>12}{'limit':>7}"
    )
    lines = [head]
    for result in results:
        d = result.difference
        if d is None:
            lines.append(f"{result.name:<44}not run: {result.reason.splitlines()[0]}")
            continue
        verdict = "" if result.passed else "  TOO MUCH"
        lines.append(
            f"{result.name + ' ' + result.precision:<44}{d.largest:>9.1e}{d.mean:>9.1e}"
            f"{d.relative:>10.1e}{d.first_max:>11.1e}{d.last_max:>10.1e}"
            f"{d.lip_gap_max_mm:>12.5f}{LIMITS_MM[result.precision]:>7}{verdict}"
        )
        for channel in np.argsort(-d.channel_max)[:channels]:
            lines.append(
                f"    {ARKIT_NAMES[channel]:<40}{d.channel_max[channel]:>9.1e}"
                f"{'':>9}{d.channel_relative[channel]:>10.1e}"
            )
    return "\n".join(lines)


def collect_figures(reference: str, results: list[Comparison]) -> dict[str, Any]:
    """Return all figures as plain data."""
    rows = []
    for result in results:
        row: dict[str, Any] = {"name": result.name, "precision": result.precision}
        if result.difference is None:
            row["not_run"] = result.reason
        else:
            row |= result.difference.summary() | {"passed": result.passed}
            row["channel_max"] = dict(
                zip(ARKIT_NAMES, result.difference.channel_max.tolist(), strict=True)
            )
        rows.append(row)
    return {"reference": reference, "limits_mm": LIMITS_MM, "results": rows}
