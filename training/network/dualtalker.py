"""The DualTalker network: two encoders and two tasks over whole batches and utterances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualtalker.arkit import ARKIT_NAMES
from training.configs import NetworkConfig
from training.network.decoders import (
    REST,
    AnimationDecoder,
    LipReadingDecoder,
    finish_motion,
    touch_lips,
)
from training.network.encoders import AudioEncoder, MotionEncoder
from training.network.vertex_heads import ARKIT, VertexHead
from training.network.wav2vec2 import Wav2Vec2Encoder


@dataclass(frozen=True)
class HeadPlan:
    """Sizes of one vertex head; its tensors come from the data or from a checkpoint."""

    name: str
    """Name of the data set, e.g. `vocaset`; its styles begin with it."""
    rank: int
    """Coordinates in which the mesh moves."""
    vertices: int
    """Vertices of the mesh."""
    lips: int
    """Vertices of the lips among them."""
    styles: int
    """Subjects that it is trained on."""


@dataclass
class Prediction:
    """What the primary task says of a batch; time is aligned with motion frames."""

    weights: Tensor
    """Weights with the contacts applied, not clamped, `[batch, frames, 52]`; or coordinates."""
    gate_logit: Tensor
    """Logits of the lips' contacts, and of rest where it is decided, `[batch, frames, gates]`."""
    latents: Tensor
    """Audio latents of the same instants, `[batch, frames, channels]`."""


class DualTalker(nn.Module):
    """Speech -> motion (primary) and motion -> speech content (dual) over shared encoders.

    arXiv 2311.04766 states the two tasks, the shared encoders and the consistency loss; the
    layers are ours (see docs/method.md).
    """

    def __init__(
        self,
        config: NetworkConfig,
        active: list[bool],
        styles: list[str],
        phones: list[str],
        heads: list[HeadPlan] | None = None,
        architecture: dict[str, Any] | None = None,
    ) -> None:
        """Build the network.

        `heads` are the vertex heads beside ARKit's, `architecture` is a checkpoint's of its
        wav2vec2 encoder.
        """
        super().__init__()
        if config.early_contacts and config.shift_frames < 1:
            raise ValueError(
                f"found a lookahead of {config.lookahead_samples} samples, expected at least "
                f"{2 * config.hop_samples} with early contacts: give --network.lookahead-samples"
            )
        if config.rest_gate and len(config.contacts) != REST:
            raise ValueError(
                f"found the contacts {config.contacts}, expected both with a gate of rest: give "
                "--network.contacts bilabial labiodental"
            )
        self.config = config
        self.phones = list(phones)
        self.head_plans = list(heads or [])
        self.audio_encoder = build_encoder(config, architecture)
        self.motion_encoder = MotionEncoder(config, len(ARKIT_NAMES))
        self.animation = AnimationDecoder(config, active, styles)
        self.lip_reader = LipReadingDecoder(config, len(phones))
        self.audio_joint = nn.Linear(config.channels, config.joint_channels)
        self.motion_joint = nn.Linear(config.motion_channels, config.joint_channels)
        self.joint_temperature = nn.Parameter(torch.tensor(-2.3))
        for plan in self.head_plans:
            head = VertexHead(config.channels, plan.rank, plan.vertices, plan.lips, plan.styles)
            self.animation.vertex_heads[plan.name] = head
            self.motion_encoder.add_head(plan.name, plan.rank)

    def styles_of(self, head: str) -> Tensor | None:
        """Indices of the styles that a vertex head was trained on; None (all) for ARKit."""
        if head == ARKIT:
            return None
        indices: Tensor = self.animation.vertex_heads[head].style_indices  # type: ignore[assignment]
        return indices

    def animate(self, audio: Tensor, style: Tensor, head: str = ARKIT) -> Prediction:
        """Primary task over audio `[batch, steps * hop]` with style indices `[batch]`.

        The first `shift_frames` steps depict instants before the audio and are dropped, so that
        frame k of the result depicts time k / model_rate_hz.
        """
        shift = self.config.shift_frames
        latents = self.audio_encoder(audio)
        motion, gate_logit, _ = self.animation(latents, self.animation.style(style), head=head)
        motion, gate_logit = motion.float(), gate_logit.float()
        if head == ARKIT:
            # The gates learn from labels alone: motion losses must not teach them to hedge.
            contacts = gate_logit[..., : len(self.config.contacts)]
            motion = touch_lips(motion, torch.sigmoid(contacts).detach())
        return Prediction(motion[:, shift:], gate_logit[:, shift:], latents[:, shift:])

    def animate_whole(self, audio: Tensor, style: Tensor, head: str = ARKIT) -> Tensor:
        """Map a whole utterance `[1, samples]` to finished motion `[frames, C]` of one head.

        `style` is a vector `[1, 16]`. Frame k depicts k / model_rate_hz; silence is appended so
        that every instant of the audio is depicted. Any encoder, any length.
        """
        config = self.config
        steps = -(-audio.shape[1] // config.hop_samples) + config.shift_frames
        padded = functional.pad(audio, (0, steps * config.hop_samples - audio.shape[1]))
        motion, gate_logit, _ = self.animation(self.audio_encoder(padded), style, head=head)
        return finish_motion(motion, gate_logit, head)[0, config.shift_frames :]

    def read_lips(self, motion: Tensor, head: str = ARKIT) -> dict[str, Tensor]:
        """Dual task over motion `[batch, frames, C]`; see `LipReadingDecoder.forward`."""
        scores: dict[str, Tensor] = self.lip_reader(self.motion_encoder(motion, head))
        return scores


def build_encoder(
    config: NetworkConfig, architecture: dict[str, Any] | None = None
) -> AudioEncoder | Wav2Vec2Encoder:
    """Return the audio encoder that `config.encoder.kind` names.

    Raises:
        ValueError: there is no such kind.
    """
    if config.encoder.kind == "streaming":
        return AudioEncoder(config)
    if config.encoder.kind == "wav2vec2":
        return Wav2Vec2Encoder(config, architecture)
    raise ValueError(
        f"encoder.kind is {config.encoder.kind!r}, expected `streaming` or `wav2vec2`"
    )


def let_learn(network: DualTalker, parts: tuple[str, ...]) -> None:
    """Let those parameters alone learn whose names begin with one of `parts`.

    Raises:
        ValueError: a part names no parameter.
    """
    names = [name for name, _ in network.named_parameters()]
    for part in parts:
        if not any(name.startswith(part) for name in names):
            modules = sorted({".".join(name.split(".")[:2]) for name in names})
            raise ValueError(f"--learn {part} names nothing of {', '.join(modules)}")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name.startswith(parts))
