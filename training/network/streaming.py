"""The graphs that are exported: DualTalker hop by hop with a state, and window by window."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualtalker.arkit import ARKIT_NAMES
from training.network.decoders import (
    GATE_GAIN,
    GATE_TAPS,
    SMOOTHING_FRAMES,
    finish_motion,
    sharpen_gate,
    shut_lips,
    smooth_motion,
)
from training.network.dualtalker import DualTalker
from training.network.encoders import AudioEncoder
from training.network.wav2vec2 import Wav2Vec2Encoder


class StyledTalker(nn.Module):
    """A network's primary task in one style, or in one that its last input chooses."""

    style: Tensor
    style_table: Tensor
    gain: Tensor
    gain_table: Tensor

    def __init__(
        self, network: DualTalker, mixture: dict[str, float], styles: tuple[str, ...]
    ) -> None:
        """`mixture` is the style where none is given, `styles` are those to choose from."""
        super().__init__()
        self.encoder = network.audio_encoder
        self.decoder = network.animation
        self.styles = tuple(styles)
        style = self.decoder.mix_styles(mixture).detach().clone()
        table = [self.decoder.mix_styles({name: 1.0}) for name in styles]
        self.register_buffer("style", style)
        self.register_buffer("style_table", torch.cat([style[:0], *table]).detach())
        gain = self.decoder.mix_gains(mixture).detach().clone()
        gains = [self.decoder.mix_gains({name: 1.0}) for name in styles]
        self.register_buffer("gain", gain)
        self.register_buffer("gain_table", torch.cat([gain[:0], *gains]).detach())

    def choose_style(self, weights: Tensor | None) -> Tensor:
        """Return the style vector `[1, 16]` of `weights` `[1, styles]`; None is the mixture."""
        return self.style if weights is None else weights @ self.style_table

    def show(self, motion: Tensor, weights: Tensor | None) -> Tensor:
        """Return predicted weights `[1, frames, 52]` as far as the style's talkers move, 0 to 1.

        A regression moves less than its data, the less, the less of them the sound tells.
        """
        gain = self.gain if weights is None else weights @ self.gain_table
        return (motion * gain).clamp(0.0, 1.0)


class StreamingTalker(StyledTalker):
    """The exported graph: hops of audio and the state -> finished motion and the new state.

    Robots run it hop by hop; whole recordings run in larger pieces, from the same states.

    With `styles` the graph takes their weights as well, `[1, styles]`, after the states.
    """

    encoder: AudioEncoder

    def __init__(
        self,
        network: DualTalker,
        mixture: dict[str, float],
        smooth: bool = False,
        styles: tuple[str, ...] = (),
    ) -> None:
        """`smooth` smooths the motion (`smooth_motion`), for which it looks one frame further
        ahead unless contacts are early. `mixture` and `styles` as of `StyledTalker`.
        """
        if not isinstance(network.audio_encoder, AudioEncoder):
            raise ValueError(
                "found a wav2vec2 encoder, expected `streaming`: export it as a window "
                "(`training.network.streaming.WindowTalker`)"
            )
        if not bool(network.animation.active.any()):
            raise ValueError(
                "this network has no ARKit head, only vertices of "
                f"{[plan.name for plan in network.head_plans]}; expected one of --data.corpus"
            )
        super().__init__(network, mixture, styles)
        config = self.encoder.config
        self.smooth, self.early = smooth, config.early_contacts
        self.gates = len(config.contacts) + int(config.rest_gate)
        waits = int(smooth and not self.early)  # frames by which smoothing delays what is shown
        # Step i depicts motion frame i - shift_frames.
        self.shift_frames = config.shift_frames + waits
        # Audio beyond a frame's instant that the frame depends on.
        self.lookahead_samples = config.lookahead_samples + waits * config.hop_samples
        # Frames of motion and gates that the graph remembers.
        self.kept = SMOOTHING_FRAMES if smooth else int(self.early)

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of all state tensors in the order of `forward`."""
        shapes = self.encoder.state_shapes() + self.decoder.state_shapes()
        shown = len(ARKIT_NAMES) + self.gates
        return [*shapes, (1, self.kept, shown)] if self.kept else shapes

    def new_state(self) -> list[Tensor]:
        """Return the state before the first hop: zeros."""
        return [torch.zeros(shape) for shape in self.state_shapes()]

    def forward(self, audio: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Map audio `[1, hops * hop]` and state to motion `[1, hops, 52]` and the new state.

        With `styles`, their weights `[1, styles]` are the last of `state`.
        """
        weights = state[-1] if self.styles else None
        style = self.choose_style(weights)
        split = len(self.encoder.state_shapes())
        end = split + len(self.decoder.state_shapes())
        latents, audio_state = self.encoder.step(audio, list(state[:split]))
        motion, _, kept = self.decoder(latents, style, list(state[split:end]))
        # Of a step itself, early contacts are the ones of the next frame.
        motion, gate = self.show(motion, weights), sharpen_gate(self.decoder.judge(latents))
        if not self.kept:
            return (shut_lips(motion, gate), *audio_state, *kept)
        frames = torch.cat([state[end], torch.cat([motion, gate], dim=2)], dim=1)
        count = len(ARKIT_NAMES)
        if self.smooth:
            shown = smooth_motion(frames[:, :, :count], frames[:, :, count:], early=self.early)
        else:
            shown = (motion, frames[:, :-1, count:])
        return (shut_lips(*shown), *audio_state, *kept, frames[:, motion.shape[1] :])

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
        """Return motion without contacts and rest `[1, frames, 52]` and the gates, as `run`."""
        style = self.choose_style(weights)
        hop = self.encoder.config.hop_samples
        steps = -(-audio.shape[1] // hop) + self.shift_frames
        padded = functional.pad(audio, (0, steps * hop - audio.shape[1]))
        latents = self.encoder(padded)
        motion, logit, _ = self.decoder(latents, style)
        motion, gate = self.show(motion, weights), sharpen_gate(logit)
        if self.smooth:
            if self.early:
                gate = sharpen_gate(self.decoder.judge(latents))
            # Frames of zeros before the first, as in the state before the first hop.
            ahead = (0, 0, SMOOTHING_FRAMES, 0)
            motion, gate = functional.pad(motion, ahead), functional.pad(gate, ahead)
            motion, gate = smooth_motion(motion, gate, taps, gain, self.early)
        return motion[:, self.shift_frames :], gate[:, self.shift_frames :]


class WindowTalker(StyledTalker):
    """Audio `[1, window]` -> finished motion `[1, window / hop + 1, 52]`: any encoder, no state.

    Frame k depicts sample k * hop of the window. For `engines.windowed.export_windowed` plan the
    window with `plan_window(..., spacing=hop)`. With `styles` the graph takes their
    weights `[1, styles]` after the audio.
    """

    encoder: Wav2Vec2Encoder

    def __init__(
        self, network: DualTalker, mixture: dict[str, float], styles: tuple[str, ...] = ()
    ) -> None:
        if not isinstance(network.audio_encoder, Wav2Vec2Encoder):
            raise ValueError(
                "found a streaming encoder, expected wav2vec2: export it with "
                "`python -m engines.export_onnx`"
            )
        super().__init__(network, mixture, styles)

    def forward(self, audio: Tensor, weights: Tensor | None = None) -> Tensor:
        """Map a window `[1, samples]` to weights `[1, frames, 52]` in [0, 1].

        `weights` `[1, styles]` choose a style; None is the mixture.
        """
        style = self.choose_style(weights)
        frames = audio.shape[1] // self.encoder.config.hop_samples + 1
        latents = self.encoder.encode(audio, frames)
        motion, gate_logit, _ = self.decoder(latents, style)
        return finish_motion(self.show(motion, weights), gate_logit)
