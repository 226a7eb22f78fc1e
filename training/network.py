"""The DualTalker network: two encoders, two tasks, and the streaming graph that robots run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualtalker.arkit import ARKIT_NAMES
from training.configs import NetworkConfig
from training.decoders import (
    GATE_GAIN,
    GATE_TAPS,
    SMOOTHING_FRAMES,
    AnimationDecoder,
    LipReadingDecoder,
    finish_motion,
    sharpen_gate,
    shut_lips,
    smooth_motion,
    touch_lips,
)
from training.encoders import AudioEncoder, MotionEncoder
from training.heads import ARKIT, VertexHead
from training.wav2vec2_encoder import Wav2Vec2Encoder

__all__ = [
    "DualTalker",
    "HeadPlan",
    "Prediction",
    "StreamingTalker",
    "WindowTalker",
    "sharpen_gate",
]


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
    """Logits of the lips' contacts, `[batch, frames, contacts]`."""
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
            motion = touch_lips(motion, torch.sigmoid(gate_logit).detach())
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

    def read_lips(self, motion: Tensor, head: str = ARKIT) -> tuple[Tensor, Tensor]:
        """Dual task over motion `[batch, frames, C]`; see `LipReadingDecoder.forward`."""
        return self.lip_reader(self.motion_encoder(motion, head))


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


class StreamingTalker(nn.Module):
    """The exported graph: one hop of audio and the state -> finished motion and the new state.

    With `styles` the graph takes their weights as well, `[1, styles]`, after the states.
    """

    style: Tensor
    style_table: Tensor

    def __init__(
        self,
        network: DualTalker,
        mixture: dict[str, float],
        smooth: bool = False,
        styles: tuple[str, ...] = (),
    ) -> None:
        """`smooth` smooths the motion (`smooth_motion`), for which it looks one frame further
        ahead unless contacts are early.

        `mixture` is the style where none is given, `styles` are those to choose from.
        """
        super().__init__()
        if not isinstance(network.audio_encoder, AudioEncoder):
            raise ValueError(
                "found a wav2vec2 encoder, expected `streaming`: export it as a window "
                "(`training.network.WindowTalker`)"
            )
        if not bool(network.animation.active.any()):
            raise ValueError(
                "this network has no ARKit head, only vertices of "
                f"{[plan.name for plan in network.head_plans]}; expected one of --data.corpus"
            )
        self.encoder = network.audio_encoder
        self.decoder = network.animation
        self.smooth = smooth
        self.early = network.config.early_contacts
        self.styles = tuple(styles)
        self.register_buffer("style", network.animation.mix_styles(mixture).detach().clone())
        self.register_buffer("style_table", tabulate_styles(network, self.styles))

    @property
    def _shown(self) -> int:
        """Weights and gates together."""
        return len(ARKIT_NAMES) + len(self.encoder.config.contacts)

    @property
    def _waits(self) -> int:
        """Frames by which smoothing delays what is shown."""
        return int(self.smooth and not self.early)

    @property
    def shift_frames(self) -> int:
        """Step i depicts motion frame i - shift_frames."""
        return self.encoder.config.shift_frames + self._waits

    @property
    def lookahead_samples(self) -> int:
        """Audio beyond a frame's instant that the frame depends on."""
        config = self.encoder.config
        return config.lookahead_samples + self._waits * config.hop_samples

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of all state tensors in the order of `forward`."""
        shapes = self.encoder.state_shapes() + self.decoder.state_shapes()
        return [*shapes, (1, self._kept, self._shown)] if self._kept else shapes

    @property
    def _kept(self) -> int:
        """Frames of motion and gates that the graph remembers."""
        return SMOOTHING_FRAMES if self.smooth else int(self.early)

    def new_state(self) -> list[Tensor]:
        """Return the state before the first hop: zeros."""
        return [torch.zeros(shape) for shape in self.state_shapes()]

    def forward(self, audio: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Map audio `[1, hop]` and state to motion `[1, 1, 52]` in [0, 1] and the new state.

        With `styles`, their weights `[1, styles]` are the last of `state`.
        """
        style = state[-1] @ self.style_table if self.styles else self.style
        split = len(self.encoder.state_shapes())
        end = split + len(self.decoder.state_shapes())
        latents, audio_state = self.encoder.step(audio, list(state[:split]))
        # Of one step alone, early contacts are the ones of the next frame.
        motion, logit, kept = self.decoder(latents, style, list(state[split:end]))
        motion, gate = motion.clamp(0.0, 1.0), sharpen_gate(logit)
        if not self._kept:
            return (shut_lips(motion, gate), *audio_state, *kept)
        frames = torch.cat([state[end], torch.cat([motion, gate], dim=2)], dim=1)
        count = len(ARKIT_NAMES)
        if self.smooth:
            shown = smooth_motion(frames[:, :, :count], frames[:, :, count:], early=self.early)
        else:
            shown = (motion, frames[:, :1, count:])
        return (shut_lips(*shown), *audio_state, *kept, frames[:, 1:])

    def run(
        self,
        audio: Tensor,
        weights: Tensor | None = None,
        taps: tuple[float, ...] = GATE_TAPS,
        gain: float = GATE_GAIN,
    ) -> Tensor:
        """Map whole audio `[1, samples]` to motion `[frames, 52]`, frame k at k / model_rate_hz.

        The parallel form of `forward`: silence is appended so that every instant is depicted.
        `weights` `[1, styles]` choose a style; None is the mixture. `taps` and `gain` try another
        smoothing of the gates than the exported one (`smooth_motion`).
        """
        return shut_lips(*self.run_apart(audio, weights, taps, gain))[0]

    def run_apart(
        self,
        audio: Tensor,
        weights: Tensor | None = None,
        taps: tuple[float, ...] = GATE_TAPS,
        gain: float = GATE_GAIN,
    ) -> tuple[Tensor, Tensor]:
        """Return motion without contacts `[1, frames, 52]` and the contacts' gates, as `run`."""
        style = self.style if weights is None else weights @ self.style_table
        hop = self.encoder.config.hop_samples
        steps = -(-audio.shape[1] // hop) + self.shift_frames
        padded = functional.pad(audio, (0, steps * hop - audio.shape[1]))
        latents = self.encoder(padded)
        motion, logit, _ = self.decoder(latents, style)
        motion, gate = motion.clamp(0.0, 1.0), sharpen_gate(logit)
        if self.smooth:
            if self.early:
                gate = sharpen_gate(self.decoder.gate(latents))
            # Frames of zeros before the first, as in the state before the first hop.
            ahead = (0, 0, SMOOTHING_FRAMES, 0)
            motion, gate = functional.pad(motion, ahead), functional.pad(gate, ahead)
            motion, gate = smooth_motion(motion, gate, taps, gain, self.early)
        return motion[:, self.shift_frames :], gate[:, self.shift_frames :]


def tabulate_styles(network: DualTalker, styles: tuple[str, ...]) -> Tensor:
    """Return vectors `[styles, 16]` of trained styles; raises ValueError for an unknown one."""
    vectors = [network.animation.mix_styles({name: 1.0})[0] for name in styles]
    return torch.stack(vectors).detach().clone() if vectors else torch.zeros(0, 16)


class WindowTalker(nn.Module):
    """Audio `[1, window]` -> finished motion `[1, window / hop + 1, 52]`: any encoder, no state.

    Frame k depicts sample k * hop of the window. For `engines.windowed.export_windowed` plan the
    window with `plan_window(..., spacing=hop)`. With `styles` the graph takes their
    weights `[1, styles]` after the audio.
    """

    style: Tensor
    style_table: Tensor

    def __init__(
        self, network: DualTalker, mixture: dict[str, float], styles: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        if not isinstance(network.audio_encoder, Wav2Vec2Encoder):
            raise ValueError(
                "found a streaming encoder, expected wav2vec2: export it with "
                "`python -m engines.export_onnx`"
            )
        self.encoder = network.audio_encoder
        self.decoder = network.animation
        self.styles = tuple(styles)
        self.register_buffer("style", network.animation.mix_styles(mixture).detach().clone())
        self.register_buffer("style_table", tabulate_styles(network, self.styles))

    def forward(self, audio: Tensor, weights: Tensor | None = None) -> Tensor:
        """Map a window `[1, samples]` to weights `[1, frames, 52]` in [0, 1].

        `weights` `[1, styles]` choose a style; None is the mixture.
        """
        style = self.style if weights is None else weights @ self.style_table
        frames = audio.shape[1] // self.encoder.config.hop_samples + 1
        latents = self.encoder.encode(audio, frames)
        motion, gate_logit, _ = self.decoder(latents, style)
        return finish_motion(motion, gate_logit)
