"""The training loop: steps, figures, warnings, checkpoints, to the last step or an early stop."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path

import torch

from dualtalker.errors import DualtalkerError
from dualtalker.files import claim_folder, write_whole
from training.configs import TrainConfig, save_config
from training.learning.distributed import add_up, choose_device, find_place, join_group
from training.learning.run import Run, find_newest, prepare, restore, save
from training.learning.schedules import rate_at
from training.learning.step import take_step
from training.learning.validation import validate, validate_meshes

CURVE_NAME = "validation.jsonl"
log = logging.getLogger("dualtalker")


def measure(run: Run) -> dict[str, float]:
    """Return the figures of the averaged weights on held-out clips, of every head."""
    figures = validate(run.network, run.ema, run.validation)
    meshes = validate_meshes(run.network, run.ema, run.meshes, run.config.validation_clips)
    return {**figures, **meshes}


def check_progress(run: Run, figures: dict[str, float]) -> None:
    """Keep the best checkpoint where training is to stop early.

    Raises:
        DualtalkerError: it is, but no held-out clip has a lip-vertex error.
    """
    errors = [value for name, value in figures.items() if name.endswith("lve_mm")]
    if not run.config.patience:
        return
    if not errors:
        raise DualtalkerError(
            "patience is set, but no held-out clip has captured motion; hold some out "
            "(--data.holdout NAME) or give --patience 0"
        )
    if run.early_stop.update(sum(errors) / len(errors), run.step):
        save(run, run.config.out / "best.safetensors")


def train(config: TrainConfig) -> Path:
    """Run the whole training and return the path of the last checkpoint.

    With `patience` it is that of the best one, `best.safetensors`.
    """
    place = find_place()
    claim_folder(config.out, "step_*.safetensors")
    _refuse_steps(config)
    with join_group(place, choose_device(config.device, place)):
        run = prepare(config, place)
        if config.resume:
            restore(run, find_newest(config.out))
        if place.leads:
            save_config(config, config.out / "config.json")
            size = sum(p.numel() for p in run.network.parameters())
            print(f"{run.meta['hours']} h of speech, {size / 1e6:.2f} M parameters, {config.out}")
            for mesh in run.meshes:
                lips = mesh.corpus.lips
                print(f"{mesh.name}: LVE over {len(lips.indices)} lip vertices ({lips.source})")
        loop(run)
    if config.patience and run.early_stop.best is not None:
        return config.out / "best.safetensors"
    return find_newest(config.out)


def _refuse_steps(config: TrainConfig) -> None:
    """Raise DualtalkerError where a training would write over the steps of another."""
    found = len(list(config.out.glob("step_*.safetensors")))
    if found and not config.resume:
        raise DualtalkerError(
            f"{config.out} holds {found} checkpoints of an earlier training; go on with them with "
            "--resume, or give another --out"
        )


def loop(run: Run) -> None:
    """Take steps until the last, writing figures, warnings and checkpoints on the way."""
    from torch.utils.tensorboard import SummaryWriter
    from tqdm import tqdm

    config, leads = run.config, run.place.leads
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(
                total=config.steps,
                initial=run.step,
                unit="step",
                mininterval=2.0,
                disable=not leads,
            )
        )
        writer = stack.enter_context(SummaryWriter(config.out)) if leads else None
        stopped = run.early_stop.reached
        while run.step < config.steps and not stopped:
            numbers = take_step(run)
            bar.update()
            for warning in run.detector.warn(run.step, rate_at(config, run.step)):
                bar.write(warning)
            if writer and run.step % 20 == 0:
                write_scalars(writer, "train", numbers, run.step)
                bar.set_postfix({k: f"{v:.3f}" for k, v in numbers.items()}, refresh=False)
            if run.step % config.validate_every == 0 or run.step == config.steps:
                if writer:
                    figures = measure(run)
                    write_scalars(writer, "validation", figures, run.step)
                    note_figures(config.out, run.step, figures)
                    text = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
                    bar.write(f"step {run.step}: {text}")
                    check_progress(run, figures)
                reached = float(leads and run.early_stop.reached)
                told = add_up(torch.tensor(reached, device=run.device), run.place)
                stopped = bool(told > 0)
            if leads and (
                run.step % config.save_every == 0 or run.step == config.steps or stopped
            ):
                save(run)
        if stopped and leads:
            bar.write(
                f"stopped at step {run.step}: no better lip-vertex error than "
                f"{run.early_stop.best:.3f} mm of step {run.early_stop.best_step}"
            )


def note_figures(folder: Path, step: int, figures: dict[str, float]) -> None:
    """Add a validation to the learning curve in a training's folder: one line of JSON each."""
    path = folder / CURVE_NAME
    lines = path.read_bytes() if path.is_file() else b""
    whole = lines[: lines.rfind(b"\n") + 1]  # without the half line of a training that was killed
    write_whole(path, whole + json.dumps({"step": step, **figures}).encode() + b"\n")


def read_curve(folder: Path) -> list[dict[str, float]]:
    """Return the learning curve in a training's folder by step, each step once.

    A training that was interrupted repeats the steps after its last checkpoint. One that was
    killed may leave half a line at the end, which is left out with a warning.

    Raises:
        DualtalkerError: another line is no validation.
    """
    path = folder / CURVE_NAME
    *lines, half = path.read_bytes().split(b"\n") if path.is_file() else [b""]
    if half:
        log.warning("%s: its last line is half written and is left out", path)
    found: dict[float, dict[str, float]] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            found[row["step"]] = row
        except (ValueError, TypeError, KeyError) as error:
            raise DualtalkerError(
                f"line {number} of {path} is no validation, which is an object of JSON with its "
                f"step ({error}); delete that line"
            ) from error
    return [found[step] for step in sorted(found)]


def write_scalars(writer: object, group: str, figures: dict[str, float], step: int) -> None:
    """Write figures to TensorBoard under `group/`."""
    for name, value in figures.items():
        writer.add_scalar(f"{group}/{name}", value, step)  # type: ignore[attr-defined]
