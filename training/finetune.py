"""Adapts a model to one robot's voice and face: `python -m training.finetune MODEL recordings/`.

MODEL is a checkpoint, or a bundle with what `python -m training.pack` left beside it. Minutes of
ARKit recordings (NAME.csv beside NAME.wav, or a folder that `python -m training.prepare` wrote)
become a new style; the styles that were there before stay as they were. The result is a checkpoint
like any other, for `python -m engines.export_onnx CHECKPOINT --style NAME 1`.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from dualtalker.errors import DualtalkerError
from dualtalker.files import claim_folder, ending_in_order
from training.configs import DataConfig, LossConfig, TrainConfig, from_plain, save_config, to_plain
from training.data import INDEX_NAME, Clip, load_clips, read_captured
from training.learning import (
    Batch,
    CheckpointError,
    Objective,
    Place,
    Run,
    build_network,
    choose_device,
    complete_description,
    describe_network,
    find_commit,
    find_starting_point,
    load_network,
    make_batches,
    repeat_exactly,
    save,
    take_step,
    validate,
)
from training.network import (
    DualTalker,
    Priors,
    fit_motion_prior,
    masked_mean,
    measure_scales,
    motion_loss,
)

STYLE_RATE = 20.0  # learning rate of the style vector (of order 1) relative to the weights


@dataclass
class FinetuneConfig:
    """Adapt one model to one folder of recordings."""

    model: tyro.conf.Positional[Path]
    """Checkpoint (.safetensors), or bundle (.onnx) with NAME.training.safetensors beside it."""
    recordings: tyro.conf.Positional[Path]
    """Folder of NAME.csv + NAME.wav, or of clips that `python -m training.prepare` wrote."""
    out: Path = Path("runs/finetuned")
    """Folder for the checkpoint and the saved config."""
    style: str = ""
    """Name of the new style, to which `captured:` is added (default: the folder's name)."""
    begin_as: dict[str, float] = field(default_factory=dict)
    """Mixture of trained styles that the new one begins as (default: their mean)."""
    holdout: tuple[str, ...] = ()
    """Recordings whose name contains one of these are only measured, besides those of
    the validation split (default: the last of 3+)."""
    scope: str = "decoder"
    """What learns: `style` (16 numbers), `decoder`, or `all` (also the audio encoder)."""
    keep: float = 3.0
    """Weight of the term that holds the other styles where they were (scope decoder and all)."""
    steps: int = 400
    """Optimizer steps."""
    learning_rate: float = 5e-4
    """Peak learning rate of AdamW; the style's 16 numbers learn at 20 times that."""
    batch: int = 8
    """Segments in a step."""
    segment_s: float = 4.0
    """Length of one segment, seconds."""
    augment: bool = True
    """Noise, rooms, gain and rate changes on the audio."""
    seed: int = 0
    """Seed of everything."""
    threads: int = 2
    """CPU threads for torch."""
    loader_workers: int = 1
    """Processes that make batches ahead; 0 makes them in the training process."""
    device: str = "auto"
    """`cpu`, `cuda`, `cuda:N`, or `auto`."""


class KeepingObjective(Objective):
    """The objective, and that other styles move as before (ours, after Learning without
    Forgetting, Li & Hoiem 2016): on the same audio the network that was there is the target."""

    def __init__(
        self,
        network: DualTalker,
        priors: Priors,
        config: LossConfig,
        before: DualTalker,
        weight: float,
    ) -> None:
        super().__init__(network, priors, config)
        self.before = before.eval().requires_grad_(False)
        self.weight = weight

    def forward(
        self,
        batch: Batch,
        generator: torch.Generator,
        dual_on_prediction: bool = True,
        shares: dict[str, float] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Return the total, the terms with `keep` among them, and the predicted motion."""
        total, terms, motion = super().forward(batch, generator, dual_on_prediction, shares)
        if self.weight:
            keep = self._compare(batch, generator)
            total = total + self.weight * keep
            terms = {**terms, "keep": keep.detach(), "total": total.detach()}
        return total, terms, motion

    def _compare(self, batch: Batch, generator: torch.Generator) -> Tensor:
        known = len(self.before.animation.styles)
        style = torch.randint(known, batch.style.shape, generator=generator)
        style = style.to(batch.style.device)
        now = self.network.animate(batch.audio, style)
        with torch.no_grad():
            then = self.before.animate(batch.audio, style)
        active = self.before.animation.active.expand_as(then.weights)
        scale, _ = measure_scales(self.priors.motion_prior)
        moved = self.config.motion * motion_loss(now.weights, then.weights, active, scale)
        gates = torch.sigmoid(now.gate_logit) - torch.sigmoid(then.gate_logit)
        return moved + masked_mean(gates.square(), torch.ones_like(gates))


def name_style(config: FinetuneConfig) -> str:
    """Return the new style's name; styles of captured motion begin with `captured:`."""
    name = config.style or config.recordings.resolve().name
    return name if name.startswith("captured:") else f"captured:{name}"


def add_style(network: DualTalker, name: str, begin_as: dict[str, float]) -> DualTalker:
    """Return a copy of the network with one more style, which begins as a mixture of the others.

    Raises:
        ValueError: there is one of that name already.
    """
    if name in network.animation.styles:
        raise ValueError(
            f"the model has a style {name!r} already, among {network.animation.styles}; "
            "give another --style"
        )
    description = describe_network(network)
    grown = build_network({**description, "styles": [*description["styles"], name]})
    tensors = network.state_dict()
    vector = network.animation.mix_styles(begin_as).detach()
    tensors["animation.style.weight"] = torch.cat([tensors["animation.style.weight"], vector])
    gains = network.animation.mix_gains(begin_as)
    tensors["animation.gains"] = torch.cat([tensors["animation.gains"], gains])
    grown.load_state_dict(tensors)
    return grown


def choose_parameters(network: DualTalker, scope: str) -> None:
    """Let only the parameters of `scope` learn, and of the styles only the last.

    The gates stay as they are: recordings without labelled phones cannot teach them.

    Raises:
        ValueError: there is no such scope.
    """
    known = {"style": ("animation.style",), "decoder": ("animation.",), "all": ("",)}
    if scope not in known:
        raise ValueError(f"scope is {scope!r}, expected one of {sorted(known)}")
    for name, parameter in network.named_parameters():
        learns = name.startswith(known[scope]) and not name.startswith("animation.gate")
        parameter.requires_grad_(learns and parameter.requires_grad)
    last = torch.zeros_like(network.animation.style.weight)
    last[-1] = 1.0
    network.animation.style.weight.register_hook(lambda gradient: gradient * last)


def read_recordings(config: FinetuneConfig, style: str) -> tuple[list[Clip], list[Clip]]:
    """Return the clips to learn from and those to measure, all of the new style.

    Measured are those that a corpus marks as validation and those that `holdout` names; where
    there are none, the last of three or more.

    Raises:
        ValueError: all recordings are held out.
    """
    if (config.recordings / INDEX_NAME).exists():
        clips = load_clips(config.recordings)
    else:
        clips = list(read_captured(config.recordings))
    clips = [replace(c, style=style) for c in clips if c.motion is not None]
    names = sorted(clip.name for clip in clips)
    held = {clip.name for clip in clips if clip.split == "validation"}
    held |= {name for name in names if any(part in name for part in config.holdout)}
    if not held and len(names) >= 3:
        held = {names[-1]}
    learned = [clip for clip in clips if clip.name not in held]
    if not learned:
        raise ValueError(
            f"found {len(clips)} recordings with motion, all of them held out (here by "
            f"{list(config.holdout)}); hold out fewer or record more"
        )
    return learned, [clip for clip in clips if clip.name in held]


def prepare(config: FinetuneConfig) -> tuple[Run, DualTalker]:
    """Build the run from model and recordings; returns it and the network as it was."""
    repeat_exactly(config.threads, config.seed)
    device = choose_device(config.device, Place())
    path = find_starting_point(config.model)
    before, checkpoint = load_network(path)
    if not bool(before.animation.active.any()):
        raise CheckpointError(f"{path} has no ARKit head; expected a model of ARKit weights")
    style = name_style(config)
    learned, held = read_recordings(config, style)
    grown = add_style(before, style, config.begin_as)
    for clip in learned:
        grown.animation.active.copy_(
            torch.maximum(grown.animation.active, torch.from_numpy(clip.motion_mask).float())
        )
    choose_parameters(grown, config.scope)
    training = plan_training(config, checkpoint.meta)
    grown.to(device)
    objective = KeepingObjective(
        grown,
        fit_to_recordings(Priors(**checkpoint.group("priors")), learned).to(device),
        training.loss,
        copy.deepcopy(before).to(device),
        0.0 if config.scope == "style" else config.keep,
    )
    run = Run(
        training,
        grown,
        build_optimizer(grown, training.learning_rate),
        objective,
        make_batches(training, grown, learned, [], Place()),
        held,
        [],
        describe_run(config, training, grown, checkpoint.meta, path, learned),
        device,
        Place(),
    )
    return run, before


def fit_to_recordings(priors: Priors, clips: Sequence[Clip]) -> Priors:
    """Return the priors with the motion prior of `clips`, whose channels may be others' dead ones.

    The loss is relative to how far each channel usually moves: by the old measure, one that never
    moved before would outweigh all that did.
    """
    motions = [clip.motion for clip in clips if clip.motion is not None and len(clip.motion) > 2]
    return replace(priors, motion_prior=torch.from_numpy(fit_motion_prior(motions)))


def build_optimizer(network: DualTalker, learning_rate: float) -> torch.optim.Optimizer:
    """Return AdamW; the new style's vector learns quickest.

    Otherwise the weights that all styles share would move before it has gone anywhere.
    """
    style = network.animation.style.weight
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if p is not style]},
        {"params": [style], "scale": STYLE_RATE},
    ]
    # No decay: it would pull the styles that do not learn toward zero.
    return torch.optim.AdamW(groups, learning_rate, weight_decay=0.0)


def plan_training(config: FinetuneConfig, meta: dict[str, Any]) -> TrainConfig:
    """Return the config of the model's own training, with what adapting it changes."""
    base = from_plain(TrainConfig, meta["config"])
    return replace(
        base,
        out=config.out,
        network=from_plain(
            type(base.network), complete_description(meta["description"])["network"]
        ),
        # Without labelled phones the gates have nothing to learn from but their absence.
        loss=replace(base.loss, closure=0.0, rest=0.0),
        data=DataConfig(
            corpus=(config.recordings,), segment_s=config.segment_s, batch=config.batch
        ),
        steps=config.steps,
        learning_rate=config.learning_rate,
        warmup_steps=min(20, config.steps // 4),
        ema=min(base.ema, 0.99),
        dual_start_step=0,
        augment=config.augment,
        seed=config.seed,
        accumulate=1,
        threads=config.threads,
        loader_workers=config.loader_workers,
        device=config.device,
        resume=False,
        patience=0,
    )


def describe_run(
    config: FinetuneConfig,
    training: TrainConfig,
    network: DualTalker,
    base: dict[str, Any],
    path: Path,
    learned: list[Clip],
) -> dict[str, Any]:
    """Return what the checkpoint's JSON says, apart from its step."""
    added_h = sum(clip.duration_s for clip in learned) / 3600
    return {
        "description": describe_network(network),
        "config": to_plain(training),
        "data": [*base["data"], {"folder": config.recordings.name, "clips": len(learned)}],
        "hours": round(base["hours"] + added_h, 3),
        "paired_hours": round(base["paired_hours"] + added_h, 3),
        "commit": find_commit(),
        "torch": torch.__version__,
        "finetuned": {**to_plain(config), "from": path.name, "base_step": base["step"]},
    }


def finetune(config: FinetuneConfig) -> tuple[Path, dict[str, dict[str, float]]]:
    """Adapt the model; returns the checkpoint and the figures on held-out recordings.

    The figures are those of `training.learning.validation`, `before` (the style that the new one
    began as) and `after`; empty where nothing is held out.
    """
    from tqdm import tqdm

    found = [path.name for path in config.out.glob("step_*.safetensors")]
    if found and not (config.out / "finetune.json").is_file():
        raise DualtalkerError(
            f"{config.out} holds {found[0]} of a training, expected no checkpoint that this could "
            "take the place of: give another --out"
        )
    claim_folder(config.out, "finetune.json")
    run, _ = prepare(config)
    save_config(config, config.out / "finetune.json")
    figures: dict[str, dict[str, float]] = {"before": {}, "after": {}}
    if run.validation:
        figures["before"] = validate(run.network, run.ema, run.validation)
    with tqdm(total=config.steps, unit="step", mininterval=2.0) as bar:
        while run.step < config.steps:
            numbers = take_step(run)
            bar.update()
            bar.set_postfix({k: f"{v:.3f}" for k, v in numbers.items()}, refresh=False)
            for warning in run.detector.warn(run.step, config.learning_rate):
                bar.write(warning)
    if run.validation:
        figures["after"] = validate(run.network, run.ema, run.validation)
        run.meta["finetuned"]["held_out"] = figures
    return save(run), figures


@ending_in_order()
def main() -> None:
    """Parse the command line, adapt, and say what changed."""
    config = tyro.cli(FinetuneConfig, description=__doc__)
    try:
        path, figures = finetune(config)
    except (DualtalkerError, ValueError) as error:
        sys.exit(f"training.finetune: {error}")
    for name, before in figures["before"].items():
        print(f"{name}: {before:.3f} -> {figures['after'][name]:.3f} on held-out recordings")
    if not figures["before"]:
        print("nothing was held out (fewer than 3 recordings, no --holdout): not measured")
    style = name_style(config)
    print(
        f"adapted: {path}\nnext: python -m engines.export_onnx {path} --out NAME.onnx "
        f"--style {style} 1"
    )


if __name__ == "__main__":
    main()
