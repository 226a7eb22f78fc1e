"""Encoders shared by both tasks: speech (causal, streaming) and motion -> latents.

Every causal layer has two ways to run that are tested to agree: `forward` over a whole sequence,
and `step` over some hops with explicit state tensors (what the exported graphs do).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.configs import NetworkConfig


def mel_filters(bands: int, fft_size: int, sample_rate_hz: int) -> np.ndarray:
    """Return triangular mel filters `[bands, fft_size // 2 + 1]` from 60 Hz to 0.475 of the rate.

    Slaney-free HTK mel scale, m = 2595 log10(1 + f / 700) (Young et al., The HTK Book, 5.4).
    """

    def to_mel(frequency_hz: np.ndarray | float) -> np.ndarray:
        return 2595.0 * np.log10(1.0 + np.asarray(frequency_hz) / 700.0)

    edges_mel = np.linspace(to_mel(60.0), to_mel(0.475 * sample_rate_hz), bands + 2)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    bins_hz = np.arange(fft_size // 2 + 1) * sample_rate_hz / fft_size
    lower, center, upper = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising = (bins_hz - lower) / (center - lower)
    falling = (upper - bins_hz) / (upper - center)
    return np.maximum(0.0, np.minimum(rising, falling))


MEL_FLOOR = 1e-5  # power below which all is silence
MEL_SCALE = 0.2  # of its logarithm


class LogMel(nn.Module):
    """Log-mel spectrum; in the exported graph as well, as matrix products (`ShortSpectrum`)."""

    taper: Tensor
    filters: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.window = config.mel_window_samples
        self.hop = config.mel_hop_samples
        self.tail = self.window - self.hop
        self.fft_size = fft_size = 1 << (self.window - 1).bit_length()
        time = np.arange(self.window)
        taper = 0.5 - 0.5 * np.cos(2 * np.pi * (time + 0.5) / self.window)
        filters = mel_filters(config.mel_bands, fft_size, config.sample_rate_hz).T
        self.register_buffer("taper", torch.tensor(taper, dtype=torch.float32), False)
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32), False)

    def forward(self, samples: Tensor) -> Tensor:
        """Map samples `[batch, tail + frames * hop]` to log-mel `[batch, frames, bands]`.

        Frame f sees samples f * hop to f * hop + window; values are scaled to about [-1, 2].
        """
        windows = samples.unfold(1, self.window, self.hop) * self.taper
        spectrum = torch.fft.rfft(windows, n=self.fft_size)
        mel = (spectrum.real**2 + spectrum.imag**2) @ self.filters
        return torch.log(mel + MEL_FLOOR) * MEL_SCALE + 1.0

    def hear(self, audio: Tensor) -> Tensor:
        """Map audio `[batch, frames * hop]`, preceded by silence, to `[batch, frames, bands]`."""
        mel: Tensor = self(functional.pad(audio, (self.tail, 0)))
        return mel


class Encoder(nn.Module):
    """What both audio encoders have: the spectrum, of which acoustic units are named."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config)
        self.per_step = config.hop_samples // config.mel_hop_samples

    def features(self, audio: Tensor) -> Tensor:
        """Return log-mel `[batch, steps, per_step * bands]` of audio `[batch, steps * hop]`."""
        # A power spectrum spans more than bfloat16's eight bits of mantissa can hold.
        with torch.autocast(audio.device.type, enabled=False):
            mel = self.mel.hear(audio)
        return mel.reshape(mel.shape[0], -1, self.per_step * mel.shape[2])


class CausalBlock(nn.Module):
    """Residual block: causal dilated depthwise convolution, LayerNorm, gated pointwise layers."""

    def __init__(self, channels: int, kernel: int, dilation: int, expansion: int, dropout: float):
        super().__init__()
        self.dilation = dilation
        self.kernel = kernel
        self.history = (kernel - 1) * dilation
        self.taps = nn.Parameter(torch.randn(kernel, channels) / math.sqrt(kernel))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, 2 * expansion * channels)
        self.narrow = nn.Linear(expansion * channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, history: Tensor | None = None, style: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over `[batch, time, channels]` after `history` `[batch, history, channels]`.

        `style` `[batch, 1, 2 * channels]` scales and shifts the normalized activations (FiLM,
        Perez et al. 2018). Returns the output and the history for the next call.
        """
        if history is None:
            history = x.new_zeros(x.shape[0], self.history, x.shape[2])
        padded = torch.cat([history, x], dim=1)
        mixed = self._convolve(padded, x.shape[1])
        normal = self.norm(mixed)
        if style is not None:
            scale, offset = style.chunk(2, dim=-1)
            normal = normal * (1 + scale) + offset
        value, gate = self.widen(normal).chunk(2, dim=-1)
        out = x + self.dropout(self.narrow(value * torch.sigmoid(gate)))
        return out, padded[:, padded.shape[1] - self.history :]

    def _convolve(self, padded: Tensor, time: int) -> Tensor:
        if time == 1:
            # One hop: three nodes in the exported graph instead of fifteen, and the cost of a
            # small graph is its number of nodes.
            heard = padded[:, :: self.dilation] * self.taps
            return heard.sum(dim=1, keepdim=True) + self.bias
        # Slices and sums: quicker on a CPU than a grouped convolution over transposed data, and
        # every engine has them.
        mixed: Tensor = self.bias
        for tap in range(self.kernel):
            start = tap * self.dilation
            mixed = torch.addcmul(mixed, padded[:, start : start + time], self.taps[tap])
        return mixed


class AudioEncoder(Encoder):
    """Speech -> audio latents, causal; lookahead comes from delaying the predicted motion."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        if config.hop_samples % config.mel_hop_samples:
            raise ValueError(
                f"hop_samples {config.hop_samples} must be a multiple of mel_hop_samples "
                f"{config.mel_hop_samples}"
            )
        self.inlet = nn.Linear(config.mel_bands * self.per_step, config.channels)
        self.blocks = nn.ModuleList(
            CausalBlock(config.channels, config.kernel, d, config.expansion, config.dropout)
            for d in config.encoder_dilations
        )
        self.norm = nn.LayerNorm(config.channels)

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the state tensors of `step`: the audio tail, then one history per block."""
        histories = [(1, block.history, self.config.channels) for block in self.blocks]  # type: ignore[misc]
        return [(1, self.mel.tail), *histories]  # type: ignore[list-item]

    def forward(self, audio: Tensor) -> Tensor:
        """Map audio `[batch, steps * hop]` to latents `[batch, steps, channels]`."""
        x = self.inlet(self.features(audio))
        for block in self.blocks:
            x, _ = block(x)
        return self.norm(x)

    def step(self, audio: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Map audio `[1, steps * hop]` and the state to latents `[1, steps, channels]`.

        The new state comes with them.
        """
        samples = torch.cat([state[0], audio], dim=1)
        steps = audio.shape[1] // self.config.hop_samples
        mel = self.mel(samples)
        x = self.inlet(mel.reshape(1, steps, self.per_step * self.config.mel_bands))
        new_state = [samples[:, samples.shape[1] - self.mel.tail :]]
        for block, history in zip(self.blocks, state[1:], strict=True):
            x, kept = block(x, history)
            new_state.append(kept)
        return self.norm(x), new_state


class MotionBlock(nn.Module):
    """Residual block of the motion encoder: symmetric depthwise convolution, gated layers."""

    def __init__(self, channels: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        reach = (kernel - 1) * dilation // 2
        self.convolution = nn.Conv1d(
            channels, channels, kernel, padding=reach, dilation=dilation, groups=channels
        )
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(2 * channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, frames, channels]` to the same shape."""
        mixed = self.convolution(x.transpose(1, 2)).transpose(1, 2)
        value, gate = self.widen(self.norm(mixed)).chunk(2, dim=-1)
        return x + self.dropout(self.narrow(value * torch.sigmoid(gate)))


class MotionEncoder(nn.Module):
    """Facial motion -> motion latents. Used in training only, so it may look at the future."""

    def __init__(self, config: NetworkConfig, inputs: int) -> None:
        super().__init__()
        self.inlet = nn.Linear(2 * inputs, config.motion_channels)
        self.blocks = nn.ModuleList(
            MotionBlock(config.motion_channels, config.kernel, d, config.dropout)
            for d in config.motion_dilations
        )
        self.norm = nn.LayerNorm(config.motion_channels)
        # One more inlet for each vertex head, by its name.
        self.inlets = nn.ModuleDict()

    def add_head(self, name: str, inputs: int) -> None:
        """Learn to read motion of `inputs` channels of the head `name` as well."""
        self.inlets[name] = nn.Linear(2 * inputs, self.inlet.out_features)

    def forward(self, motion: Tensor, head: str = "arkit") -> Tensor:
        """Map motion `[batch, frames, C]` to latents `[batch, frames, motion_channels]`."""
        velocity = functional.pad(motion[:, 1:] - motion[:, :-1], (0, 0, 1, 0))
        inlet = self.inlet if head == "arkit" else self.inlets[head]
        x = inlet(torch.cat([motion, 4.0 * velocity], dim=-1))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)
