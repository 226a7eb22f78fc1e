"""The loss terms, each a plain function with its formula and source; none knows the network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` (broadcastable, 0/1) is set; 0 where nothing is."""
    mask = mask.expand_as(values)
    return (values * mask).sum() / mask.sum().clamp_min(1.0)


def motion_loss(predicted: Tensor, target: Tensor, mask: Tensor, scale: Tensor) -> Tensor:
    """Reconstruction: mean of ((p - y) / scale)^2 over supervised channels.

    Shapes: weights `[batch, frames, 52]`, mask `[batch, frames, 52]`, scale `[52]` (how far each
    channel usually moves, `training.network.priors.measure_scales`), so that 1 is about as
    wrong as a face that never moves. Ours. Squared on purpose: what sound leaves open makes the
    absolute error's optimum the median, which for a mouth is nearly shut; the squared error's is
    the mean.
    """
    return masked_mean(((predicted - target) / scale).square(), mask)


def velocity_loss(predicted: Tensor, target: Tensor, mask: Tensor, scale: Tensor) -> Tensor:
    """Mean of ((Δp - Δy) / scale)^2 of frame-to-frame differences.

    As in VOCA (Cudeiro et al. 2019, eq. 3), but relative to how fast each channel usually moves,
    scale `[52]`. Shapes as in `motion_loss`. Frames on either side of a difference must both be
    supervised.
    """
    moved = predicted[:, 1:] - predicted[:, :-1]
    truth = target[:, 1:] - target[:, :-1]
    return masked_mean(((moved - truth) / scale).square(), mask[:, 1:] * mask[:, :-1])


def lip_vertex_loss(predicted: Tensor, target: Tensor, mask: Tensor, basis: Tensor) -> Tensor:
    """Mean squared distance of lip vertices, in square centimetres, on a linear rig.

    `basis` `[52, lips * 3]` holds the lip vertices' deltas in metres; weights `[batch, frames,
    52]`. Unsupervised channels count as agreeing. Ours: blendshapes of unlike reach are weighed
    by what they move.
    """
    error = (predicted - target) * mask
    moved = (error @ basis).unflatten(-1, (-1, 3)) * 100.0
    return masked_mean(moved.square().sum(-1), mask.amax(-1, keepdim=True))


def vertex_loss(
    predicted: Tensor, target: Tensor, mask: Tensor, metric: Tensor | None = None
) -> Tensor:
    """Mean over frames of d·metric·d for differences d of a mesh's coordinates.

    The coordinates' directions are orthogonal and equally long, so that without a metric this is
    the squared vertex distance ‖y - ŷ‖² of VOCA (Cudeiro et al. 2019, eq. 2) within the basis, at
    the cost of `rank` numbers instead of `vertices * 3`; with the lips' metric it is that of the
    lip vertices alone (`training.network.vertex_heads.measure_lips`). Ours: relative to the mean
    displacement, so that 1 is as wrong as a face at rest.

    Shapes: coordinates and mask `[batch, frames, rank]`, metric `[rank, rank]`.
    """
    error = (predicted - target) * mask
    squared = error.square() if metric is None else (error @ metric) * error
    return masked_mean(squared.sum(-1, keepdim=True), mask.amax(-1, keepdim=True))


def vertex_velocity_loss(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean ‖Δy - Δŷ‖² of frame-to-frame differences of coordinates (VOCA, eq. 3).

    Shapes and scale as in `vertex_loss`; frames on either side must both be supervised.
    """
    return vertex_loss(
        predicted[:, 1:] - predicted[:, :-1],
        target[:, 1:] - target[:, :-1],
        mask[:, 1:] * mask[:, :-1],
    )


def contact_loss(logit: Tensor, contacts: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy of the lips' contacts, summed; frames in touch weigh 3 times (ours).

    Shapes: logit and contacts (0/1) `[batch, frames, contacts]`, mask `[batch, frames, 1]`.
    """
    raw = functional.binary_cross_entropy_with_logits(logit, contacts, reduction="none")
    return masked_mean((raw * (1.0 + 2.0 * contacts)).sum(-1, keepdim=True), mask)


def rest_loss(logit: Tensor, rest: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy of where nobody speaks (ours); all `[batch, frames, 1]`."""
    raw = functional.binary_cross_entropy_with_logits(logit, rest, reduction="none")
    return masked_mean(raw, mask)


def unit_loss(log_probabilities: Tensor, units: Tensor, mask: Tensor) -> Tensor:
    """Framewise cross-entropy of acoustic units.

    Shapes: log-probabilities `[batch, frames, units]`, units `[batch, frames]` int, mask
    `[batch, frames]`.
    """
    picked = log_probabilities.gather(-1, units.unsqueeze(-1)).squeeze(-1)
    return masked_mean(-picked, mask)


def readable_rows(lengths: Tensor, known: Tensor, frames: int) -> Tensor:
    """Rows of a batch whose sequence is known and short enough for CTC over `frames`."""
    return torch.nonzero((known > 0) & (lengths > 0) & (lengths * 2 <= frames)).flatten()


def phone_loss(
    log_probabilities: Tensor, phones: Tensor, lengths: Tensor, has_phones: Tensor
) -> Tensor:
    """CTC (Graves et al. 2006) of phone sequences, per frame, over clips that have them.

    Shapes: log-probabilities `[batch, frames, phones + 1]` (blank 0), phones
    `[batch, longest]` (values from 1), lengths `[batch]`, has_phones `[batch]` 0/1.
    """
    frames = log_probabilities.shape[1]
    rows = readable_rows(lengths, has_phones, frames)
    if rows.numel() == 0:
        return log_probabilities.sum() * 0.0
    inputs = torch.full((rows.numel(),), frames, dtype=torch.long)
    # On the CPU: CUDA's gradient of CTC adds up in no fixed order, so that runs would differ.
    total = functional.ctc_loss(
        log_probabilities[rows].cpu().transpose(0, 1),
        phones[rows].cpu(),
        inputs,
        lengths[rows].cpu(),
        reduction="sum",
        zero_infinity=True,
    )
    return total.to(log_probabilities.device) / (rows.numel() * frames)


def consistency_loss(
    audio: Tensor, motion: Tensor, mask: Tensor, temperature: Tensor, generator: torch.Generator
) -> Tensor:
    """Cross-modal consistency: latents of one instant agree, of other instants are apart.

    arXiv 2311.04766 states such a loss against over-smoothing; this form, InfoNCE (van den Oord
    et al. 2018) in both directions over instants drawn from the batch, is ours. Time-mismatched
    frames of the same clip are the hard negatives.

    Shapes: audio and motion `[batch, frames, joint]`, mask `[batch, frames]`.
    """
    scores, _ = contrast_instants(audio, motion, mask, temperature, generator)
    if len(scores) < 2:
        return (audio.sum() + motion.sum()) * 0.0
    truth = torch.arange(len(scores), device=scores.device)
    return 0.5 * (
        functional.cross_entropy(scores, truth) + functional.cross_entropy(scores.T, truth)
    )


def contrast_instants(
    audio: Tensor, motion: Tensor, mask: Tensor, temperature: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return how alike audio and motion of instants drawn from a batch are, and which they are.

    Scores `[n, n]`, audio by motion, over the temperature, and places `[n]` in the flattened
    batch; both empty where fewer than two instants are known. Shapes as in `consistency_loss`.
    """
    rows = torch.nonzero(mask.flatten() > 0).flatten()
    if rows.numel() < 2:
        return audio.new_zeros(0, 0), rows[:0]
    drawn = rows[torch.randperm(rows.numel(), generator=generator)[:512].to(rows.device)]
    left = functional.normalize(audio.flatten(0, 1)[drawn], dim=-1)
    right = functional.normalize(motion.flatten(0, 1)[drawn], dim=-1)
    return left @ right.T * torch.exp(-temperature), drawn


def gaussian_log_likelihood(
    predicted: Tensor, target: Tensor, log_scale: Tensor, mask: Tensor
) -> Tensor:
    """log N(target; predicted, exp(log_scale)²) averaged over supervised channels.

    Shapes: `[batch, frames, 52]`, log_scale `[52]`; returns `[batch]` in nats per value.
    """
    z = (target - predicted) * torch.exp(-log_scale)
    each = -0.5 * z * z - log_scale - 0.9189385332046727
    return (each * mask).sum((1, 2)) / mask.sum((1, 2)).clamp_min(1.0)


def duality_loss(
    log_motion_given_audio: Tensor,
    log_audio: Tensor,
    log_audio_given_motion: Tensor,
    log_motion: Tensor,
    mask: Tensor,
) -> Tensor:
    """(log P̂(x) + log P(y|x) - log P̂(y) - log P(x|y))², mean over clips that have both.

    Dual supervised learning (Xia et al., ICML 2017, eq. 4) with x the acoustic units and y the
    motion; the marginals P̂ are frozen simple models (`training/network/priors.py`). All inputs
    `[batch]`, in nats per value, so that the four are of one size. Ours: the normalization.
    """
    gap = log_audio + log_motion_given_audio - log_motion - log_audio_given_motion
    return masked_mean(gap.square(), mask)
