"""The DualTalker network: two encoders, two tasks, and the streaming graph that robots run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualtalker.arkit import ARKIT_NAMES
from training.configs import NetworkConfig
from training.decoders import AnimationDecoder, LipReadingDecoder, close_lips
from training.encoders import AudioEncoder, MotionEncoder


@dataclass
class Prediction:
    """What the primary task says of a batch; time is aligned with motion frames."""

    weights: Tensor
    """Blendshape weights with the closure applied, not clamped, `[batch, frames, 52]`."""
    gate_logit: Tensor
    """Logit of the bilabial closure, `[batch, frames, 1]`."""
    latents: Tensor
    """Audio latents of the same instants, `[batch, frames, channels]`."""


def sharpen_gate(logit: Tensor) -> Tensor:
    """Turn the closure's logit into a gate that is exactly 0 or 1 except near the decision."""
    return torch.clamp((torch.sigmoid(logit) - 0.25) / 0.3, 0.0, 1.0)


class DualTalker(nn.Module):
    """Speech -> motion (primary) and motion -> speech content (dual) over shared encoders.

    arXiv 2311.04766 states the two tasks, the shared encoders and the consistency loss; the
    layers are ours (see docs/method.md).
    """

    def __init__(
        self, config: NetworkConfig, active: list[bool], styles: list[str], phones: list[str]
    ) -> None:
        super().__init__()
        self.config = config
        self.phones = list(phones)
        self.audio_encoder = AudioEncoder(config)
        self.motion_encoder = MotionEncoder(config, len(ARKIT_NAMES))
        self.animation = AnimationDecoder(config, active, styles)
        self.lip_reader = LipReadingDecoder(config, len(phones))
        self.audio_joint = nn.Linear(config.channels, config.joint_channels)
        self.motion_joint = nn.Linear(config.motion_channels, config.joint_channels)
        self.joint_temperature = nn.Parameter(torch.tensor(-2.3))

    def animate(self, audio: Tensor, style: Tensor) -> Prediction:
        """Primary task over audio `[batch, steps * hop]` with style indices `[batch]`.

        The first `shift_frames` steps depict instants before the audio and are dropped, so that
        frame k of the result depicts time k / model_rate_hz.
        """
        latents = self.audio_encoder(audio)
        weights, gate_logit, _ = self.animation(latents, self.animation.style(style))
        # The gate learns from closure labels alone: motion losses must not teach it to hedge.
        weights = close_lips(weights, torch.sigmoid(gate_logit).detach())
        shift = self.config.shift_frames
        return Prediction(weights[:, shift:], gate_logit[:, shift:], latents[:, shift:])

    def read_lips(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Dual task over motion `[batch, frames, 52]`; see `LipReadingDecoder.forward`."""
        return self.lip_reader(self.motion_encoder(motion))


class StreamingTalker(nn.Module):
    """The exported graph: one hop of audio and the state -> finished motion and the new state."""

    def __init__(self, network: DualTalker, mixture: dict[str, float]) -> None:
        super().__init__()
        self.encoder = network.audio_encoder
        self.decoder = network.animation
        self.register_buffer("style", network.animation.mix_styles(mixture).detach().clone())

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of all state tensors in the order of `forward`."""
        return self.encoder.state_shapes() + self.decoder.state_shapes()

    def new_state(self) -> list[Tensor]:
        """Return the state before the first hop: zeros."""
        return [torch.zeros(shape) for shape in self.state_shapes()]

    def forward(self, audio: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Map audio `[1, hop]` and state to motion `[1, 1, 52]` in [0, 1] and the new state."""
        split = len(self.encoder.state_shapes())
        latents, audio_state = self.encoder.step(audio, list(state[:split]))
        weights, gate_logit, decoder_state = self.decoder(latents, self.style, list(state[split:]))
        motion = close_lips(weights.clamp(0.0, 1.0), sharpen_gate(gate_logit))
        return (motion.clamp(0.0, 1.0), *audio_state, *decoder_state)

    def run(self, audio: Tensor) -> Tensor:
        """Map whole audio `[1, samples]` to motion `[frames, 52]`, frame k at k / model_rate_hz.

        The parallel form of `forward`: silence is appended so that every instant is depicted.
        """
        config = self.encoder.config
        hop = config.hop_samples
        total = audio.shape[1]
        steps = -(-total // hop) + config.shift_frames
        padded = functional.pad(audio, (0, steps * hop - total))
        latents = self.encoder(padded)
        weights, gate_logit, _ = self.decoder(latents, self.style)
        motion = close_lips(weights.clamp(0.0, 1.0), sharpen_gate(gate_logit)).clamp(0.0, 1.0)
        return motion[0, config.shift_frames :]
