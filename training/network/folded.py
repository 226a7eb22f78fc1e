"""The graph that is exported: a trained talker's numbers in as few operators as they take.

A step of so small a network costs what its operators cost to start, not what they compute:
`FoldedTalker` is `StreamingTalker` with constants folded into weights, what all blocks do alike
done once for all, and the histories of all blocks in one tensor.
"""

from __future__ import annotations

import math
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

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
from training.network.decoders import (
    EARLY_MOTION_TAPS,
    GATE_SPANS,
    GATE_STARTS,
    GATE_TAPS,
    MOTION_TAPS,
    OVERSHOOT,
    REST,
    list_gains,
)
from training.network.encoders import MEL_FLOOR, MEL_SCALE, AudioEncoder, CausalBlock
from training.network.spectrum import ShortSpectrum
from training.network.streaming import StreamingTalker

_FACE = len(ARKIT_NAMES)


class FoldedTalker(nn.Module):
    """Audio `[1, hops * hop]` and state to motion `[1, hops, 52]` and the new state.

    The same function as `StreamingTalker`, of other state tensors: the tail of the audio
    `[1, samples]`, what all blocks remember `[frames, channels]`, block after block, and the
    last frames of motion and gates `[kept, 52 + gates]`, where any are kept. With `styles`,
    their weights `[1, styles]` come last.
    """

    filters: Tensor
    floor: Tensor
    inlet_weight: Tensor
    inlet_bias: Tensor
    past_taps: Tensor
    mixed_bias: Tensor
    offsets: Tensor
    encoded_shift: Tensor
    heard_rows: Tensor
    kept_rows: Tensor
    style_table: Tensor
    style_bias: Tensor
    hidden_weight: Tensor
    hidden_bias: Tensor
    gate_weight: Tensor
    gate_bias: Tensor
    face_weight: Tensor
    face_bias: Tensor
    frame_taps: Tensor
    term_columns: Tensor
    factor_gates: Tensor
    factor_slopes: Tensor
    factor_starts: Tensor

    def __init__(self, talker: StreamingTalker, hops: int = 1) -> None:
        super().__init__()
        encoder, decoder = talker.encoder, talker.decoder
        blocks: list[CausalBlock] = [*encoder.blocks, *decoder.blocks]  # type: ignore[list-item]
        self.hops, self.styles, self.kept = hops, talker.styles, talker.kept
        self.channels, self.gates = encoder.config.channels, talker.gates
        self.early, self.smooth = talker.early, talker.smooth
        self.encoder_blocks = len(encoder.blocks)
        self.dilations = [block.dilation for block in blocks]
        self.histories = [block.history for block in blocks]
        self.kernel = encoder.config.kernel
        with torch.no_grad():
            self._fold_sound(encoder)
            self._fold_blocks(blocks)
            self._fold_styles(talker)
            self._fold_heads(talker)
            self._plan_frames()

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.detach().clone().contiguous())

    def _plan(self, name: str, value: Tensor) -> None:
        """Keep a constant that no training changes."""
        self.register_buffer(name, value.contiguous(), persistent=False)

    def _fold_sound(self, encoder: AudioEncoder) -> None:
        """Log-mel's scale is the inlet's."""
        mel = encoder.mel
        self.tail, self.hop_samples = mel.tail, encoder.config.hop_samples
        frames = self.hops * encoder.per_step
        self.spectrum = ShortSpectrum(mel.taper, mel.hop, mel.fft_size, frames)
        self._plan("filters", self.spectrum.fold(mel.filters))
        self._plan("floor", torch.full((1,), MEL_FLOOR))
        weight = encoder.inlet.weight
        self._keep("inlet_weight", MEL_SCALE * weight.T)
        self._keep("inlet_bias", encoder.inlet.bias + weight.sum(dim=1))

    def _fold_blocks(self, blocks: list[CausalBlock]) -> None:
        """Biases of what blocks add to their input are in the residual stream from its start.

        What is remembered has those of the blocks before alone: `offsets` takes the rest away.
        """
        narrow: list[Tensor] = [block.narrow.bias for block in blocks]
        encoder, decoder = narrow[: self.encoder_blocks], narrow[self.encoder_blocks :]
        self.inlet_bias += torch.stack(encoder).sum(dim=0)
        left = [*accumulate(reversed(decoder)), *accumulate(reversed(encoder))]
        offsets = -torch.stack(left[::-1])
        self._keep("offsets", offsets)
        self._keep("past_taps", torch.stack([block.taps[:-1] for block in blocks]))
        for index, block in enumerate(blocks):
            self._keep(f"tap_{index}", block.taps[-1])
            # Two products cost less than one that is split.
            for name, rows in zip(("value", "gate"), block.widen.weight.chunk(2), strict=True):
                self._keep(f"{name}_{index}", rows.T)
            for name, bias in zip(("value", "gate"), block.widen.bias.chunk(2), strict=True):
                self._keep(f"{name}_bias_{index}", bias)
            self._keep(f"narrow_{index}", block.narrow.weight.T)
            if index < self.encoder_blocks:
                self._keep(f"scale_{index}", block.norm.weight)
                self._keep(f"shift_{index}", block.norm.bias)
        # With what the offset of a block's input adds to its convolution.
        biases = [b.bias + at * b.taps[-1] for b, at in zip(blocks, offsets, strict=True)]
        self._keep("mixed_bias", torch.stack(biases))
        starts = [0, *accumulate(self.histories)]
        heard = [
            [start + tap * dilation for tap in range(self.kernel - 1)]
            for start, dilation in zip(starts, self.dilations, strict=False)
        ]
        self._plan("heard_rows", torch.tensor(heard))
        kept: list[int] = []
        for index, history in enumerate(self.histories):
            # All but the oldest of its frames, then the newest: they follow the whole state.
            kept += [*range(starts[index] + 1, starts[index] + history), starts[-1] + index]
        self._plan("kept_rows", torch.tensor(kept))

    def _fold_styles(self, talker: StreamingTalker) -> None:
        """All that a style scales and shifts is one product of its weights."""
        decoder = talker.decoder
        parts, biases = [], []
        table = talker.style_table if talker.styles else talker.style
        gains = talker.gain_table if talker.styles else talker.gain
        blocks: list[CausalBlock] = [*decoder.blocks]  # type: ignore[list-item]
        films: list[nn.Linear] = [*decoder.film]  # type: ignore[list-item]
        for block, film in zip(blocks, films, strict=True):
            scale, shift = (table @ film.weight.T).chunk(2, dim=1)
            scale_bias, shift_bias = film.bias.chunk(2)
            parts += [block.norm.weight * scale, block.norm.bias * scale + shift]
            biases.append(block.norm.weight * (1 + scale_bias))
            biases.append(block.norm.bias * (1 + scale_bias) + shift_bias)
        shown = decoder.active * gains
        none = torch.zeros(len(table), self.gates)
        parts += [(1 + 2 * OVERSHOOT) * shown, none, -OVERSHOOT * shown, none]
        starts, spans = (torch.tensor(x[: self.gates]) for x in (GATE_STARTS, GATE_SPANS))
        face = torch.zeros(_FACE)
        biases += [face, 1.0 / spans, face, -starts / spans]
        scales, bias = torch.cat(parts, dim=1), torch.cat(biases)
        if talker.styles:
            self._keep("style_table", scales)
        self._keep("style_bias", bias if talker.styles else scales[0] + bias)

    def _fold_heads(self, talker: StreamingTalker) -> None:
        encoder, decoder = talker.encoder, talker.decoder
        for name, norm in (("encoded", encoder.norm), ("decoded", decoder.norm)):
            self._keep(f"{name}_scale", norm.weight)
            self._keep(f"{name}_shift", norm.bias)
        # The decoder's residual stream starts here, with all biases of its blocks.
        ahead = -self.offsets[self.encoder_blocks]
        self.encoded_shift += ahead
        self._keep("face_weight", decoder.head.weight.T)
        self._keep("face_bias", decoder.head.bias)
        # Both gates' layers as one: their outputs know each its own hidden units.
        pairs = [decoder.gate, *([decoder.gate_rest] if decoder.config.rest_gate else [])]
        into: list[nn.Linear] = [pair[0] for pair in pairs]  # type: ignore[misc]
        out: list[nn.Linear] = [pair[2] for pair in pairs]  # type: ignore[misc]
        # GELU(x) = x / 2 * (1 + erf(x / sqrt(2))), with its factors in the weights.
        scale = math.sqrt(0.5)
        weight = scale * torch.cat([layer.weight for layer in into])
        bias = scale * torch.cat([layer.bias for layer in into])
        self._keep("hidden_weight", weight.T)
        self._keep("hidden_bias", bias - weight @ ahead)
        self._keep("gate_weight", scale * torch.block_diag(*(layer.weight for layer in out)).T)
        self._keep("gate_bias", torch.cat([layer.bias for layer in out]))

    def _plan_frames(self) -> None:
        """Taps of `smooth_motion` as one table, and `touch_lips` as sums of products."""
        taps = torch.zeros(self.kept + 1, _FACE + self.gates)
        if self.smooth:
            gains = torch.tensor(list_gains(self.gates))
            taps[:, _FACE:] = gains * torch.tensor(GATE_TAPS).flip(0)[:, None]
            motion = EARLY_MOTION_TAPS if self.early else MOTION_TAPS
            taps[:, :_FACE] = torch.tensor(motion).flip(0)[:, None]
        else:
            taps[-1, :_FACE] = 1.0
            taps[0, _FACE:] = 1.0
        self._plan("frame_taps", taps)
        for name, values in _plan_contacts(self.gates).items():
            self._plan(name, values)

    def state_shapes(self) -> list[tuple[int, ...]]:
        """Shapes of all state tensors in the order of `forward`."""
        shapes: list[tuple[int, ...]] = [(1, self.tail)]
        shapes.append((sum(self.histories), self.channels))
        return [*shapes, (self.kept, _FACE + self.gates)] if self.kept else shapes

    def forward(self, audio: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Map audio `[1, hops * hop]` and state to motion `[1, hops, 52]` and the new state."""
        samples = torch.cat([state[0], audio], dim=1)
        scales = self._scale_style(state[-1] if self.styles else None)
        latents, remembered = self._run(self._hear(samples), state[1], scales)
        logits = self._read_out(latents)
        frames = (torch.sigmoid(logits) * scales[-2] + scales[-1]).clamp(0.0, 1.0)
        new_state = [samples[:, samples.shape[1] - self.tail :], remembered]
        if self.kept:
            padded = torch.cat([state[2], frames])
            new_state.append(padded[self.hops :])
            frames = self._smooth(padded)
        return (self._touch(frames), *new_state)

    def _hear(self, samples: Tensor) -> Tensor:
        """Log-mel spectrum, through the inlet: `[hops, channels]`."""
        mel = torch.addmm(self.floor, self.spectrum(samples), self.filters)
        bands = torch.log(mel).reshape(self.hops, -1)
        return torch.addmm(self.inlet_bias, bands, self.inlet_weight)

    def _scale_style(self, weights: Tensor | None) -> tuple[Tensor, ...]:
        """Scales and shifts of the decoder's norms, then of the motion that is shown."""
        row = self.style_bias
        if weights is not None:
            row = torch.addmm(self.style_bias, weights, self.style_table).reshape(-1)
        norms = 2 * (len(self.histories) - self.encoder_blocks)
        shown = _FACE + self.gates
        return row.split([*(norms * [self.channels]), shown, shown])

    def _run(
        self, x: Tensor, state: Tensor, scales: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Run all blocks; return what encoder and decoder give, and what blocks remember."""
        heard = self._recall(state)
        inputs = []
        encoded = x
        for index in range(len(self.histories)):
            if index == self.encoder_blocks:
                encoded = x = self._normalize("encoded", x)
            inputs.append(x)
            if index < self.encoder_blocks:
                scale, shift = getattr(self, f"scale_{index}"), getattr(self, f"shift_{index}")
            else:
                at = 2 * (index - self.encoder_blocks)
                scale, shift = scales[at : at + 2]
            mixed = self._convolve(index, x, heard[index])
            normal = functional.layer_norm(mixed, (self.channels,), scale, shift)
            value, gate = self._widen("value", index, normal), self._widen("gate", index, normal)
            x = torch.addmm(x, value * torch.sigmoid(gate), getattr(self, f"narrow_{index}"))
        return (encoded, self._normalize("decoded", x)), self._remember(state, inputs)

    def _widen(self, part: str, index: int, x: Tensor) -> Tensor:
        bias, weight = getattr(self, f"{part}_bias_{index}"), getattr(self, f"{part}_{index}")
        return torch.addmm(bias, x, weight)

    def _normalize(self, name: str, x: Tensor) -> Tensor:
        scale, shift = getattr(self, f"{name}_scale"), getattr(self, f"{name}_shift")
        return functional.layer_norm(x, (self.channels,), scale, shift)

    def _recall(self, state: Tensor) -> tuple[Tensor, ...]:
        """What each block's convolution takes of the past: its sum, of one hop, or its frames."""
        if self.hops > 1:
            return state.split(self.histories)
        past = functional.embedding(self.heard_rows, state)
        return ((past * self.past_taps).sum(dim=1) + self.mixed_bias).split(1)

    def _convolve(self, index: int, x: Tensor, heard: Tensor) -> Tensor:
        last = x * getattr(self, f"tap_{index}")
        if self.hops == 1:
            return last + heard
        mixed = last + self.mixed_bias[index]
        padded = torch.cat([heard, x + self.offsets[index]])
        for tap, weight in enumerate(self.past_taps[index]):
            start = tap * self.dilations[index]
            mixed = torch.addcmul(mixed, padded[start : start + self.hops], weight)
        return mixed

    def _remember(self, state: Tensor, inputs: list[Tensor]) -> Tensor:
        """The frames that blocks hear next time `[frames, channels]`."""
        if self.hops == 1:
            frames = torch.cat([state, torch.cat(inputs) + self.offsets])
            return frames.index_select(0, self.kept_rows)
        parts = []
        for index, old in enumerate(state.split(self.histories)):
            padded = torch.cat([old, inputs[index] + self.offsets[index]])
            parts.append(padded[len(padded) - len(old) :])
        return torch.cat(parts)

    def _read_out(self, latents: tuple[Tensor, Tensor]) -> Tensor:
        """Logits of the weights and of the gates `[hops, 52 + gates]`."""
        hidden = torch.addmm(self.hidden_bias, latents[0], self.hidden_weight)
        hidden = hidden * (1.0 + torch.erf(hidden))
        gate = torch.addmm(self.gate_bias, hidden, self.gate_weight)
        return torch.cat([torch.addmm(self.face_bias, latents[1], self.face_weight), gate], dim=1)

    def _smooth(self, padded: Tensor) -> Tensor:
        if self.hops == 1:
            frames = (padded * self.frame_taps).sum(dim=0, keepdim=True)
        else:
            parts = [
                padded[tap : tap + self.hops] * self.frame_taps[tap]
                for tap in range(self.kept + 1)
            ]
            frames = torch.stack(parts).sum(dim=0)
        return frames.clamp(0.0, 1.0)

    def _touch(self, frames: Tensor) -> Tensor:
        """`shut_lips` of frames `[hops, 52 + gates]`, as sums of products: `[1, hops, 52]`."""
        gates = frames.index_select(1, self.factor_gates)[:, :, None]
        factors = gates * self.factor_slopes + self.factor_starts
        terms = factors.prod(dim=1) * frames.index_select(1, self.term_columns)
        return terms.reshape(1, self.hops, -1, _FACE).sum(dim=2).clamp(0.0, 1.0)


def _plan_contacts(gates: int) -> dict[str, Tensor]:
    """What `touch_lips` does as sums of products, each of one weight and of factors of gates.

    Each weight has one term, what gates leave of it. `mouthClose` has another for each contact,
    which lifts it by a share of the jaw, and the pucker one that is what the contact takes of the
    funnel: rows of terms `[terms, 52]` that are zero elsewhere. A factor `[factors, terms * 52]`
    is its start plus its slope times the gate of its row.
    """
    # The lip on the teeth first: shut lips win over it.
    contacts = [(1, UNBITTEN, LIP_RISE), (0, UNSHUT, 1.0)][-min(gates, REST) :]
    count = len(contacts)
    # What each contact leaves of a weight, then by what it lifts, then what rest leaves.
    rows = 2 * [contact for contact, _, _ in contacts] + ([REST] if gates > REST else [])
    slopes = torch.zeros(len(rows), count + 1, _FACE)
    starts = torch.ones_like(slopes)
    columns = torch.arange(_FACE).repeat(count + 1, 1)
    columns[1:, MOUTH_CLOSE] = JAW_OPEN
    columns[1:, PUCKER] = FUNNEL
    slopes[2 * count :] = -1.0
    starts[0, 1:] = 0.0
    starts[:, 1:, [MOUTH_CLOSE, PUCKER]] = 1.0
    for row, (_, gone, lift) in enumerate(contacts):
        slopes[row, 0, [*gone, MOUTH_CLOSE]] = -1.0
        slopes[row, 0, JAW_OPEN] = -JAW_RISE
        slopes[row, 1:, MOUTH_CLOSE] = -JAW_RISE
        # An earlier contact's lift is a part of `mouthClose`, which a later one takes away.
        slopes[row, 1 : row + 1, MOUTH_CLOSE] = -1.0
        slopes[count + row, row + 1, MOUTH_CLOSE] = lift
        slopes[row, row + 2 :, PUCKER] = -1.0  # later contacts find no more of the funnel
        slopes[count + row, row + 1, PUCKER] = 1.0
        starts[count + row, row + 1, [MOUTH_CLOSE, PUCKER]] = 0.0
    return {
        "term_columns": columns.flatten(),
        "factor_gates": _FACE + torch.tensor(rows),
        "factor_slopes": slopes.flatten(1),
        "factor_starts": starts.flatten(1),
    }
