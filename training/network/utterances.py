"""Utterances of any length through a network, piece by piece; what robots run is in `network`."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.nn import functional

from training.network.decoders import finish_motion
from training.network.dualtalker import DualTalker
from training.network.encoders import AudioEncoder
from training.network.vertex_heads import ARKIT
from training.network.wav2vec2 import Wav2Vec2Encoder

PIECE_STEPS = 1500  # half a minute at 50 Hz: what is held at a time
MARGIN_STEPS = 250  # heard around a piece by an encoder that sees the whole


def animate_pieces(
    network: DualTalker,
    audio: Tensor,
    style: Tensor,
    head: str = ARKIT,
    piece_steps: int = PIECE_STEPS,
) -> Iterator[Tensor]:
    """Yield the motion `[frames, C]` of `DualTalker.animate_whole` in consecutive pieces.

    `audio` `[1, samples]`, `style` a vector `[1, 16]`. With the streaming encoder the pieces are
    those of the whole, to float tolerance. A wav2vec2 encoder hears 5 s around each piece of a
    sound longer than 40 s, since its attention over a whole hour would not fit anywhere.
    """
    config, decoder = network.config, network.animation
    steps = -(-audio.shape[1] // config.hop_samples) + config.shift_frames
    padded = functional.pad(audio, (0, steps * config.hop_samples - audio.shape[1]))
    context = sum(block.history for block in decoder.blocks)  # type: ignore[misc]
    early = config.shift_frames  # steps that depict instants before the audio
    for latents, before in _encode(network, padded, context, piece_steps):  # type: ignore[arg-type]
        motion, logit, _ = decoder(latents, style, head=head)
        piece = finish_motion(motion, logit, head)[0, before:]
        yield piece[early:]
        early = max(0, early - len(piece))


def _encode(
    network: DualTalker, audio: Tensor, context: int, piece_steps: int
) -> Iterator[tuple[Tensor, int]]:
    """Yield latents `[1, before + piece, channels]` and how many of them repeat the last piece.

    `context` steps are repeated, for the decoder's own memory. `audio` `[1, steps * hop]`.
    """
    encoder, config = network.audio_encoder, network.config
    hop = config.hop_samples
    steps = audio.shape[1] // hop
    if isinstance(encoder, Wav2Vec2Encoder) and steps <= piece_steps + 2 * MARGIN_STEPS:
        yield encoder(audio), 0
        return
    for start in range(0, steps, piece_steps):
        stop = min(start + piece_steps, steps)
        first = max(0, start - context)
        if isinstance(encoder, AudioEncoder):
            begin = max(0, first - _reach(encoder))
            latents = encoder(audio[:, begin * hop : stop * hop])[:, first - begin :]
        else:
            begin = max(0, first - MARGIN_STEPS)
            window = audio[:, begin * hop : min(stop + MARGIN_STEPS, steps) * hop]
            offset = (first - config.shift_frames - begin) * hop
            latents = encoder.encode(window, stop - first, offset)
        yield latents, start - first


def _reach(encoder: AudioEncoder) -> int:
    """Steps before its own on which a latent depends."""
    tail = -(-encoder.mel.tail // encoder.config.hop_samples)
    return tail + int(sum(block.history for block in encoder.blocks))  # type: ignore[misc, arg-type]
