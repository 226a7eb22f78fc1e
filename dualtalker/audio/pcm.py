"""Samples as they come, in arrays or as raw PCM: checked, decoded, scaled, mixed."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from dualtalker.errors import AudioError

MAX_CHANNELS = 64


def decode_pcm(data: bytes | np.ndarray, sample_format: str, channels: int) -> np.ndarray:
    """Decode raw interleaved PCM to samples [n, channels] that `mix_to_mono` takes.

    Args:
        data: the bytes of a message.
        sample_format: S8 U8 S16 U16 S24 S24_32 (24 bits in the low bytes of 32) S32 U32 F32 F64,
            with LE (as without) or BE at the end, in any case.
        channels: how many are interleaved.

    Raises:
        AudioError: the format is unknown or compressed, the size does not divide, or not finite.
    """
    kind, order = _parse_format(sample_format)
    if isinstance(channels, bool) or not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{channels!r} channels; expected 1 to {MAX_CHANNELS}")
    raw = np.frombuffer(data, np.uint8)
    size = _count_bytes(kind) * channels
    if len(raw) % size:
        raise AudioError(
            f"{len(raw)} bytes of {sample_format} with {channels} channels; expected a multiple "
            f"of {size}. Check sample_format and channels, and that the data is not compressed"
        )
    samples = _decode(raw, kind, order).reshape(-1, channels)
    check_samples(samples)
    return samples


def check_samples(samples: object) -> np.ndarray:
    """Return samples as an array [n] or [n, channels] that `mix_to_mono` takes; copies no data.

    Raises:
        AudioError: wrong dtype or shape, or NaN or infinity among the samples.
    """
    if _is_raw(samples):
        raise AudioError(
            f"samples of type {type(samples).__name__}, of unknown format; expected an array: "
            "np.frombuffer(data, np.int16) of 16-bit PCM, .reshape(-1, channels) where there are "
            "several"
        )
    array = np.asarray(samples)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            bad = int(np.size(array) - np.isfinite(array).sum())
            raise NonFiniteError(f"{bad} of {np.size(array)} samples are NaN or infinite")
    elif array.dtype not in _INTEGER_SCALES and array.size:
        raise AudioError(
            f"samples of dtype {array.dtype}; expected float32/64 in [-1, 1] or "
            f"{', '.join(str(kind) for kind in _INTEGER_SCALES)}"
        )
    if array.ndim not in (1, 2):
        raise AudioError(f"samples of shape {list(array.shape)}; expected [n] or [n, channels]")
    if array.ndim == 2 and not 1 <= array.shape[1] <= MAX_CHANNELS:
        raise AudioError(
            f"samples of shape {list(array.shape)}: {array.shape[1]} channels; expected "
            f"[n, channels] with 1 to {MAX_CHANNELS} channels (transpose channels-first audio)"
        )
    return array


def _is_raw(samples: object) -> bool:
    """Whether these are bytes, each of which numpy would take for a sample."""
    if isinstance(samples, np.ndarray):
        return False
    try:
        view = memoryview(samples)  # type: ignore[arg-type]
    except TypeError:  # no bytes at all: a list, a tensor
        return False
    return isinstance(samples, memoryview) or view.itemsize == 1


class NonFiniteError(AudioError):
    """NaN or infinity among the samples, told apart so that it can be counted."""


class ChannelError(AudioError):
    """Audio without the channel that is to be heard."""


def read_channel(value: object) -> int | None:
    """Return the index of the channel that is to be heard; None for "mix", the mean of all.

    Raises:
        AudioError: it is neither "mix" nor an index, as a number or a text.
    """
    text = str(value)
    is_index = not isinstance(value, bool) and text.isascii() and text.isdigit()
    if text != "mix" and not (is_index and int(text[:9]) < MAX_CHANNELS):
        raise AudioError(
            f"found {value!r} for a channel; expected mix, or an index from 0 to "
            f"{MAX_CHANNELS - 1}"
        )
    return None if text == "mix" else int(text)


def pick_channel(samples: np.ndarray, channel: int | None) -> np.ndarray:
    """Return one channel [n] of checked samples [n] or [n, channels]; all of them for None.

    Raises:
        ChannelError: there are not so many.
    """
    if channel is None:
        return samples
    count = 1 if samples.ndim == 1 else samples.shape[1]
    if channel >= count:
        raise ChannelError(
            f"found {count} channels, but channel {channel} is to be heard; expected one of 0 to "
            f"{count - 1}, or mix"
        )
    return samples if samples.ndim == 1 else samples[:, channel]


def mix_to_mono(samples: np.ndarray) -> tuple[np.ndarray, int]:
    """Average checked samples [n] or [n, channels] to float32 [n] in [-1, 1].

    Returns the samples and how many of them (over all channels) lay beyond full scale.
    """
    scaled, clipped = scale_samples(samples)
    if scaled.ndim == 2:
        scaled = scaled[:, 0] if scaled.shape[1] == 1 else scaled.mean(axis=1, dtype=np.float32)
    return scaled, clipped


def scale_samples(samples: np.ndarray) -> tuple[np.ndarray, int]:
    """Return checked samples of any shape as float32 in [-1, 1], and how many were clipped."""
    if samples.dtype.kind == "f":
        clipped = int(np.count_nonzero(np.abs(samples) > 1.0))
        if clipped:
            samples = np.clip(samples, -1.0, 1.0)
        return samples.astype(np.float32, copy=False), clipped
    zero, scale = _INTEGER_SCALES[samples.dtype]
    # Exact where the samples are: float32 holds 24 bits, and scales are powers of two.
    scaled: np.ndarray = samples.astype(np.float32 if samples.itemsize <= 2 else np.float64)
    return ((scaled - zero) * (1.0 / scale)).astype(np.float32, copy=False), 0


def find_peak(samples: np.ndarray) -> float:
    """Return the largest magnitude of checked samples of any shape, not empty, in [0, 1]."""
    low, high = samples.min().item(), samples.max().item()
    if samples.dtype.kind == "f":
        return min(max(-low, high), 1.0)
    zero, scale = _INTEGER_SCALES[samples.dtype]
    return max(zero - low, high - zero) / scale


def channels_cancel(samples: np.ndarray, mono: np.ndarray) -> bool:
    """Whether averaging [n, channels] to `mono` [n] lost the sound: one channel is inverted.

    True where the channels have more than a hundred times (20 dB) the power of their mean, and
    are no mere noise (above -60 dB of full scale). Independent channels lose their number.
    """
    if samples.ndim != 2 or samples.shape[1] < 2 or samples.shape[1] >= 50:
        return False
    loud = max(float(np.square(mix_to_mono(channel)[0]).mean()) for channel in samples.T)
    return loud > 1e-6 and float(np.square(mono).mean()) < 0.01 * loud


CANCEL_MESSAGE = (
    "the channels cancel each other, their mean is silent: one of them is inverted. Hear one "
    "of them alone: --channel 0, of a node the parameter channel"
)


# dtype -> (value of silence, full scale)
_INTEGER_SCALES: dict[np.dtype, tuple[float, float]] = {
    np.dtype(np.uint8): (128.0, 128.0),
    np.dtype(np.int8): (0.0, 128.0),
    np.dtype(np.int16): (0.0, 32768.0),
    np.dtype(np.uint16): (32768.0, 32768.0),
    np.dtype(np.int32): (0.0, 2147483648.0),
    np.dtype(np.uint32): (2147483648.0, 2147483648.0),
}

_FORMATS = ("S8", "U8", "S16", "U16", "S24", "S24_32", "S32", "U32", "F32", "F64")
_COMPRESSED = ("MP3", "OPUS", "AAC", "OGG", "VORBIS", "FLAC", "WMA", "M4A", "AC3", "SPEEX")


@lru_cache(maxsize=64)
def _parse_format(sample_format: str) -> tuple[str, str]:
    name = str(sample_format).strip().upper()
    order = ">" if name.endswith("BE") else "<"
    name = re.sub(r"_*(LE|BE)$", "", name)
    if name in _FORMATS:
        return name, order
    known = " ".join(kind if kind.endswith("8") else f"{kind}LE" for kind in _FORMATS)
    if name.startswith(_COMPRESSED):
        raise AudioError(f"{sample_format!r} is compressed; decode it first to one of: {known}")
    raise AudioError(
        f"sample format {sample_format!r} is unknown; expected one of: {known}, or BE"
    )


def _decode(raw: np.ndarray, kind: str, order: str) -> np.ndarray:
    if kind == "S24":
        # Three bytes become the upper three of an int32: the sign comes along, the scale is known.
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        triples = raw.reshape(-1, 3)
        wide[:, 1:] = triples if order == "<" else triples[:, ::-1]
        return wide.reshape(-1).view("<i4").astype(np.int32)
    if kind == "S24_32":
        return np.left_shift(raw.view(f"{order}u4").astype(np.uint32), 8).view(np.int32)
    letter = {"S": "i", "U": "u", "F": "f"}[kind[0]]
    stored = raw.view(f"{order}{letter}{_count_bytes(kind)}")
    return stored.astype(stored.dtype.newbyteorder("="))


def _count_bytes(kind: str) -> int:
    return 4 if kind == "S24_32" else int(kind[1:]) // 8
