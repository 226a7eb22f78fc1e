"""Accuracy against latency and cost: small networks that differ in lookahead and width alone.

    python -m training.studies.tradeoff --corpus corpus_real corpus_taught --out runs/tradeoff

Trains one single-task network for each lookahead and width (finished ones are kept), measures it
on held-out clips and times one exported step of each in one run, round after round. Writes
`tradeoff.md` and `tradeoff.svg` into the folder. The networks are those of `training.ablate`, so
the curves' shape counts, not their height.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from dualtalker.drawing import new_figure, to_svg
from dualtalker.errors import DualtalkerError
from dualtalker.files import claim_folder, ending_in_order, write_output, write_whole

SAMPLES_PER_MS = 16
_FIGURES = {"jaw r": "jaw opening r", "rounding r": "lip rounding r"}


@dataclass
class TradeoffConfig:
    """Train, measure and time networks of several lookaheads and widths."""

    corpus: tuple[Path, ...]
    """Folders of clips."""
    out: Path = Path("runs/tradeoff")
    """Folder to fill."""
    lookahead_ms: tuple[int, ...] = (20, 60, 100, 160, 300)
    """Multiples of 20 ms; each is trained at the first width."""
    channels: tuple[int, ...] = (96, 48, 192)
    """Widths; all but the first are trained at the middle lookahead."""
    steps: int = 400
    """Training steps of each."""
    captured_share: float = 0.7
    """Share of a batch drawn from captured motion."""
    seed: int = 0
    """Seed of everything."""


@dataclass
class _Point:
    """One finished network: its checkpoint, beside which this lies, and its figures."""

    checkpoint: str
    figures: dict[str, float]


def plan_points(config: TradeoffConfig) -> list[tuple[int, int]]:
    """Return (lookahead ms, channels) of every network."""
    ahead = sorted(set(config.lookahead_ms))
    middle = ahead[len(ahead) // 2]
    points = [(ms, config.channels[0]) for ms in ahead]
    return points + [(middle, width) for width in sorted(config.channels[1:])]


def train_point(plan: TradeoffConfig, lookahead_ms: int, channels: int) -> dict[str, Any]:
    """Train and measure one network; read it back where it is finished."""
    from training.data import read_earlier
    from training.learning import train
    from training.studies.ablation import choose_terms, measure_checkpoint, small_run

    folder = plan.out / f"{lookahead_ms}ms-{channels}"
    done = folder / "figures.json"
    run = small_run()
    config = replace(
        run,
        out=folder,
        steps=plan.steps,
        seed=plan.seed,
        loss=choose_terms(run.loss, "single"),
        network=replace(
            run.network, channels=channels, lookahead_samples=lookahead_ms * SAMPLES_PER_MS
        ),
        data=replace(
            run.data,
            corpus=plan.corpus,
            captured_share=plan.captured_share,
            unpaired_share=0.0,
        ),
    )
    if not done.exists():
        claim_folder(folder)
        for step in folder.glob("step_*"):  # of a run that was killed
            step.unlink()
        checkpoint = train(config)
        figures = measure_checkpoint(checkpoint, config.data)
        row = {"checkpoint": checkpoint.name, "figures": figures}
        write_whole(done, json.dumps(row, indent=1) + "\n")
    point = read_earlier(
        done, _Point, DualtalkerError, f"delete {folder} to train this network again"
    )
    return {**asdict(point), "folder": folder, "lookahead_ms": lookahead_ms, "channels": channels}


def time_steps(rows: list[dict[str, Any]], rounds: int = 5) -> None:
    """Add the parameters and the median time of an exported step, ms, to each row.

    All are timed in turn, so that what else the machine does falls on all alike.
    """
    from dualtalker.engine import time_hot
    from dualtalker.model import load_bundle
    from dualtalker.model.backends import open_backend

    opened = []
    for row in rows:
        path = row["folder"] / "net.onnx"
        if not path.is_file():
            export = [sys.executable, "-m", "engines.export_onnx", "--steps", "100"]
            export += [str(row["folder"] / row["checkpoint"]), "--out", str(path)]
            subprocess.run(export, check=True)
        bundle = load_bundle(path)
        row["size_mb"] = path.stat().st_size / 1e6
        opened.append((row, open_backend(bundle, "onnxruntime"), bundle.sidecar))
    times: dict[int, list[float]] = {}
    for _ in range(rounds):
        for number, (_, backend, sidecar) in enumerate(opened):
            times.setdefault(number, []).append(time_hot(backend, sidecar, 300).p50_ms)
    for number, (row, backend, _) in enumerate(opened):
        row["step_ms"] = float(np.median(times[number]))
        backend.close()


def write_table(config: TradeoffConfig, rows: list[dict[str, Any]]) -> Path:
    """Write the table and the plot; returns the table's path."""
    first = rows[0]["step_ms"]
    lines = [
        "| lookahead | channels | jaw opening r | lip rounding r | LVE (mm) | size | step |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        f = row["figures"]
        lines.append(
            f"| {row['lookahead_ms']} ms | {row['channels']} | {f['jaw r']:.3f} "
            f"| {f['rounding r']:.3f} | {f['LVE mm']:.2f} | {row['size_mb']:.2f} MB "
            f"| {row['step_ms'] / first:.2f} |"
        )
    lines.append("")
    lines.append("The step's time is relative to the first row, all timed in turn in one run.")
    path = config.out / "tradeoff.md"
    write_output(path, "\n".join(lines) + "\n")
    draw(config.out / "tradeoff.svg", rows, config.channels[0])
    return path


def draw(path: Path, rows: list[dict[str, Any]], width: int) -> None:
    """Draw accuracy over lookahead, and over the time of a step."""
    figure = new_figure((8.0, 3.4))
    left, right = figure.subplots(1, 2)
    ahead = [row for row in rows if row["channels"] == width]
    middle = [row for row in rows if row["channels"] != width]
    middle += [row for row in ahead if middle and row["lookahead_ms"] == middle[0]["lookahead_ms"]]
    middle.sort(key=lambda row: row["step_ms"])
    for key, label in _FIGURES.items():
        left.plot(
            [row["lookahead_ms"] for row in ahead],
            [row["figures"][key] for row in ahead],
            "o-",
            label=label,
        )
        right.plot(
            [row["step_ms"] for row in middle],
            [row["figures"][key] for row in middle],
            "o-",
            label=label,
        )
    for row in middle:
        right.annotate(f"{row['channels']}", (row["step_ms"], row["figures"]["jaw r"]))
    left.set_xlabel("lookahead of the network (ms)")
    right.set_xlabel("time of one step, hot (ms); numbers: channels")
    for axis in (left, right):
        axis.grid(alpha=0.25)
        axis.legend(fontsize=8)
    write_output(path, to_svg(figure))


@ending_in_order()
def main() -> int:
    """Train, measure, time, write."""
    config = tyro.cli(TradeoffConfig, description=__doc__)
    wrong = [ms for ms in config.lookahead_ms if ms <= 0 or ms % 20]
    if wrong:
        print(f"--lookahead-ms has {wrong}; expected multiples of 20 above 0", file=sys.stderr)
        return 2
    rows = []
    try:
        for lookahead_ms, channels in plan_points(config):
            print(f"{lookahead_ms} ms, {channels} channels", flush=True)
            rows.append(train_point(config, lookahead_ms, channels))
        time_steps(rows)
        print(write_table(config, rows).read_text(encoding="utf-8"))
    except DualtalkerError as error:
        sys.exit(f"training.studies.tradeoff: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
