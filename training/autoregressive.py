"""The autoregressive animation decoder, for comparison: a transformer over its own past motion."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.configs import NetworkConfig
from training.decoders import AnimationDecoder, finish_motion
from training.heads import ARKIT, VertexHead

Cache = list[tuple[Tensor, Tensor]]


def make_slopes(heads: int) -> Tensor:
    """Return the slopes `[heads]` of the linear biases (ALiBi, Press et al. 2022): 2^(-8h/n)."""
    return 2.0 ** (-8.0 * torch.arange(1, heads + 1) / heads)


class CachedAttentionLayer(nn.Module):
    """Pre-norm transformer layer whose self-attention looks back at most `history` frames.

    Distance is a linear bias and no embedding, so that a sequence may be of any length and the
    cache may be cut.
    """

    slopes: Tensor

    def __init__(self, channels: int, heads: int, history: int, dropout: float) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(
                f"autoregressive.attention_heads is {heads}, expected a divisor of the "
                f"{channels} channels"
            )
        self.heads, self.history = heads, history
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Linear(channels, 3 * channels)
        self.merge = nn.Linear(channels, channels)
        self.inner_norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, 2 * channels)
        self.narrow = nn.Linear(2 * channels, channels)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("slopes", make_slopes(heads), False)
        # The last call's attention [batch, heads, time, keys]: read by `describe_attention`.
        self.attention: Tensor | None = None

    def forward(
        self, x: Tensor, cache: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map `[batch, time, channels]`, after the cached frames, to the same shape.

        The cache is (keys, values), each `[batch, heads, frames, channels / heads]`, of at most
        `history` frames. Returns the output and the cache for the next call.
        """
        query, key, value = self._split(self.project(self.norm(x)))
        if cache is not None:
            key, value = torch.cat([cache[0], key], dim=2), torch.cat([cache[1], value], dim=2)
        times = torch.arange(key.shape[2], device=x.device)
        distance = times[key.shape[2] - x.shape[1] :, None] - times[None, :]
        bias = -self.slopes[:, None, None] * distance
        hidden = (distance < 0) | (distance > self.history)
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]) + bias
        attention = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        self.attention = attention.detach()
        mixed = (attention @ value).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.merge(mixed))
        x = x + self.dropout(self.narrow(functional.gelu(self.widen(self.inner_norm(x)))))
        return x, (key[:, :, -self.history :], value[:, :, -self.history :])

    def _split(self, projected: Tensor) -> tuple[Tensor, ...]:
        parts = projected.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return parts[0], parts[1], parts[2]


class AutoregressiveDecoder(AnimationDecoder):
    """Audio latents, a style and the motion so far -> the next frame of motion.

    As in FaceFormer (Fan et al. 2022) frame t sees all motion before it and the audio of its own
    instant: that paper's alignment bias leaves its cross-attention a single key, so here the
    audio, after the causal blocks, is simply added. Biases and the bounded look-back are ours.
    """

    def __init__(self, config: NetworkConfig, active: list[bool], styles: list[str]) -> None:
        super().__init__(config, active, styles)
        settings = config.autoregressive
        self.past = nn.Linear(len(active), config.channels)
        self.vertex_past = nn.ModuleDict()
        self.layers = nn.ModuleList(
            CachedAttentionLayer(
                config.channels, settings.attention_heads, settings.history_frames, config.dropout
            )
            for _ in range(settings.layers)
        )

    def add_head(self, name: str, head: VertexHead) -> None:
        """Give vertices through `head` as well, and look back at them."""
        super().add_head(name, head)
        self.vertex_past[name] = nn.Linear(head.rank, self.config.channels)

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Refuse: the cache grows, so there is no state of one shape."""
        raise ValueError("the autoregressive decoder is not exported; expected decoder `parallel`")

    def decode_after(
        self, x: Tensor, past: Tensor, head: str = ARKIT, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """Decode activations `[batch, time, channels]` of `run_blocks` into motion of `head`.

        `past` `[batch, time, C]` is the motion one frame before each. Teacher forcing gives all
        frames at once, free running one frame and the cache at a time; returns the new cache too.
        """
        embed = self.past if head == ARKIT else self.vertex_past[head]
        x = x + embed(past)
        new_cache = []
        for index, layer in enumerate(self.layers):
            x, kept = layer(x, None if cache is None else cache[index])
            new_cache.append(kept)
        return self.read_out(self.norm(x), head), new_cache

    def force(self, latents: Tensor, style: Tensor, past: Tensor, head: str = ARKIT) -> Tensor:
        """Decode in parallel after the true `past` `[batch, time, C]` (teacher forcing)."""
        x, _ = self.run_blocks(latents, style)
        return self.decode_after(x, past, head)[0]

    def run_freely(
        self, latents: Tensor, style: Tensor, head: str = ARKIT, cached: bool = True
    ) -> Tensor:
        """Decode frame by frame after the decoder's own motion, as it is shown.

        With `cached` false every frame recomputes all frames before it: the reference.
        """
        x, _ = self.run_blocks(latents, style)
        logits = self.decide(latents)
        embed = self.past if head == ARKIT else self.vertex_past[head]
        past = [latents.new_zeros(latents.shape[0], 1, int(embed.in_features))]  # type: ignore[arg-type]
        motions = []
        cache: Cache | None = None
        for frame in range(latents.shape[1]):
            if cached:
                motion, cache = self.decode_after(x[:, frame : frame + 1], past[-1], head, cache)
            else:
                motion, _ = self.decode_after(x[:, : frame + 1], torch.cat(past, dim=1), head)
            motions.append(motion[:, -1:])
            past.append(finish_motion(motions[-1], logits[:, frame : frame + 1], head))
        return torch.cat(motions, dim=1)

    def forward(
        self,
        latents: Tensor,
        style: Tensor,
        state: list[Tensor] | None = None,
        head: str = ARKIT,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Run freely over the whole; arguments and result as of `AnimationDecoder.forward`.

        Raises:
            ValueError: a state is given.
        """
        if state is not None:
            self.state_shapes()
        return self.run_freely(latents, style, head), self.decide(latents), []


def describe_attention(decoder: nn.Module) -> dict[str, float]:
    """Return scalars of each layer's last attention: mean look-back (frames) and entropy (nats).

    Empty for a decoder without attention.
    """
    figures = {}
    layers = [m for m in decoder.modules() if isinstance(m, CachedAttentionLayer)]
    for index, layer in enumerate(layers):
        attention = layer.attention
        if attention is None:
            continue
        count, keys = attention.shape[2], attention.shape[3]
        times = torch.arange(keys, device=attention.device, dtype=torch.float32)
        distance = (times[keys - count :, None] - times[None, :]).clamp_min(0.0)
        back = (attention.float() * distance).sum(-1).mean()
        entropy = -(attention.float() * (attention.float() + 1e-9).log()).sum(-1).mean()
        figures[f"attention/layer_{index}_lookback_frames"] = float(back)
        figures[f"attention/layer_{index}_entropy_nats"] = float(entropy)
    return figures
