"""One optimizer step of a run: its batches, their gradients, and the averaged weights."""

from __future__ import annotations

import contextlib
import math

import torch
from torch import Tensor

from dualtalker.errors import DualtalkerError
from training.configs import LossConfig
from training.learning.batches import Batch
from training.learning.distributed import add_up, share_out
from training.learning.health import measure_vitals
from training.learning.objective import EVIDENCE, count_evidence
from training.learning.run import Run
from training.learning.schedules import rate_at

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
