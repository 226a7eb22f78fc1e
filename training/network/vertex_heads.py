"""Vertex heads: one trunk moves several meshes, each through a basis of its displacements."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

ARKIT = "arkit"


def fit_basis(displacements: np.ndarray, rank: int) -> np.ndarray:
    """Find the principal directions of displacements `[frames, vertices * 3]` from the template.

    Returns what one unit of each coordinate moves, float32 `[rank, vertices * 3]`. No mean is
    taken off, so that all coordinates at zero are the neutral face. The directions are orthogonal
    and equally long, so that the summed squares of coordinates measure squared distance on the
    whole mesh; their length makes that sum 1 for the average frame.

    Displacements are float32. Raises:
        ValueError: there are fewer frames than directions.
    """
    frames = len(displacements)
    if frames < rank:
        raise ValueError(
            f"found {frames} frames, expected at least {rank} (one per coordinate): give more "
            "data or lower --network.vertex.rank"
        )
    gram = displacements @ displacements.T
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    values = np.maximum(values, 1e-12 * max(float(values[0]), 1e-12))
    orthonormal = (vectors / np.sqrt(values)).T.astype(np.float32) @ displacements
    scale = np.sqrt(values.sum() / frames)
    return np.asarray(orthonormal * scale, np.float32)


def project(displacements: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Return coordinates `[frames, rank]` of displacements `[frames, vertices * 3]`."""
    square = float((directions[0].astype(np.float64) ** 2).sum())
    return np.asarray(displacements @ directions.T / square, dtype=np.float32)


def measure_lips(directions: np.ndarray, lips: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Return the metric `[rank, rank]` in which coordinates' differences are lip distances.

    d metric d^T is the summed squared distance of the lip vertices `[n]`, relative to its mean
    from neutral over the training frames' coordinates `[frames, rank]`.
    """
    moved = directions.reshape(len(directions), -1, 3)[:, lips].reshape(len(directions), -1)
    metric = moved.astype(np.float64) @ moved.T.astype(np.float64)
    mean = np.einsum("fr,rs,fs->f", coordinates, metric, coordinates).mean()
    return np.asarray(metric / max(float(mean), 1e-12), dtype=np.float32)


class VertexHead(nn.Module):
    """Trunk activations -> coordinates of one mesh, and what is needed to judge and draw them."""

    directions: Tensor
    lip_metric: Tensor
    lip_vertices: Tensor
    motion_prior: Tensor
    style_indices: Tensor

    def __init__(self, channels: int, rank: int, vertices: int, lips: int, styles: int) -> None:
        """Make an empty head; `fit` or a checkpoint fills its frozen tensors.

        `styles` counts the subjects that it was trained on.
        """
        super().__init__()
        self.rank = rank
        self.outlet = nn.Linear(channels, rank)
        nn.init.normal_(self.outlet.weight, std=0.3 / channels**0.5)
        # Learned scale of the Gaussian motion likelihood, per coordinate (duality term).
        self.log_scale = nn.Parameter(torch.full((rank,), -2.5))
        self.register_buffer("directions", torch.zeros(rank, vertices * 3))
        self.register_buffer("lip_metric", torch.zeros(rank, rank))
        self.register_buffer("lip_vertices", torch.zeros(lips, dtype=torch.int32))
        self.register_buffer("motion_prior", torch.zeros(3, rank))
        self.register_buffer("style_indices", torch.zeros(styles, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Map activations `[batch, time, channels]` to coordinates `[batch, time, rank]`."""
        coordinates: Tensor = self.outlet(x)
        return coordinates

    def pose(self, coordinates: Tensor, template: Tensor) -> Tensor:
        """Return vertices `[frames, vertices, 3]` of coordinates `[frames, rank]`.

        `template` `[vertices, 3]` is the subject's neutral face, in the data set's unit.
        """
        moved = coordinates.float() @ self.directions
        return template + moved.unflatten(-1, (-1, 3))
