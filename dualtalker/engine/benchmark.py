"""How fast is each engine here? Every bundle in every engine: `dualtalker engine benchmark`."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualtalker.engine.tegrastats import PowerMeter
from dualtalker.engine.timing import (
    Latency,
    measure_cold_start,
    time_hot,
    time_paced,
    time_streams,
)
from dualtalker.errors import BackendError
from dualtalker.model import Bundle, load_bundle
from dualtalker.model.backends import open_backend


@dataclass(frozen=True)
class Workload:
    """What every engine has to do."""

    steps: int = 500  # of the hot run
    paced_s: float = 10.0  # length of each paced run; 0 skips them
    rates_hz: tuple[float, ...] = (30.0, 60.0)  # ticks per second of the paced runs
    streams: tuple[int, ...] = (1, 4, 16)  # numbers of faces on one engine
    cold: bool = True  # also time a new process from start to first face


@dataclass
class Row:
    """One bundle in one engine."""

    bundle: str
    engine: str  # as the backend describes itself
    megabytes: float
    hot: Latency
    paced: dict[str, Latency] = field(default_factory=dict)  # by "30 Hz"
    real_time: dict[str, float] = field(default_factory=dict)  # audio s per s, by faces
    cold: dict[str, float] = field(default_factory=dict)
    gpu_memory_mb: float | None = None
    power: dict[str, Any] = field(default_factory=dict)


@dataclass
class Report:
    """All rows of one run, and what did not run."""

    machine: str
    rows: list[Row]
    missing: list[str]


def benchmark(
    bundle_paths: Sequence[Path] = (),
    engines: Sequence[str] = ("onnxruntime", "tensorrt"),
    workload: Workload | None = None,
) -> Report:
    """Measure bundles, or the shipped model, in all of `engines` that load.

    Raises:
        DualtalkerError: a bundle is bad, or nothing can run.
    """
    bundles = [load_bundle(path) for path in bundle_paths or (None,)]
    workload = workload or Workload()
    rows, missing = [], []
    for bundle in bundles:
        for engine in engines:
            try:
                rows.append(measure(bundle, engine, workload))
            except BackendError as error:
                missing.append(f"{bundle.onnx_path.name} in {engine}: {error}")
    if not rows:
        raise BackendError("nothing could run: " + "; ".join(missing))
    machine = f"{platform.node()} {platform.machine()}, {platform.platform()}"
    return Report(machine, rows, missing)


def measure(bundle: Bundle, engine: str, workload: Workload) -> Row:
    """Measure one bundle in one engine; raises BackendError where it cannot run."""
    backend = open_backend(bundle, engine)
    sidecar = bundle.sidecar
    try:
        row = Row(
            bundle.onnx_path.name,
            backend.name,
            bundle.onnx_path.stat().st_size / 1e6,
            time_hot(backend, sidecar, workload.steps),
        )
        with PowerMeter() as meter:
            for rate_hz in workload.rates_hz if workload.paced_s else ():
                paced = time_paced(backend, sidecar, rate_hz, workload.paced_s)
                row.paced[f"{rate_hz:g} Hz"] = paced
        row.power = meter.summary()
        for count in workload.streams:
            rounds = max(3, workload.steps // (4 * count))
            row.real_time[str(count)] = time_streams(backend, sidecar, count, rounds)
        device = getattr(backend, "device", None)
        if device is not None:
            with device.active():
                row.gpu_memory_mb = device.used_bytes() / 1e6
    finally:
        backend.close()
    if workload.cold:
        row.cold = measure_cold_start(bundle.onnx_path, engine)
    return row


def format_report(report: Report) -> str:
    """Return the tables that the command prints; ratios are to the first row."""
    first = report.rows[0]
    label = max(len(row.bundle) for row in report.rows) + 2
    lines = [f"on {report.machine}", ""]
    lines += [f"[{i}] {row.bundle} in {row.engine}" for i, row in enumerate(report.rows)]
    lines += ["", f"{'':4}{'ms a step':<{label}}{'p50':>8}{'p99':>8}{'max':>8}{'ratio p50':>11}"]
    kinds = [("hot", lambda row: row.hot)]
    for name in first.paced:
        kinds.append((f"paced {name}", lambda row, name=name: row.paced[name]))  # type: ignore[misc]
    for kind, pick in kinds:
        for i, row in enumerate(report.rows):
            t, ratio = pick(row), pick(row).p50_ms / pick(first).p50_ms
            times = f"{t.p50_ms:>8.3f}{t.p99_ms:>8.3f}{t.max_ms:>8.3f}"
            lines.append(f"[{i}] {kind:<{label}}{times}{ratio:>11.2f}")
    lines += ["", f"{'':4}{'faces on one engine':<{label}}{'x real time':>24}{'ratio':>11}"]
    for count in first.real_time:
        for i, row in enumerate(report.rows):
            speed, ratio = row.real_time[count], row.real_time[count] / first.real_time[count]
            lines.append(f"[{i}] {count:<{label}}{speed:>24.1f}{ratio:>11.2f}")
    for i, row in enumerate(report.rows):
        if row.cold:
            lines.append(
                f"[{i}] cold start {row.cold['cold_start_s']:.2f} s, peak memory "
                f"{row.cold['peak_memory_mb']:.0f} MB, file {row.megabytes:.2f} MB"
            )
        if row.gpu_memory_mb is not None:
            lines.append(f"[{i}] GPU memory in use by all processes {row.gpu_memory_mb:.0f} MB")
        for name, figures in row.power.items():
            lines.append(f"[{i}] {name}: mean {figures['mean']:.0f}, max {figures['max']:.0f}")
    lines += [f"not run: {reason.splitlines()[0]}" for reason in report.missing]
    return "\n".join(lines)


def draw_report(report: Report, path: Path) -> None:
    """Draw the latencies of all rows as bars, p50 filled and p99 as a line."""
    from matplotlib.figure import Figure

    kinds = ["hot", *(f"paced {name}" for name in report.rows[0].paced)]
    figure = Figure(figsize=(8, 1.2 + 0.45 * len(kinds) * len(report.rows)))
    axes = figure.subplots()
    labels: list[str] = []
    for kind in kinds:
        for i, row in enumerate(report.rows):
            time = row.hot if kind == "hot" else row.paced[kind.removeprefix("paced ")]
            place = -len(labels)
            axes.barh(place, time.p50_ms, color=f"C{i}")
            axes.plot([time.p50_ms, time.p99_ms], [place, place], color="black", marker="|")
            labels.append(f"{row.bundle}, {row.engine.split()[0]}, {kind}")
    axes.set_yticks([-i for i in range(len(labels))], labels)
    axes.set_xlabel("ms a step: bar to the median, line to the 99th percentile")
    axes.set_xlim(left=0)
    figure.savefig(path, dpi=120, bbox_inches="tight")
