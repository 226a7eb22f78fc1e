"""Power spectra in two short matrix products, for graphs: every engine has those, few a DFT."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

WIDEST = 16  # samples in a row of a window: more weigh more


class ShortSpectrum(nn.Module):
    """Samples `[1, window + (frames - 1) * hop]` to power `[frames, columns]` of tapered windows.

    A DFT as one product reads a matrix of window times bins. This is the transform of Cooley and
    Tukey (1965), split once: with a window in rows of C samples, R = fft_size / C, W_n =
    exp(-2 pi i / n) and a bin k = a + R b, X[k] is the sum over c of
    W_C^(b c) * W_fft_size^(a c) * (the sum over r of W_R^(a r) * x[C r + c]).
    Of real samples, a from 0 to R / 2 tells all: bins past the middle mirror those before it.
    """

    bins: Tensor
    picks: Tensor
    taper: Tensor
    across: Tensor
    turns: Tensor
    to_real: Tensor
    to_imaginary: Tensor

    def __init__(self, taper: Tensor, hop: int, fft_size: int, frames: int) -> None:
        """Take `taper` `[window]` and how many `frames` a call sees, `hop` samples apart.

        `fft_size` is a power of two, at least the window.
        """
        super().__init__()
        self.frames, self.fft_size = frames, fft_size
        self.width = width = math.gcd(len(taper), hop, WIDEST)
        window = len(taper) // width
        picks = np.arange(window) + hop // width * np.arange(frames)[:, None]
        self.register_buffer("picks", torch.tensor(picks), False)
        self._keep("taper", taper.reshape(window, width))

        turns_round = fft_size // width
        a, c = np.arange(turns_round // 2 + 1)[:, None], np.arange(width)
        real, imaginary = _turn(a * np.arange(window), turns_round)
        # A complex product is four real ones: of what each is, and by what it is multiplied.
        self._keep("across", np.stack([real, imaginary, real, imaginary], 1))
        real, imaginary = _turn(a * c, fft_size)
        self._keep("turns", np.stack([real, imaginary, imaginary, real], 1))
        real, imaginary = _turn(np.outer(c, c), width)
        self._keep("to_real", np.concatenate([real, -real, -imaginary, -imaginary]))
        self._keep("to_imaginary", np.concatenate([imaginary, -imaginary, real, real]))
        bins = (a + turns_round * c).flatten()
        self.register_buffer("bins", torch.tensor(np.minimum(bins, fft_size - bins)), False)

    def _keep(self, name: str, values: np.ndarray | Tensor) -> None:
        tensor = _to_tensor(values)
        self.register_buffer(name, tensor.reshape(-1, tensor.shape[-1]), False)

    def fold(self, filters: Tensor) -> Tensor:
        """Map filters `[fft_size / 2 + 1, bands]` to those of the columns `[columns, bands]`."""
        # Bins of a = 0 and of a = R / 2 are there twice.
        counts = torch.bincount(self.bins, minlength=len(filters))
        return (filters / counts[:, None])[self.bins]

    def forward(self, samples: Tensor) -> Tensor:
        """Map samples to power; column i is that of bin `bins[i]`."""
        rows = samples.reshape(-1, self.width)
        windows = functional.embedding(self.picks, rows) * self.taper
        products = torch.matmul(self.across, windows) * self.turns
        products = products.reshape(-1, 4 * self.width)
        real, imaginary = products @ self.to_real, products @ self.to_imaginary
        return (real * real + imaginary * imaginary).reshape(self.frames, -1)


def _turn(steps: np.ndarray, round_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary part of exp(-2 pi i steps / round_steps)."""
    angle = 2 * np.pi * steps / round_steps
    return np.cos(angle), -np.sin(angle)


def _to_tensor(values: np.ndarray | Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32).contiguous()
