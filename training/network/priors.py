"""Priors: frozen simple models of speech and motion, for acoustic units and the duality term."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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

    def to(self, device: torch.device) -> Priors:
        """Return the priors with every tensor on `device`."""
        return Priors(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def fit_units(features: np.ndarray, units: int, seed: int) -> np.ndarray:
    """Cluster acoustic features `[frames, dims]` by k-means; returns centers `[units, dims]`.

    Raises:
        ValueError: fewer frames than units.
    """
    from scipy.cluster.vq import kmeans2

    if len(features) < units:
        raise ValueError(
            f"found {len(features)} feature frames, expected at least {units} (one per unit); "
            "give more audio or lower --network.units"
        )
    centers, _ = kmeans2(
        features.astype(np.float64), units, iter=25, minit="++", seed=seed, missing="warn"
    )
    return centers.astype(np.float32)


def assign_units(features: Tensor, centers: Tensor) -> Tensor:
    """Name the nearest center of each frame: `[batch, frames, dims]` -> int `[batch, frames]`."""
    return torch.cdist(features, centers.unsqueeze(0).expand(len(features), -1, -1)).argmin(-1)


def fit_bigram(sequences: list[np.ndarray], units: int) -> np.ndarray:
    """Return add-one smoothed log P(unit | previous unit) `[units, units]`."""
    counts = np.ones((units, units))
    for sequence in sequences:
        np.add.at(counts, (sequence[:-1], sequence[1:]), 1.0)
    return np.log(counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)


def score_units(sequence: Tensor, bigram: Tensor) -> Tensor:
    """Mean log P̂(units) in nats per frame: `[batch, frames]` -> `[batch]`."""
    return bigram[sequence[:, :-1], sequence[:, 1:]].mean(1)


def fit_motion_prior(motions: list[np.ndarray]) -> np.ndarray:
    """Fit y_t ~ N(a y_{t-1} + b, s²) per channel; returns `[3, 52]` of a, b, log s.

    The scale is floored at 0.01 (a hundredth of a blendshape): channels that never move would
    otherwise have infinite likelihood.
    """
    before = np.concatenate([m[:-1] for m in motions])
    after = np.concatenate([m[1:] for m in motions])
    before_mean, after_mean = before.mean(0), after.mean(0)
    variance = ((before - before_mean) ** 2).mean(0) + 1e-6
    slope = ((before - before_mean) * (after - after_mean)).mean(0) / variance
    offset = after_mean - slope * before_mean
    scale = np.sqrt(((after - slope * before - offset) ** 2).mean(0))
    return np.stack([slope, offset, np.log(np.maximum(scale, 0.01))]).astype(np.float32)


def measure_scales(prior: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far and how fast each channel usually moves, both `[52]`.

    They are the standard deviations of a channel and of its frame-to-frame difference under the
    prior (a first-order autoregression's: s / sqrt(1 - a²), and sqrt(2 (1 - a)) of that), but at
    least 0.05 and 0.02: channels that hardly move must not rule the objective.
    """
    slope = prior[0].clamp(0.0, 0.999)
    spread = torch.exp(prior[2]) / (1.0 - slope.square()).sqrt()
    speed = (2.0 * (1.0 - slope)).sqrt() * spread
    return spread.clamp_min(0.05), speed.clamp_min(0.02)


def score_motion(motion: Tensor, prior: Tensor, mask: Tensor) -> Tensor:
    """Mean log P̂(motion) in nats per supervised value: `[batch, frames, 52]` -> `[batch]`."""
    slope, offset, log_scale = prior
    z = (motion[:, 1:] - slope * motion[:, :-1] - offset) * torch.exp(-log_scale)
    each = -0.5 * z * z - log_scale - 0.9189385332046727
    kept = mask[:, 1:]
    return (each * kept).sum((1, 2)) / kept.sum((1, 2)).clamp_min(1.0)
