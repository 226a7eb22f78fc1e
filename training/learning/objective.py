"""The joint objective of both tasks on one batch: which loss reads which prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from training.configs import LossConfig
from training.learning.batches import Batch
from training.network import (
    ARKIT,
    DualTalker,
    Prediction,
    Priors,
    assign_units,
    losses,
    measure_scales,
    score_motion,
    score_units,
)

Measure = Callable[[], Tensor]


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
    latents = _call_fixed(network.motion_encoder, motion, head)
    return _call_fixed(network.lip_reader, latents)  # type: ignore[no-any-return]


def _call_fixed(module: nn.Module, *arguments: Any) -> Any:
    fixed = {name: parameter.detach() for name, parameter in module.named_parameters()}
    return functional_call(module, fixed, arguments)


# ---- How much evidence there is ----------------------------------------------------------------
# Every term is a mean over what is supervised. When a step's batch is divided into micro-batches,
# over time or over processes, the mean of their means is not the mean of the whole; so each is
# weighed by its share of the evidence, which the batch alone tells.

EVIDENCE = (
    "motion",
    "velocity",
    "lip_vertices",
    "closure",
    "rest",
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
        "rest": batch.contacts_mask.sum(),
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


class Objective(nn.Module):
    """Network and losses as one module, whose forward is what DDP must wrap."""

    def __init__(self, network: DualTalker, priors: Priors, config: LossConfig) -> None:
        super().__init__()
        self.network, self.priors, self.config = network, priors, config

    def forward(
        self,
        batch: Batch,
        generator: torch.Generator,
        dual_on_prediction: bool = True,
        shares: dict[str, float] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Return the weighted sum, every switched-on term unweighted, and the predicted motion.

        The terms have the sum among them as `total`. Only the sum itself carries gradients: DDP
        waits for those of all that a result depends on.

        `dual_on_prediction` switches the terms in which the lip reader judges predicted motion:
        they mean nothing before the reader has learned. `shares` of the step's evidence (see
        `EVIDENCE`; default all of it) scale the terms, so that those of all micro-batches add up
        to the step's.
        """
        terms, out = self.measure(batch, generator, dual_on_prediction, shares)
        weighted = [getattr(self.config, name) * value for name, value in terms.items()]
        terms["total"] = torch.stack(weighted).sum()
        numbers = {name: value.detach() for name, value in terms.items()}
        return terms["total"], numbers, out.weights.detach()

    def measure(
        self,
        batch: Batch,
        generator: torch.Generator,
        dual_on_prediction: bool = True,
        shares: dict[str, float] | None = None,
    ) -> tuple[dict[str, Tensor], Prediction]:
        """Return every switched-on term, unweighted, with its gradients, and the prediction."""
        shares = shares or dict.fromkeys(EVIDENCE, 1.0)
        out = self.network.animate(batch.audio, batch.style, batch.head)
        direct = self._list_arkit_terms if batch.head == ARKIT else self._list_vertex_terms
        terms = {
            name: measure() * shares[name]
            for name, measure in direct(batch, out).items()
            if getattr(self.config, name)
        }
        if self.config.dual_is_on():
            terms |= self._measure_dual_terms(batch, out, generator, dual_on_prediction, shares)
        return terms, out

    def _list_arkit_terms(self, batch: Batch, out: Prediction) -> dict[str, Measure]:
        """Name the terms that compare blendshapes, each with how it is measured."""
        moved = (out.weights, batch.motion, batch.mask)
        spread, speed = measure_scales(self.priors.motion_prior)
        count = batch.contacts.shape[-1]
        touched, rested = out.gate_logit[..., :count], out.gate_logit[..., count:]
        terms: dict[str, Measure] = {
            "motion": lambda: losses.motion_loss(*moved, spread),
            "velocity": lambda: losses.velocity_loss(*moved, speed),
            "lip_vertices": lambda: losses.lip_vertex_loss(*moved, self.priors.lip_basis),
            "closure": lambda: losses.contact_loss(touched, batch.contacts, batch.contacts_mask),
        }
        if self.network.config.rest_gate:
            terms["rest"] = lambda: losses.rest_loss(rested, batch.rest, batch.contacts_mask)
        return terms

    def _list_vertex_terms(self, batch: Batch, out: Prediction) -> dict[str, Measure]:
        """Name the terms that compare a mesh's coordinates, each with how it is measured."""
        moved = (out.weights, batch.motion, batch.mask)
        head = self.network.animation.vertex_heads[batch.head]
        lips: Tensor = head.lip_metric  # type: ignore[assignment]
        return {
            "motion": lambda: losses.vertex_loss(*moved),
            "velocity": lambda: losses.vertex_velocity_loss(*moved),
            "lip_vertices": lambda: losses.vertex_loss(*moved, lips),
        }

    def _measure_dual_terms(
        self,
        batch: Batch,
        out: Prediction,
        generator: torch.Generator,
        dual_on_prediction: bool,
        shares: dict[str, float],
    ) -> dict[str, Tensor]:
        network, config = self.network, self.config
        terms = {}
        units = name_units(network, batch.clean, self.priors)
        in_speech = batch.speech.unsqueeze(1).expand_as(units)
        in_paired = (batch.paired * batch.speech).unsqueeze(1).expand_as(units)
        true_latents = network.motion_encoder(batch.motion, batch.head).float()
        scores = network.lip_reader(true_latents)
        if config.lipread_true:
            known = batch.has_phones * batch.paired
            measured = _measure_reading(scores, batch, units, in_paired, known)
            terms["lipread_true"] = _add_up(measured, shares, "true")
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
            # Channels that a clip's motion lacks were zero when the reader learned from it.
            supervised = batch.mask.amax(1, keepdim=True)
            seen = torch.where(batch.paired[:, None, None] > 0, supervised, 1.0)
            read = read_with_fixed_reader(network, out.weights * seen, batch.head)
            measured = _measure_reading(read, batch, units, in_speech, batch.has_phones)
            terms["lipread_predicted"] = _add_up(measured, shares, "predicted")
        if config.duality and dual_on_prediction:
            raw = self._measure_duality(batch, out, units, scores["units"])
            terms["duality"] = raw * shares["duality"]
        return terms

    def _measure_duality(
        self, batch: Batch, out: Prediction, units: Tensor, unit_scores: Tensor
    ) -> Tensor:
        if batch.head == ARKIT:
            log_scale, prior = self.network.animation.log_scale, self.priors.motion_prior
        else:
            head = self.network.animation.vertex_heads[batch.head]
            log_scale, prior = head.log_scale, head.motion_prior  # type: ignore[assignment]
        picked = unit_scores.gather(-1, units.unsqueeze(-1)).squeeze(-1).mean(1)
        return losses.duality_loss(
            losses.gaussian_log_likelihood(out.weights, batch.motion, log_scale, batch.mask),
            score_units(units, self.priors.bigram),
            picked,
            score_motion(batch.motion, prior, batch.mask),
            batch.paired * batch.speech,
        )


def _measure_reading(
    scores: dict[str, Tensor], batch: Batch, units: Tensor, in_units: Tensor, known: Tensor
) -> dict[str, Tensor]:
    """Return the loss of each lip-reading target.

    `units` count where `in_units` `[batch, frames]`, phones in rows that are `known` `[batch]`.
    """
    measured = {}
    if "phones" in scores:
        measured["phones"] = losses.phone_loss(
            scores["phones"], batch.phones, batch.phone_counts, known
        )
    if "units" in scores:
        measured["units"] = losses.unit_loss(scores["units"], units, in_units)
    return measured


def _add_up(measured: dict[str, Tensor], shares: dict[str, float], kind: str) -> Tensor:
    """Sum the targets' losses of one `kind` of motion, `true` or `predicted`, by their shares."""
    parts = [loss * shares[f"{name}_{kind}"] for name, loss in measured.items()]
    return torch.stack(parts).sum()
