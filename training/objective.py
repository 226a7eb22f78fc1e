"""The joint objective of both tasks on one batch: which loss reads which prediction."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from training import losses
from training.batches import Batch
from training.configs import LossConfig
from training.heads import ARKIT
from training.marginals import (
    Priors,
    assign_units,
    measure_scales,
    score_motion,
    score_units,
)
from training.network import DualTalker, Prediction


def name_units(network: DualTalker, clean: Tensor, priors: Priors) -> Tensor:
    """Acoustic units `[batch, frames]` of the un-augmented audio, aligned with motion frames.

    A motion frame's unit is that of the hop that begins at its instant.
    """
    frames = clean.shape[1] // network.config.hop_samples - network.config.shift_frames
    with torch.no_grad():
        features = network.audio_encoder.features(clean)[:, :frames]
        return assign_units(features, priors.unit_centers)


def read_with_fixed_reader(network: DualTalker, motion: Tensor, head: str) -> dict[str, Tensor]:
    """Read lips without teaching the reader: gradients reach the motion alone.

    Otherwise reader and animation could agree on a private code instead of on readable lips.
    """
    encoder = {k: v.detach() for k, v in network.motion_encoder.named_parameters()}
    reader = {k: v.detach() for k, v in network.lip_reader.named_parameters()}
    latents = functional_call(network.motion_encoder, encoder, (motion, head))
    return functional_call(_Reading(network.lip_reader), _prefix(reader), (latents,))  # type: ignore[no-any-return]


class _Reading(nn.Module):
    """`LipReadingDecoder.read` as a forward, which is what `functional_call` calls."""

    def __init__(self, reader: nn.Module) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, latents: Tensor) -> dict[str, Tensor]:
        scores: dict[str, Tensor] = self.reader.read(latents)  # type: ignore[operator]
        return scores


def _prefix(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"reader.{name}": value for name, value in parameters.items()}


# ---- How much evidence there is ----------------------------------------------------------------
# Every term is a mean over what is supervised. When a step's batch is divided into micro-batches,
# over time or over processes, the mean of their means is not the mean of the whole; so each is
# weighed by its share of the evidence, which the batch alone tells.

EVIDENCE = (
    "motion",
    "velocity",
    "lip_vertices",
    "closure",
    "units_true",
    "units_predicted",
    "phones_true",
    "phones_predicted",
    "duality",
    "consistency",
)


def count_evidence(batch: Batch) -> dict[str, float]:
    """Return how many supervised values stand behind each part of the objective."""
    mask = batch.mask
    moving = mask[:, 1:] * mask[:, :-1]
    if batch.head != ARKIT:
        mask, moving = mask.amax(-1), moving.amax(-1)
    frames = batch.motion.shape[1]
    counts = {
        "motion": mask.sum(),
        "velocity": moving.sum(),
        "lip_vertices": mask.sum() if mask.dim() == 2 else mask.amax(-1).sum(),
        "closure": batch.contacts_mask.sum(),
        "units_true": (batch.paired * batch.speech).sum() * frames,
        "units_predicted": batch.speech.sum() * frames,
        "duality": (batch.paired * batch.speech).sum(),
    }
    for kind, known in (
        ("true", batch.has_phones * batch.paired),
        ("predicted", batch.has_phones),
    ):
        readable = losses.readable_rows(batch.phone_counts, known, frames)
        counts[f"phones_{kind}"] = torch.tensor(readable.numel())
    # Instants are contrasted within a micro-batch, so each counts the same.
    return {**{name: float(value) for name, value in counts.items()}, "consistency": 1.0}


# ---- The terms ---------------------------------------------------------------------------------


def judge(
    network: DualTalker,
    batch: Batch,
    priors: Priors,
    config: LossConfig,
    generator: torch.Generator,
    dual_on_prediction: bool = True,
    shares: dict[str, float] | None = None,
) -> tuple[dict[str, Tensor], Prediction]:
    """Return every switched-on term, unweighted, their weighted sum as `total`, and the motion.

    `dual_on_prediction` switches the terms in which the lip reader judges predicted motion: they
    mean nothing before the reader has learned. `shares` of the step's evidence (see `EVIDENCE`;
    default all of it) scale the terms, so that those of all micro-batches add up to the step's.
    """
    shares = shares or dict.fromkeys(EVIDENCE, 1.0)
    out = network.animate(batch.audio, batch.style, batch.head)
    direct = _list_arkit_terms if batch.head == ARKIT else _list_vertex_terms
    terms = {
        name: measure() * shares[name]
        for name, measure in direct(network, batch, priors, out).items()
        if getattr(config, name)
    }
    if config.dual_is_on():
        _add_dual_terms(
            terms, network, batch, priors, config, shares, generator, dual_on_prediction, out
        )
    terms["total"] = torch.stack([getattr(config, k) * v for k, v in terms.items()]).sum()
    return terms, out


def _list_arkit_terms(
    network: DualTalker, batch: Batch, priors: Priors, out: Prediction
) -> dict[str, Callable[[], Tensor]]:
    """Name the terms that compare blendshapes, each with how it is measured."""
    moved = (out.weights, batch.motion, batch.mask)
    spread, speed = measure_scales(priors.motion_prior)
    return {
        "motion": lambda: losses.motion_loss(*moved, spread),
        "velocity": lambda: losses.velocity_loss(*moved, speed),
        "lip_vertices": lambda: losses.lip_vertex_loss(*moved, priors.lip_basis),
        "closure": lambda: losses.contact_loss(
            out.gate_logit, batch.contacts, batch.contacts_mask
        ),
    }


def _list_vertex_terms(
    network: DualTalker, batch: Batch, priors: Priors, out: Prediction
) -> dict[str, Callable[[], Tensor]]:
    """Name the terms that compare a mesh's coordinates, each with how it is measured."""
    moved = (out.weights, batch.motion, batch.mask)
    lips: Tensor = network.animation.vertex_heads[batch.head].lip_metric  # type: ignore[assignment]
    return {
        "motion": lambda: losses.vertex_loss(*moved),
        "velocity": lambda: losses.vertex_velocity_loss(*moved),
        "lip_vertices": lambda: losses.vertex_loss(*moved, lips),
    }


def _add_dual_terms(
    terms: dict[str, Tensor],
    network: DualTalker,
    batch: Batch,
    priors: Priors,
    config: LossConfig,
    shares: dict[str, float],
    generator: torch.Generator,
    dual_on_prediction: bool,
    out: Prediction,
) -> None:
    units = name_units(network, batch.clean, priors)
    in_speech = batch.speech.unsqueeze(1).expand_as(units)
    in_paired = (batch.paired * batch.speech).unsqueeze(1).expand_as(units)
    true_latents = network.motion_encoder(batch.motion, batch.head).float()
    scores = network.lip_reader.read(true_latents)
    if config.lipread_true:
        terms["lipread_true"] = _reading_loss(
            scores, batch, units, in_paired, shares, "true", batch.paired
        )
    if config.consistency:
        raw = losses.consistency_loss(
            network.audio_joint(out.latents).float(),
            network.motion_joint(true_latents).float(),
            in_paired * (batch.mask.amax(-1) > 0),
            network.joint_temperature,
            generator,
        )
        terms["consistency"] = raw * shares["consistency"]
    if config.lipread_predicted and dual_on_prediction:
        # Channels that a clip's motion lacks were zero when the reader learned from that clip.
        seen = torch.where(batch.paired[:, None, None] > 0, batch.mask.amax(1, keepdim=True), 1.0)
        read = read_with_fixed_reader(network, out.weights * seen, batch.head)
        terms["lipread_predicted"] = _reading_loss(
            read, batch, units, in_speech, shares, "predicted", 1.0
        )
    if config.duality and dual_on_prediction:
        raw = _duality(network, batch, priors, out, units, scores["units"])
        terms["duality"] = raw * shares["duality"]


def _reading_loss(
    scores: dict[str, Tensor],
    batch: Batch,
    units: Tensor,
    unit_mask: Tensor,
    shares: dict[str, float],
    kind: str,
    paired: Tensor | float,
) -> Tensor:
    """Sum of the losses of all lip-reading targets; `kind` of motion is `true` or `predicted`."""
    total = None
    for name, score in scores.items():
        if name == "units":
            raw = losses.unit_loss(score, units, unit_mask)
        else:
            known = batch.has_phones * paired
            raw = losses.phone_loss(score, batch.phones, batch.phone_counts, known)
        part = raw * shares[f"{name}_{kind}"]
        total = part if total is None else total + part
    assert total is not None  # LossConfig.check demands a target
    return total


def _duality(
    network: DualTalker,
    batch: Batch,
    priors: Priors,
    out: Prediction,
    units: Tensor,
    unit_scores: Tensor,
) -> Tensor:
    if batch.head == ARKIT:
        log_scale, prior = network.animation.log_scale, priors.motion_prior
    else:
        vertex_head = network.animation.vertex_heads[batch.head]
        log_scale, prior = vertex_head.log_scale, vertex_head.motion_prior  # type: ignore[assignment]
    picked = unit_scores.gather(-1, units.unsqueeze(-1)).squeeze(-1).mean(1)
    return losses.duality_loss(
        losses.gaussian_log_likelihood(out.weights, batch.motion, log_scale, batch.mask),
        score_units(units, priors.bigram),
        picked,
        score_motion(batch.motion, prior, batch.mask),
        batch.paired * batch.speech,
    )


class Objective(nn.Module):
    """Network and losses as one module, whose forward is what DDP must wrap."""

    def __init__(self, network: DualTalker, priors: Priors, config: LossConfig) -> None:
        super().__init__()
        self.network, self.priors, self.config = network, priors, config

    def forward(
        self,
        batch: Batch,
        generator: torch.Generator,
        dual_on_prediction: bool,
        shares: dict[str, float],
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Return the total, the terms and the predicted motion; see `judge`.

        Only the total carries gradients: DDP waits for those of all that a result depends on.
        """
        terms, out = judge(
            self.network,
            batch,
            self.priors,
            self.config,
            generator,
            dual_on_prediction,
            shares,
        )
        numbers = {name: value.detach() for name, value in terms.items()}
        return terms["total"], numbers, out.weights.detach()
