"""The wav2vec2 audio encoder (Baevski et al. 2020): whole utterances, resampled to motion frames.

It takes the place of `training.network.encoders.AudioEncoder` where a GPU is at hand; it cannot
stream.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.configs import EncoderConfig, NetworkConfig
from training.network.encoders import Encoder

# Of wav2vec2's convolutional front end: one feature each 320 samples, each of which sees 400.
SPACING = 320
REACH = 400
SHORTEST = 2 * REACH  # samples; anything shorter is padded with silence


def describe_architecture(config: EncoderConfig) -> dict[str, Any]:
    """Return transformers' configuration of the encoder, JSON-ready, so that a checkpoint has it.

    Raises:
        ValueError: the pretrained weights cannot be found, or have too few layers.
    """
    from transformers import Wav2Vec2Config

    if config.pretrained:
        try:
            found = Wav2Vec2Config.from_pretrained(config.pretrained)
        except OSError as error:
            raise ValueError(
                f"no wav2vec2 at encoder.pretrained = {config.pretrained!r} ({error}): give the "
                "folder that holds its config.json and model.safetensors"
            ) from error
        if found.num_hidden_layers < config.layers:
            raise ValueError(
                f"encoder.layers is {config.layers}, but {config.pretrained} has "
                f"{found.num_hidden_layers}: give --network.encoder.layers"
            )
    else:
        found = Wav2Vec2Config(
            hidden_size=config.hidden,
            num_attention_heads=config.attention_heads,
            intermediate_size=4 * config.hidden,
            conv_dim=(config.front_channels,) * 7,
        )
    # Masking and dropped layers draw from random states that a resumed run could not repeat.
    found.update(
        {
            "num_hidden_layers": config.layers,
            "apply_spec_augment": False,
            "layerdrop": 0.0,
            "vocab_size": 32,
        }
    )
    plain: dict[str, Any] = found.to_diff_dict()
    return plain


def make_resampling(features: int, frames: int, first_sample: int, hop: int) -> Tensor:
    """Return the matrix `[frames, features]` that interpolates features at motion frames.

    Feature j stands for the middle of what it sees, sample j * 320 + 200; frame k for sample
    first_sample + k * hop. Linear between features, constant beyond the outermost. A constant
    matrix, because interpolation operators differ from engine to engine.
    """
    wanted = (first_sample + torch.arange(frames) * hop - REACH // 2) / SPACING
    wanted = wanted.clamp(0, features - 1)
    below = wanted.floor().long().clamp(max=max(features - 2, 0))
    part = (wanted - below).float()
    matrix = torch.zeros(frames, features)
    rows = torch.arange(frames)
    matrix[rows, below] = 1.0 - part
    matrix[rows, (below + 1).clamp(max=features - 1)] += part
    return matrix


class Wav2Vec2Encoder(Encoder):
    """Speech -> audio latents of the width and timing of `AudioEncoder`, but not causal."""

    def __init__(self, config: NetworkConfig, architecture: dict[str, Any] | None = None) -> None:
        """Build from `architecture` (a checkpoint's), else load `config.encoder.pretrained`."""
        super().__init__(config)
        from transformers import Wav2Vec2Config, Wav2Vec2Model

        self.architecture = architecture or describe_architecture(config.encoder)
        shape = Wav2Vec2Config(**self.architecture)
        shape._attn_implementation = "eager"
        if architecture is None and config.encoder.pretrained:
            self.model = Wav2Vec2Model.from_pretrained(
                config.encoder.pretrained, config=shape, attn_implementation="eager"
            )
        else:
            self.model = Wav2Vec2Model(shape)
        if config.encoder.freeze_features:
            self.model.freeze_feature_encoder()
        self.outlet = nn.Linear(shape.hidden_size, config.channels)
        self.norm = nn.LayerNorm(config.channels)

    def encode(self, audio: Tensor, frames: int, first_sample: int = 0) -> Tensor:
        """Map audio `[batch, samples]` to latents `[batch, frames, channels]`.

        Latent k depicts sample first_sample + k * hop; beyond the audio's ends the outermost
        latent is held. The audio is brought to mean 0 and variance 1, as in pretraining.
        """
        audio = functional.pad(audio, (0, max(0, SHORTEST - audio.shape[1])))
        centered = audio - audio.mean(dim=1, keepdim=True)
        scale = torch.sqrt((centered * centered).mean(dim=1, keepdim=True) + 1e-7)
        hidden = self.model(centered / scale).last_hidden_state
        matrix = make_resampling(
            hidden.shape[1], frames, first_sample, self.config.hop_samples
        ).to(hidden.device)
        latents: Tensor = self.norm(self.outlet(matrix @ hidden.float()))
        return latents

    def forward(self, audio: Tensor) -> Tensor:
        """Map audio `[batch, steps * hop]` to latents `[batch, steps, channels]`.

        As with `AudioEncoder`, step i belongs to motion frame i - shift_frames.
        """
        config = self.config
        first_sample = -config.shift_frames * config.hop_samples
        return self.encode(audio, audio.shape[1] // config.hop_samples, first_sample)

    def train(self, mode: bool = True) -> Wav2Vec2Encoder:
        """Switch to training, but leave a frozen front end's statistics alone."""
        super().train(mode)
        if self.config.encoder.freeze_features:
            self.model.feature_extractor.eval()
        return self
