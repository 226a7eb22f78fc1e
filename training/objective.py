"""The joint objective of both tasks on one batch: which loss reads which prediction."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from training import losses
from training.batches import Batch
from training.configs import LossConfig
from training.marginals import assign_units, score_motion, score_units
from training.network import DualTalker, Prediction


@dataclass
class Priors:
    """Frozen tensors fitted on the training data before the first step."""

    unit_centers: Tensor
    """Centers of the acoustic units, `[units, per_step * mel_bands]`."""
    bigram: Tensor
    """log P(unit | previous unit), `[units, units]`."""
    motion_prior: Tensor
    """Autoregressive Gaussian of motion, `[3, 52]`."""
    lip_basis: Tensor
    """Lip vertices' deltas of the default head, metres, `[52, lips * 3]`."""


def name_units(network: DualTalker, clean: Tensor, priors: Priors) -> Tensor:
    """Acoustic units `[batch, frames]` of the un-augmented audio, aligned with motion frames.

    A motion frame's unit is that of the hop that begins at its instant.
    """
    frames = clean.shape[1] // network.config.hop_samples - network.config.shift_frames
    with torch.no_grad():
        features = network.audio_encoder.features(clean)[:, :frames]
        return assign_units(features, priors.unit_centers)


def read_with_fixed_reader(network: DualTalker, motion: Tensor) -> tuple[Tensor, Tensor]:
    """Read lips without teaching the reader: gradients reach the motion alone.

    Otherwise reader and animation could agree on a private code instead of on readable lips.
    """
    encoder = {k: v.detach() for k, v in network.motion_encoder.named_parameters()}
    reader = {k: v.detach() for k, v in network.lip_reader.named_parameters()}
    latents = functional_call(network.motion_encoder, encoder, (motion,))
    return functional_call(network.lip_reader, reader, (latents,))  # type: ignore[no-any-return]


def compute_losses(
    network: DualTalker,
    batch: Batch,
    priors: Priors,
    config: LossConfig,
    generator: torch.Generator,
    dual_on_prediction: bool = True,
) -> dict[str, Tensor]:
    """Return every switched-on term, unweighted, and their weighted sum as `total`.

    `dual_on_prediction` switches the terms in which the lip reader judges predicted motion: they
    mean nothing before the reader has learned.
    """
    out = network.animate(batch.audio, batch.style)
    terms: dict[str, Tensor] = {}
    if config.motion:
        terms["motion"] = losses.motion_loss(out.weights, batch.motion, batch.mask)
    if config.velocity:
        terms["velocity"] = losses.velocity_loss(out.weights, batch.motion, batch.mask)
    if config.lip_vertices:
        terms["lip_vertices"] = losses.lip_vertex_loss(
            out.weights, batch.motion, batch.mask, priors.lip_basis
        )
    if config.closure:
        terms["closure"] = losses.closure_loss(out.gate_logit, batch.closed, batch.closed_mask)
    if config.dual_is_on():
        _add_dual_terms(terms, network, batch, priors, config, generator, dual_on_prediction, out)
    terms["total"] = torch.stack([getattr(config, k) * v for k, v in terms.items()]).sum()
    return terms


def _add_dual_terms(
    terms: dict[str, Tensor],
    network: DualTalker,
    batch: Batch,
    priors: Priors,
    config: LossConfig,
    generator: torch.Generator,
    dual_on_prediction: bool,
    out: Prediction,
) -> None:
    units = name_units(network, batch.clean, priors)
    frames = units.shape[1]
    in_speech = batch.speech.unsqueeze(1).expand(-1, frames)
    in_paired = (batch.paired * batch.speech).unsqueeze(1).expand(-1, frames)
    true_latents = network.motion_encoder(batch.motion)
    phone_scores, unit_scores = network.lip_reader(true_latents)
    if config.lipread_true:
        known = batch.has_phones * batch.paired
        terms["lipread_true"] = losses.unit_loss(unit_scores, units, in_paired)
        terms["lipread_true"] = terms["lipread_true"] + losses.phone_loss(
            phone_scores, batch.phones, batch.phone_counts, known
        )
    if config.consistency:
        terms["consistency"] = losses.consistency_loss(
            network.audio_joint(out.latents),
            network.motion_joint(true_latents),
            in_paired * (batch.mask.amax(-1) > 0),
            network.joint_temperature,
            generator,
        )
    if config.lipread_predicted and dual_on_prediction:
        # Channels that a clip's motion lacks were zero when the reader learned from that clip.
        seen = torch.where(batch.paired[:, None, None] > 0, batch.mask.amax(1, keepdim=True), 1.0)
        read_phones, read_units = read_with_fixed_reader(network, out.weights * seen)
        terms["lipread_predicted"] = losses.unit_loss(
            read_units, units, in_speech
        ) + losses.phone_loss(read_phones, batch.phones, batch.phone_counts, batch.has_phones)
    if config.duality and dual_on_prediction:
        both = batch.paired * batch.speech
        picked = unit_scores.gather(-1, units.unsqueeze(-1)).squeeze(-1).mean(1)
        terms["duality"] = losses.duality_loss(
            losses.gaussian_log_likelihood(
                out.weights, batch.motion, network.animation.log_scale, batch.mask
            ),
            score_units(units, priors.bigram),
            picked,
            score_motion(batch.motion, priors.motion_prior, batch.mask),
            both,
        )
