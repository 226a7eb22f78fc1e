"""The training loop: `python -m training.train [default|arkit|vocaset|biwi] --out runs/mine`.

Reads folders of clips (`python -m training.corpus` and `training.prepare` make them), trains both
tasks jointly and leaves checkpoints that `python -m engines.export_onnx` turns into a model
bundle. The same seed, data and machine give the same weights, also when interrupted and continued
with `--resume`, and whatever the number of processes (`torchrun`, see training/distributed.py).
"""

from __future__ import annotations

import contextlib
import math
import sys
from pathlib import Path

import torch
from torch import Tensor

from dualtalker.errors import DualtalkerError
from training.batches import Batch
from training.collapse import measure_vitals
from training.configs import LossConfig, TrainConfig, save_config
from training.distributed import add_up, choose_device, find_place, join_group, share_out
from training.objective import EVIDENCE, count_evidence
from training.presets import parse_config
from training.run import Run, find_newest, fit_priors, prepare, restore, save, split_clips
from training.schedules import rate_at
from training.validation import validate, validate_meshes

__all__ = [
    "Run", "find_newest", "fit_priors", "prepare", "rate_at", "restore", "save", "split_clips",
    "take_step", "train",
]  # fmt: skip

# `keep` is a term of fine-tuning alone.
TERMS = (*LossConfig.__dataclass_fields__, "keep", "total")
VITALS_EVERY = 10  # steps; they cost a few milliseconds


def share_evidence(run: Run, batches: list[Batch]) -> list[dict[str, float]]:
    """Return, for each of this process' micro-batches, its share of the step's evidence.

    The terms of a step are then the same however its segments are divided. Heads are counted
    apart, and weigh by their share of the micro-batches.
    """
    counts = [count_evidence(batch) for batch in batches]
    if run.config.accumulate == 1:
        return [dict.fromkeys(EVIDENCE, 1.0) for _ in batches]
    heads = ["arkit", *(plan.name for plan in run.network.head_plans)]
    totals = torch.zeros(len(heads), len(EVIDENCE) + 1, dtype=torch.float64)
    for batch, count in zip(batches, counts, strict=True):
        row = [count[name] for name in EVIDENCE] + [1.0]
        totals[heads.index(batch.head)] += torch.tensor(row, dtype=torch.float64)
    totals = add_up(totals.to(run.device), run.place).cpu()
    shares = []
    for batch, count in zip(batches, counts, strict=True):
        whole = totals[heads.index(batch.head)].tolist()
        weight = whole[-1] / run.config.accumulate
        shares.append(
            {
                name: weight * count[name] / total if total > 0 else 1.0 / run.config.accumulate
                for name, total in zip(EVIDENCE, whole, strict=False)
            }
        )
    return shares


def learn(run: Run, batch: Batch, share: dict[str, float], number: int, last: bool) -> Tensor:
    """Add one micro-batch's gradients; returns its terms `[2, terms]`: values, and which exist.

    Processes exchange gradients at the `last` one only.
    """
    config = run.config
    # Seeding by number makes a resumed run repeat the uninterrupted one exactly.
    torch.manual_seed(config.seed * 1_000_003 + number)
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
    alone = last or run.place.size == 1
    with contextlib.nullcontext() if alone else run.wrapped.no_sync():  # type: ignore[operator]
        with torch.autocast(run.device.type, torch.bfloat16, enabled=uses_bfloat16(run)):
            total, terms, motion = run.wrapped(
                batch, generator, run.step >= config.dual_start_step, share
            )
        # DDP averages over the processes; their terms are to be added up.
        (total * run.place.size).backward()
    if run.step % VITALS_EVERY == 0 and last:
        hop = config.network.hop_samples
        loss = float(total.detach()) * config.accumulate
        run.detector.observe(measure_vitals(motion, batch, hop), loss)
    figures = torch.zeros(2, len(TERMS), device=run.device)
    for name, value in terms.items():
        figures[:, TERMS.index(name)] = torch.stack([value, torch.ones_like(value)])
    return figures


def uses_bfloat16(run: Run) -> bool:
    """True where the forward pass runs in bfloat16."""
    known = ("auto", "float32", "bfloat16")
    if run.config.precision not in known:
        raise ValueError(f"precision is {run.config.precision!r}, expected one of {known}")
    automatic = run.config.precision == "auto" and run.device.type == "cuda"
    return automatic or run.config.precision == "bfloat16"


def take_step(run: Run) -> dict[str, float]:
    """Draw the batches of this step, learn from them, and return the terms as numbers.

    Raises:
        DualtalkerError: the loss is not finite.
    """
    config, step = run.config, run.step
    run.network.train()
    for group in run.optimizer.param_groups:
        group["lr"] = rate_at(config, step) * group.get("scale", 1.0)
    own = [step * config.accumulate + m for m in share_out(config.accumulate, run.place)]
    batches = [run.batches.fetch(number) for number in own]
    shares = share_evidence(run, batches)
    run.optimizer.zero_grad(set_to_none=True)
    figures = torch.zeros(2, len(TERMS), device=run.device)
    for number, batch, share in zip(own, batches, shares, strict=True):
        figures += learn(run, batch.to(run.device), share, number, last=number == own[-1])
    values, present = add_up(figures, run.place).tolist()
    numbers = {n: v for n, v, p in zip(TERMS, values, present, strict=True) if p > 0}
    if not math.isfinite(numbers["total"]):
        raise DualtalkerError(
            f"the loss at step {step} is not finite ({numbers}); lower --learning-rate "
            "or --clip-norm and continue with --resume"
        )
    norm = torch.nn.utils.clip_grad_norm_(run.network.parameters(), config.clip_norm)
    run.optimizer.step()
    numbers["gradient_norm"] = float(norm)
    average(run, min(config.ema, (step + 1) / (step + 10)))
    run.step += 1
    return numbers


def average(run: Run, decay: float) -> None:
    """Move the averaged weights toward the network's."""
    with torch.no_grad():
        for name, tensor in run.network.state_dict().items():
            if tensor.is_floating_point():
                run.ema[name].lerp_(tensor, 1.0 - decay)
            else:
                run.ema[name].copy_(tensor)


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
    config.out.mkdir(parents=True, exist_ok=True)
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


def write_scalars(writer: object, group: str, figures: dict[str, float], step: int) -> None:
    """Write figures to TensorBoard under `group/`."""
    for name, value in figures.items():
        writer.add_scalar(f"{group}/{name}", value, step)  # type: ignore[attr-defined]


def main() -> None:
    """Parse the command line and train."""
    config = parse_config(sys.argv[1:], __doc__ or "")
    try:
        path = train(config)
    except (DualtalkerError, ValueError) as error:
        sys.exit(f"training.train: {error}")
    if find_place().leads:
        print(f"trained: {path}\nnext: python -m engines.export_onnx {path} --out NAME.onnx")


if __name__ == "__main__":
    main()
