"""The claim, measured: each term of the method, with all, 30 % and 10 % of the paired data.

    python -m training.ablate --corpus corpus_real --name captured --out runs/ablation
    python -m training.ablate --corpus corpus_synth --name generated --jobs 4 --train.steps 2000

Trains one network for every variant, fraction and seed, measures it on held-out clips and writes
a table and a plot. Each finished cell is a JSON file; running the same command again continues
where it stopped. Variants with equal fraction and seed see the same data in the same order.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from pathlib import Path
from typing import Any

import tyro

from dualtalker.errors import DualtalkerError
from dualtalker.files import claim_folder, ending_in_order, sha256, write_whole
from training.configs import DataConfig, TrainConfig, to_plain
from training.data import digest_of, iterate_clips, read_earlier, reduce_corpus
from training.learning import CURVE_NAME, read_curve, train
from training.studies import (
    BASE_VARIANT,
    VARIANTS,
    AblationError,
    Cell,
    choose_terms,
    measure_checkpoint,
    small_run,
    write_results,
)


@dataclass
class AblateConfig:
    """Run the grid of variants x fractions x seeds."""

    corpus: tuple[Path, ...] = (Path("corpus"),)
    """Folders written by `python -m training.corpus`, with held-out clips."""
    name: str = "captured"
    """Name of this grid: its section in the results and its plot."""
    out: Path = Path("runs/ablation")
    """Folder for finished cells, reduced corpora and running trainings."""
    variants: tuple[str, ...] = tuple(VARIANTS)
    """Which variants, of: single, dual, predicted, consistency, duality, all."""
    fractions: tuple[float, ...] = (1.0, 0.3, 0.1)
    """Fractions of the paired training data, by duration."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of data, network and batches."""
    leftover_unpaired: bool = False
    """Keep the sound of the paired data that is left out, as unpaired recordings."""
    jobs: int = 1
    """Cells trained at once, each in a process of its own."""
    keep_runs: bool = False
    """Keep the checkpoints of finished cells."""
    results: Path | None = Path("docs/log/grids.md")
    """Markdown file whose section of this name is written anew."""
    train: TrainConfig = field(default_factory=small_run)
    """The training of one cell; its terms, data, seed and folder are set by the grid."""


@dataclass(frozen=True)
class Job:
    """One cell to compute."""

    variant: str
    fraction: float
    seed: int
    config: TrainConfig
    digest: str
    """Of everything that decides the result: the same digest, the same cell."""
    path: Path
    keep_run: bool


def plan_cell(config: AblateConfig, variant: str, fraction: float, seed: int) -> Job:
    """Return the job of one cell. Its corpus must have been written."""
    stem = f"{variant}-{fraction:g}-{seed}"
    corpus = _corpus_of(config, fraction, seed)
    loss = choose_terms(config.train.loss, variant)
    # Only reading predicted motion learns from unpaired sound; without it, the room in the
    # batch goes to paired data, so that single-task is as strong as it can be.
    unpaired_share = config.train.data.unpaired_share if loss.lipread_predicted else 0.0
    data = replace(
        config.train.data, corpus=(corpus,), paired_fraction=1.0, unpaired_share=unpaired_share
    )
    out = config.out / "runs" / config.name / stem
    train_config = replace(config.train, out=out, loss=loss, data=data, seed=seed)
    plain = to_plain(train_config)
    for name in ("out", "resume", "threads", "loader_workers", "save_every"):
        plain.pop(name)
    plain["data"].pop("corpus")
    content = json.dumps([variant, fraction, seed, plain, digest_of(corpus)], sort_keys=True)
    return Job(
        variant,
        fraction,
        seed,
        train_config,
        sha256(content),
        config.out / "cells" / config.name / f"{stem}.json",
        config.keep_runs,
    )


def _corpus_of(config: AblateConfig, fraction: float, seed: int) -> Path:
    """The folder of the reduced corpus; all seeds share the whole one."""
    rest = "-unpaired" if config.leftover_unpaired else ""
    stem = "whole" if fraction == 1.0 else f"{fraction:g}-{seed}{rest}"
    return config.out / "corpora" / config.name / stem


def read_cell(path: Path) -> Cell | None:
    """Read a finished cell; None where it is not there. Raises `AblationError`: it is damaged."""
    if not path.exists():
        return None
    return read_earlier(path, Cell, AblationError, "delete it to make the cell again")


def run_cell(job: Job) -> Cell:
    """Train and measure one cell, write its JSON and return it; output goes to `log.txt`."""
    out = job.config.out
    started = _begin_run(out, job.digest)
    began = time.perf_counter()
    with (
        (out / "log.txt").open("a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        checkpoint = train(replace(job.config, resume=started))
        seconds = time.perf_counter() - began
        figures = measure_checkpoint(checkpoint, job.config.data)
    cell = Cell(
        variant=job.variant,
        fraction=job.fraction,
        seed=job.seed,
        digest=job.digest,
        figures=figures,
        paired_s=_paired_seconds(job.config.data),
        train_s=round(seconds, 1),
        curve=read_curve(out),
    )
    job.path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(job.path, json.dumps(cell.__dict__, indent=1) + "\n")
    if not job.keep_run:
        for step in out.glob("step_*"):
            step.unlink()
    return cell


def _begin_run(out: Path, digest: str) -> bool:
    """Make the folder of a run; True where the same cell was interrupted and can go on."""
    claim_folder(out, "cell.sha256")
    marker = out / "cell.sha256"
    if not marker.is_file() and any(out.glob("step_*")):
        raise AblationError(f"{out} holds checkpoints that no grid made; give another --out")
    if not marker.is_file() or marker.read_text(encoding="ascii") != digest:
        for left in [*out.glob("step_*"), *out.glob(CURVE_NAME)]:
            left.unlink()
        write_whole(marker, digest)
    return bool(list(out.glob("step_*.json")))


def _paired_seconds(data: DataConfig) -> float:
    clips = [c for folder in data.corpus for c in iterate_clips(folder, "train")]
    return round(sum(c.duration_s for c in clips if c.motion is not None), 2)


def prepare_corpora(config: AblateConfig) -> None:
    """Write the reduced corpora that are missing."""
    for fraction in config.fractions:
        for seed in config.seeds:
            reduce_corpus(
                config.corpus,
                _corpus_of(config, fraction, seed),
                fraction,
                seed,
                config.train.data.holdout,
                config.leftover_unpaired,
            )


def plan_grid(config: AblateConfig) -> list[Job]:
    """Return all cells in order: seed by seed, so that an early stop leaves whole rows.

    Raises:
        AblationError: a variant is unknown, or a finished cell was made in another way.
    """
    unknown = sorted(set(config.variants) - set(VARIANTS))
    if unknown:
        raise AblationError(f"found unknown variants {unknown}, expected some of {list(VARIANTS)}")
    jobs = [
        plan_cell(config, variant, fraction, seed)
        for seed in config.seeds
        for fraction in config.fractions
        for variant in config.variants
    ]
    for job in jobs:
        cell = read_cell(job.path)
        if cell is not None and cell.digest != job.digest:
            raise AblationError(
                f"{job.path} was made with other data or settings; give another --out or --name, "
                "or delete it to make it again"
            )
    return jobs


def run_grid(config: AblateConfig) -> list[Cell]:
    """Compute the missing cells, write the results after each, and return all cells."""
    from tqdm import tqdm

    claim_folder(config.out, "cells/*")
    prepare_corpora(config)
    jobs = plan_grid(config)
    missing = [job for job in jobs if read_cell(job.path) is None]
    done = {job.path: cell for job in jobs if (cell := read_cell(job.path)) is not None}
    with tqdm(total=len(jobs), initial=len(done), unit="cell", desc=config.name) as bar:
        for cell_path, cell in _compute(missing, config.jobs):
            done[cell_path] = cell
            bar.update()
            bar.set_postfix_str(f"{cell.variant} {cell.fraction:g} seed {cell.seed}")
            _write(config, list(done.values()))
    cells = [done[job.path] for job in jobs]
    _write(config, cells)
    return cells


def _compute(jobs: list[Job], processes: int) -> Iterator[tuple[Path, Cell]]:
    """Yield finished cells; in this process where only one is computed at a time."""
    if processes <= 1:
        for job in jobs:
            yield job.path, run_cell(job)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, end_with_parent) as pool:
        futures = {pool.submit(run_cell, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future].path, future.result()


def end_with_parent() -> None:
    """End this process as soon as its parent has: a killed grid must not go on in its workers."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write(config: AblateConfig, cells: list[Cell]) -> None:
    if config.results is not None:
        command = describe_command(config)
        write_results(config.results, config.name, cells, command, config.train.steps)


def describe_command(config: AblateConfig) -> str:
    """Return the command that makes these results; folders are named without their place."""
    words = ["python -m training.ablate"]
    default = dict(_flatten(to_plain(AblateConfig())))
    for name, value in _flatten(to_plain(config)):
        if name in ("out", "results", "jobs", "keep_runs") or value == default[name]:
            continue
        values = value if isinstance(value, list) else [value]
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            head, _, last = flag[2:].rpartition(".")
            words.append(flag if value else f"--{head}{'.' if head else ''}no-{last}")
        else:
            words.append(" ".join([flag, *[Path(str(v)).name for v in values]]))
    return " ".join(words)


def _flatten(plain: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of nested dicts."""
    for name, value in plain.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


@ending_in_order()
def main() -> None:
    """Parse the command line, run the grid, print the table's place."""
    config = tyro.cli(AblateConfig, description=__doc__)
    if BASE_VARIANT not in config.variants:
        sys.exit(f"training.ablate: --variants needs {BASE_VARIANT}: the others are set beside it")
    try:
        cells = run_grid(config)
    except (DualtalkerError, ValueError) as error:
        sys.exit(f"training.ablate: {error}")
    minutes = sum(cell.train_s for cell in cells) / 60
    print(f"{len(cells)} cells, {minutes:.0f} min of training; results: {config.results}")


if __name__ == "__main__":
    main()
