"""The training loop: `python -m training.train --data.corpus corpus --out runs/default`.

Reads folders of clips (`python -m training.corpus` makes them), trains both tasks jointly and
leaves checkpoints that `python -m engines.export_onnx` turns into a model bundle. The same seed,
data and machine give the same weights, also when interrupted and continued with `--resume`.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.errors import DualtalkerError
from training.batches import BatchMaker
from training.checkpoints import (
    CheckpointError,
    describe_network,
    find_commit,
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from training.clips import Clip, digest_of, load_clips
from training.configs import NetworkConfig, TrainConfig, save_config, to_plain
from training.marginals import fit_bigram, fit_motion_prior, fit_units
from training.network import DualTalker
from training.objective import Priors, compute_losses
from training.phones import PHONE_CLASSES
from training.validation import validate


@dataclass
class Run:
    """Everything that a step changes or reads."""

    config: TrainConfig
    network: DualTalker
    ema: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    priors: Priors
    batches: BatchMaker
    validation: list[Clip]
    meta: dict[str, Any]
    step: int = 0


def split_clips(
    clips: list[Clip], holdout: tuple[str, ...], paired_fraction: float, seed: int
) -> tuple[list[Clip], list[Clip]]:
    """Split clips into training and validation by name, keeping a fraction of the paired ones.

    Raises:
        ValueError: nothing is left to train on.
    """

    def held(clip: Clip) -> bool:
        return clip.split == "validation" or any(part in clip.name for part in holdout)

    validation = [c for c in clips if held(c) and c.motion is not None]
    train = [c for c in clips if not held(c)]
    if paired_fraction < 1.0:
        rng = np.random.default_rng(seed)
        paired = [c for c in train if c.motion is not None]
        order = rng.permutation(len(paired))
        kept = {id(paired[i]) for i in order[: max(1, round(len(paired) * paired_fraction))]}
        train = [c for c in train if c.motion is None or id(c) in kept]
    if not any(c.motion is not None for c in train):
        raise ValueError(
            f"found {len(clips)} clips, none with motion is left to train on after holding out "
            f"{list(holdout)}; make more with `python -m training.corpus`"
        )
    return train, validation


def fit_priors(network: DualTalker, clips: list[Clip], config: NetworkConfig, seed: int) -> Priors:
    """Fit acoustic units, bigram, motion prior and lip basis on the training clips."""
    from dualtalker.head import build_head

    rng = np.random.default_rng(seed)
    chosen = [clips[i] for i in rng.permutation(len(clips))[:200]]
    features = []
    with torch.no_grad():
        for clip in chosen:
            whole = len(clip.audio) // config.hop_samples * config.hop_samples
            if whole:
                audio = torch.from_numpy(clip.audio[:whole]).unsqueeze(0)
                features.append(network.audio_encoder.features(audio)[0].numpy())
    frames = np.concatenate(features)
    drawn = frames[rng.permutation(len(frames))[:20000]]
    centers = fit_units(drawn, config.units, seed)
    squares = (centers**2).sum(1)
    named = [np.argmin(squares - 2 * f @ centers.T, axis=1) for f in features]
    motions = [c.motion for c in clips if c.motion is not None and len(c.motion) > 2]
    head = build_head()
    lips = head.deltas[:, head.lip_vertices].reshape(len(head.names), -1)
    basis = np.zeros((len(ARKIT_NAMES), lips.shape[1]), np.float32)
    for row, name in enumerate(head.names):
        basis[ARKIT_NAMES.index(name)] = lips[row]
    return Priors(
        torch.from_numpy(centers),
        torch.from_numpy(fit_bigram(named, config.units)),
        torch.from_numpy(fit_motion_prior(motions[:500])),
        torch.from_numpy(basis),
    )


def prepare(config: TrainConfig) -> Run:
    """Load the data, build the network and fit the priors."""
    torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(config.seed)
    clips = [clip for folder in config.data.corpus for clip in load_clips(folder)]
    train, validation = split_clips(
        clips, config.data.holdout, config.data.paired_fraction, config.seed
    )
    paired = [c for c in train if c.motion is not None]
    active = np.any([c.motion_mask for c in paired], axis=0)
    styles = sorted({c.style for c in paired})
    network = DualTalker(config.network, active.tolist(), styles, list(PHONE_CLASSES))
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    meta = {
        "description": describe_network(network),
        "config": to_plain(config),
        "data": [
            {"folder": folder.name, "digest": digest_of(folder)} for folder in config.data.corpus
        ],
        "hours": round(sum(c.duration_s for c in train) / 3600, 3),
        "paired_hours": round(sum(c.duration_s for c in paired) / 3600, 3),
        "commit": find_commit(),
        "torch": torch.__version__,
    }
    priors = fit_priors(network, train, config.network, config.seed)
    batches = BatchMaker(
        train,
        list(PHONE_CLASSES),
        styles,
        active,
        config.network,
        config.data,
        config.seed,
        config.augment,
        config.loader_workers,
    )
    ema = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    return Run(config, network, ema, optimizer, priors, batches, validation, meta)


def rate_at(config: TrainConfig, step: int) -> float:
    """Learning rate of a step: linear warm-up, then cosine to 2 % of the peak."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    span = max(1, config.steps - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / span)
    return config.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def take_step(run: Run) -> dict[str, float]:
    """Draw the batch of this step, learn from it, and return the terms as numbers.

    Raises:
        DualtalkerError: the loss is not finite.
    """
    config, step = run.config, run.step
    # Seeding by step makes a resumed run repeat the uninterrupted one exactly.
    torch.manual_seed(config.seed * 1_000_003 + step)
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    run.network.train()
    for group in run.optimizer.param_groups:
        group["lr"] = rate_at(config, step)
    batch = run.batches.fetch(step)
    terms = compute_losses(
        run.network, batch, run.priors, config.loss, generator, step >= config.dual_start_step
    )
    numbers = {name: float(value.detach()) for name, value in terms.items()}
    if not math.isfinite(numbers["total"]):
        raise DualtalkerError(
            f"the loss at step {step} is not finite ({numbers}); lower --learning-rate "
            "or --clip-norm and continue with --resume"
        )
    run.optimizer.zero_grad(set_to_none=True)
    terms["total"].backward()
    norm = torch.nn.utils.clip_grad_norm_(run.network.parameters(), config.clip_norm)
    run.optimizer.step()
    numbers["gradient_norm"] = float(norm)
    decay = min(config.ema, (step + 1) / (step + 10))
    with torch.no_grad():
        for name, tensor in run.network.state_dict().items():
            run.ema[name].lerp_(tensor, 1.0 - decay)
    run.step += 1
    return numbers


def save(run: Run) -> Path:
    """Write the checkpoint of the current step and return its path."""
    path = run.config.out / f"step_{run.step:07d}.safetensors"
    groups = {
        "network": dict(run.network.state_dict()),
        "ema": run.ema,
        "optimizer": optimizer_tensors(run.optimizer),
        "priors": dict(vars(run.priors)),
    }
    save_checkpoint(path, groups, {**run.meta, "step": run.step})
    return path


def find_newest(folder: Path) -> Path:
    """Return the newest complete checkpoint in `folder`.

    Raises:
        CheckpointError: there is none.
    """
    written = sorted(folder.glob("step_*.safetensors"))
    found = [path for path in written if path.with_suffix(".json").exists()]
    if not found:
        raise CheckpointError(
            f"found no step_*.safetensors in {folder}; start without --resume first"
        )
    return found[-1]


def restore(run: Run, path: Path) -> None:
    """Load network, averages, optimizer and step of a checkpoint into `run`.

    Raises:
        CheckpointError: it was made from other data or another network.
    """
    checkpoint = load_checkpoint(path)
    for key in ("data", "description"):
        if checkpoint.meta[key] != run.meta[key]:
            raise CheckpointError(
                f"{path} was made with another {key} ({checkpoint.meta[key]}), "
                f"expected {run.meta[key]}; give another --out or the same --data"
            )
    run.network.load_state_dict(checkpoint.group("network"))
    run.ema = checkpoint.group("ema")
    restore_optimizer(run.optimizer, checkpoint.group("optimizer"))
    run.priors = Priors(**checkpoint.group("priors"))
    run.step = int(checkpoint.meta["step"])


def train(config: TrainConfig) -> Path:
    """Run the whole training and return the path of the last checkpoint."""
    from torch.utils.tensorboard import SummaryWriter
    from tqdm import tqdm

    config.out.mkdir(parents=True, exist_ok=True)
    run = prepare(config)
    if config.resume:
        restore(run, find_newest(config.out))
    save_config(config, config.out / "config.json")
    size = sum(p.numel() for p in run.network.parameters())
    print(f"{run.meta['hours']} h of speech, {size / 1e6:.2f} M parameters, {config.out}")
    path = None
    with (
        SummaryWriter(config.out) as writer,
        tqdm(total=config.steps, initial=run.step, unit="step", mininterval=2.0) as bar,
    ):
        while run.step < config.steps:
            numbers = take_step(run)
            bar.update()
            if run.step % 20 == 0:
                for name, value in numbers.items():
                    writer.add_scalar(f"train/{name}", value, run.step)
                bar.set_postfix({k: f"{v:.3f}" for k, v in numbers.items()}, refresh=False)
            if run.step % config.validate_every == 0 or run.step == config.steps:
                figures = validate(run.network, run.ema, run.validation)
                for name, value in figures.items():
                    writer.add_scalar(f"validation/{name}", value, run.step)
                text = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
                bar.write(f"step {run.step}: {text}")
            if run.step % config.save_every == 0 or run.step == config.steps:
                path = save(run)
    return path or find_newest(config.out)


def main() -> None:
    """Parse the command line and train."""
    import tyro

    config = tyro.cli(TrainConfig, description=__doc__)
    try:
        path = train(config)
    except (DualtalkerError, ValueError) as error:
        sys.exit(f"training.train: {error}")
    print(f"trained: {path}\nnext: python -m engines.export_onnx {path} -o NAME.onnx")


if __name__ == "__main__":
    main()
