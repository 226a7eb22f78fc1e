"""Decoders of the two tasks: audio latents -> motion, and motion latents -> what was said."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.face import (
    FUNNEL,
    JAW_OPEN,
    JAW_RISE,
    LIP_RISE,
    MOUTH_CLOSE,
    PUCKER,
    UNBITTEN,
    UNSHUT,
)
from training.configs import NetworkConfig
from training.network.encoders import CausalBlock
from training.network.vertex_heads import ARKIT


def close_lips(weights: Tensor, gate: Tensor) -> Tensor:
    """Blend weights `[..., 52]` toward shut lips by `gate` `[..., 1]` in 0..1.

    Ours. ARKit's `mouthClose` is a corrective: equal to `jawOpen` it shuts the lips over an open
    jaw. A regression toward the mean never quite reaches that, and a mouth that nearly shuts
    on /p b m/ looks wrong, so the closure is a decision of its own: at 1 the parting shapes are
    gone, the jaw has risen by half and `mouthClose` equals `jawOpen`. Round lips that meet are
    round still: what goes of the funnel comes to the pucker, which may pass 1.
    """
    return _raise_jaw(weights, gate, UNSHUT, 1.0)


def bite_lip(weights: Tensor, gate: Tensor) -> Tensor:
    """Blend weights `[..., 52]` toward the lower lip on the upper teeth by `gate` `[..., 1]`.

    Ours, as `close_lips` is, for /f v/: the jaw rises by half, `mouthClose` lifts the lip from
    there, and what pulls the lip away is gone. What shapes the contact (the lower lip rolls in,
    the upper one clears the teeth) is left to the regression, since not every rig's data has it.
    """
    return _raise_jaw(weights, gate, UNBITTEN, LIP_RISE)


def _raise_jaw(weights: Tensor, gate: Tensor, gone: tuple[int, ...], lift: float) -> Tensor:
    """Take away the shapes that are `gone`, raise the jaw, lift the lips by `lift` of its rest.

    The pucker takes what the funnel loses.
    """
    off = torch.zeros(len(ARKIT_NAMES), device=weights.device)
    off[[*gone, MOUTH_CLOSE]] = 1.0
    off[JAW_OPEN] = JAW_RISE
    close = torch.zeros(len(ARKIT_NAMES), device=weights.device)
    close[MOUTH_CLOSE] = lift
    shaped = weights * (1.0 - gate * off)
    shaped = shaped + gate * close * shaped[..., JAW_OPEN : JAW_OPEN + 1]
    return _keep_rounding(weights, shaped)


def _keep_rounding(before: Tensor, after: Tensor) -> Tensor:
    """Return weights `after` `[..., 52]` with what their funnel lost in the pucker."""
    pucker = torch.zeros(len(ARKIT_NAMES), device=after.device)
    pucker[PUCKER] = 1.0
    lost = (before - after)[..., FUNNEL : FUNNEL + 1]
    return after + lost * pucker


def touch_lips(weights: Tensor, gates: Tensor) -> Tensor:
    """Apply gates `[..., gates]`: bilabial, labiodental where there is one, rest where there is.

    Shut lips win over the lip on the teeth. Rest takes all of a face away: a regression never
    quite does in a noise that is a little like speech, and a mouth that mumbles with a fan looks
    broken. Ours.
    """
    if gates.shape[-1] > REST:
        weights = weights * (1.0 - gates[..., REST:])
    if gates.shape[-1] > 1:
        weights = bite_lip(weights, gates[..., 1:2])
    return close_lips(weights, gates[..., :1])


REST = 2  # the gate of rest follows both contacts
# Up to where a gate is 0, and from there to a whole one. A contact that is missed looks worse than
# a short one too many: 0.22 is enough for shut lips. No vowel of held-out speech is at rest.
GATE_STARTS, GATE_SPANS = (0.04, 0.06, 0.15), (0.18, 0.24, 0.35)
OVERSHOOT = 0.02  # by which a weight may pass 0 and 1 before it is clamped


def sharpen_gate(logit: Tensor) -> Tensor:
    """Turn logits `[..., gates]` into gates that are exactly 0 or 1 except around the decision."""
    count = logit.shape[-1]
    starts, spans = (logit.new_tensor(each[:count]) for each in (GATE_STARTS, GATE_SPANS))
    return torch.clamp((torch.sigmoid(logit) - starts) / spans, 0.0, 1.0)


# Of the gate's smoothing: next frame, this one, the one before, and the one before that. Lips
# take about 60 ms to meet; a gate that shuts within a frame is what made motion jittery.
GATE_TAPS = (0.15, 0.35, 0.35, 0.15)
GATE_GAIN = 1.15  # so that three full frames are all but a whole contact
MOTION_TAPS = (0.25, 0.5, 0.25, 0.0)  # the same of the weights
EARLY_MOTION_TAPS = (0.65, 0.35, 0.0, 0.0)  # of early contacts, where the newest is this frame
SMOOTHING_FRAMES = 3  # that `smooth_motion` needs besides the one it gives


def smooth_motion(
    motion: Tensor,
    gate: Tensor,
    taps: tuple[float, ...] = GATE_TAPS,
    gain: float = GATE_GAIN,
    early: bool = False,
) -> tuple[Tensor, Tensor]:
    """Smooth weights `[batch, frames + 3, 52]` and gates `[.., gates]`, one frame ahead.

    Returns `frames` frames. Weights take a mean over the frame before, this and the next; gates a
    longer one (four `taps`), contacts times `gain` and held at 1. Ours: predictions of one frame
    differ from the next by noise that a captured face has not.

    With `early` contacts the gates alone are one frame ahead: beside a frame's gate stands the
    motion of the frame before, and weights take a third of their last frame and no next one.
    """
    gains = gate.new_tensor(list_gains(gate.shape[-1], gain))
    shown = (gains * _weigh_frames(gate, taps)).clamp(0.0, 1.0)
    return _weigh_frames(motion, EARLY_MOTION_TAPS if early else MOTION_TAPS), shown


def list_gains(gates: int, gain: float = GATE_GAIN) -> list[float]:
    """Return by what each of so many smoothed gates is multiplied: contacts by `gain`."""
    return [1.0 if gate == REST else gain for gate in range(gates)]


def _weigh_frames(values: Tensor, taps: tuple[float, ...]) -> Tensor:
    """Sum `values` `[batch, frames + 3, ...]` over four frames, the newest first."""
    last = values.shape[1]
    parts = [tap * values[:, 3 - age : last - age] for age, tap in enumerate(taps)]
    return torch.stack(parts).sum(0)


def finish_motion(motion: Tensor, logit: Tensor, head: str = ARKIT) -> Tensor:
    """Return motion as it is shown: contacts made and weights in [0, 1] for ARKit.

    Coordinates of a vertex head stay as they are.
    """
    if head != ARKIT:
        return motion
    return shut_lips(motion.clamp(0.0, 1.0), sharpen_gate(logit))


def shut_lips(weights: Tensor, gate: Tensor) -> Tensor:
    """`touch_lips` of weights in [0, 1], held there."""
    return touch_lips(weights, gate).clamp(0.0, 1.0)


class AnimationDecoder(nn.Module):
    """Primary task: audio latents and a style -> blendshape weights, causal, parallel in time."""

    active: Tensor
    gains: Tensor

    def __init__(self, config: NetworkConfig, active: list[bool], styles: list[str]) -> None:
        super().__init__()
        self.config = config
        self.styles = list(styles)
        self.blocks = nn.ModuleList(
            CausalBlock(config.channels, config.kernel, d, config.expansion, config.dropout)
            for d in config.decoder_dilations
        )
        self.style = nn.Embedding(len(styles), 16)
        self.film = nn.ModuleList(nn.Linear(16, 2 * config.channels) for _ in self.blocks)
        for layer in self.film:
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.norm = nn.LayerNorm(config.channels)
        self.head = nn.Linear(config.channels, len(ARKIT_NAMES))
        nn.init.constant_(self.head.bias, -3.0)
        # Whether the lips touch is a fact of the sound, not of the style: read before the blocks.
        self.gate = nn.Sequential(
            nn.Linear(config.channels, 64), nn.GELU(), nn.Linear(64, len(config.contacts))
        )
        if config.rest_gate:
            # 16 hidden units tell as well as 64.
            self.gate_rest = nn.Sequential(
                nn.Linear(config.channels, 16), nn.GELU(), nn.Linear(16, 1)
            )
        self.register_buffer("active", torch.tensor(active, dtype=torch.float32))
        # By which each style's weights are multiplied where they are shown (`training.calibrate`).
        self.register_buffer("gains", torch.ones(len(styles), len(ARKIT_NAMES)))
        # Learned scale of the Gaussian motion likelihood, per channel (duality term).
        self.log_scale = nn.Parameter(torch.full((len(ARKIT_NAMES),), -2.5))
        self.vertex_heads = nn.ModuleDict()

    def judge(self, latents: Tensor) -> Tensor:
        """Return the gates' logits `[batch, time, gates]` as a step decides them."""
        logit: Tensor = self.gate(latents)
        if not self.config.rest_gate:
            return logit
        return torch.cat([logit, self.gate_rest(latents)], dim=-1)

    def decide(self, latents: Tensor) -> Tensor:
        """Return the gates' logits `[batch, time, gates]` of the frames that are shown.

        Early contacts (`NetworkConfig.early_contacts`) were decided one step before; the first
        step repeats its own, which shows an instant before the audio.
        """
        logit = self.judge(latents)
        if not self.config.early_contacts:
            return logit
        return torch.cat([logit[:, :1], logit[:, :-1]], dim=1)

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the state tensors of `forward`: one history per block."""
        return [(1, block.history, self.config.channels) for block in self.blocks]  # type: ignore[misc,list-item]

    def mix_styles(self, mixture: dict[str, float], among: Tensor | None = None) -> Tensor:
        """Return the style vector `[1, 16]` of a weighted mixture of trained styles.

        An empty mixture is the mean of the styles `among` (indices; default all): how a subject
        who was never seen is shown unless told otherwise.

        Raises:
            ValueError: a style was never trained.
        """
        return self._mix(self.style.weight, mixture, among)

    def mix_gains(self, mixture: dict[str, float]) -> Tensor:
        """Return the gains `[1, 52]` of the same mixture."""
        return self._mix(self.gains, mixture, None)

    def _mix(self, table: Tensor, mixture: dict[str, float], among: Tensor | None) -> Tensor:
        if not mixture:
            return (table if among is None else table[among]).mean(dim=0, keepdim=True)
        unknown = sorted(set(mixture) - set(self.styles))
        if unknown:
            raise ValueError(f"unknown styles {unknown}; this model has {self.styles}")
        total = sum(mixture.values())
        parts = [table[self.styles.index(s)] * (w / total) for s, w in mixture.items()]
        return torch.stack(parts).sum(dim=0, keepdim=True)

    def read_out(self, x: Tensor, head: str = ARKIT) -> Tensor:
        """Map the trunk's activations `[batch, time, channels]` to motion of one head.

        Weights before the contacts and before clamping `[batch, time, 52]`, or coordinates of a
        vertex head `[batch, time, rank]`.
        """
        if head != ARKIT:
            coordinates: Tensor = self.vertex_heads[head](x)
            return coordinates
        # A sigmoid slightly wider than [0, 1], clamped later, reaches exact rest and exact full.
        weights = (1 + 2 * OVERSHOOT) * torch.sigmoid(self.head(x)) - OVERSHOOT
        return weights * self.active

    def forward(
        self,
        latents: Tensor,
        style: Tensor,
        state: list[Tensor] | None = None,
        head: str = ARKIT,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Decode latents `[batch, time, channels]` in style `[batch, 16]`.

        Returns the motion of `head` (see `read_out`), the gates' logits `[batch, time, gates]`
        (see `decide`), and the new state.
        """
        x = latents
        kept_states = []
        for index, (block, film) in enumerate(zip(self.blocks, self.film, strict=True)):
            history = None if state is None else state[index]
            x, kept = block(x, history, film(style).unsqueeze(1))
            kept_states.append(kept)
        return self.read_out(self.norm(x), head), self.decide(latents), kept_states


class LipReadingDecoder(nn.Module):
    """Dual task: motion latents -> phone classes (CTC) and acoustic units (framewise).

    `config.lipread_targets` says which of them the losses use.
    """

    def __init__(self, config: NetworkConfig, phones: int) -> None:
        super().__init__()
        width = config.motion_channels
        self.targets = config.lipread_targets
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.GELU())
        self.phones = nn.Linear(width, phones + 1)
        self.units = nn.Linear(width, config.units)

    def forward(self, latents: Tensor) -> dict[str, Tensor]:
        """Map latents `[batch, frames, motion_channels]` to log-probabilities, by target.

        Each is `[batch, frames, classes]`. Index 0 of phones is CTC's blank.
        """
        hidden = self.hidden(latents)
        layers = {"phones": self.phones, "units": self.units}
        return {
            name: layer(hidden).float().log_softmax(-1)
            for name, layer in layers.items()
            if name in self.targets
        }
