"""Audio messages of several kinds made into samples, by looking at their fields.

Two unrelated packages are called `audio_common_msgs`; neither is imported here. What counts is
the shape of a message:

    data                      std_msgs/*MultiArray, ros-drivers audio_common_msgs/AudioData
    header, audio.data        ros-drivers audio_common_msgs/AudioDataStamped
    header, audio.audio_data  mgonzs13 audio_common_msgs/AudioStamped

ros-drivers' AudioInfo tells the format of bytes that do not (`read_info`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dualtalker.audio.pcm import (
    MAX_CHANNELS,
    ChannelError,
    NonFiniteError,
    decode_pcm,
    pick_channel,
)
from dualtalker.audio.resampling import check_rate
from dualtalker.audio.sniffing import name_compression
from dualtalker.errors import AudioError

SUPPORTED_TYPES = (
    "std_msgs/msg/Int16MultiArray",
    "std_msgs/msg/UInt8MultiArray",
    "std_msgs/msg/Int8MultiArray",
    "std_msgs/msg/UInt16MultiArray",
    "std_msgs/msg/Int32MultiArray",
    "std_msgs/msg/Float32MultiArray",
    "std_msgs/msg/Float64MultiArray",
    "audio_common_msgs/msg/AudioDataStamped",
    "audio_common_msgs/msg/AudioData",
    "audio_common_msgs/msg/AudioStamped",
)

# Types whose messages are bytes without a format, and the one that tells it.
BARE_TYPES = ("audio_common_msgs/msg/AudioDataStamped", "audio_common_msgs/msg/AudioData")
INFO_TYPE = "audio_common_msgs/msg/AudioInfo"
SAMPLE_FORMATS = ("S16LE", "S16BE", "U8", "S8", "S24LE", "S24_32LE", "S32LE", "F32LE", "F64LE")

# A label of a size-1 dimension by which a std_msgs array can say its own rate.
RATE_LABEL = "sample_rate_hz="
# Another, by which it can say the time of its first sample: nanoseconds since 1970.
STAMP_LABEL = "stamp_ns="
# Frames are stamped with this and up to a day more, and a stamp's seconds are 32 bits.
LAST_STAMP_NS = (2**31 - 86400) * 10**9

# PortAudio's numbers for sample formats, as mgonzs13's AudioInfo carries them, and the field of
# AudioData that holds such samples.
_PORTAUDIO_FIELDS = {
    1: ("float32_data", "F32LE"),
    2: ("int32_data", "S32LE"),
    8: ("int16_data", "S16LE"),
    16: ("int8_data", "S8"),
    32: ("uint8_data", "U8"),
}


@dataclass(frozen=True)
class AudioChunk:
    """One message's audio, as `Talker.push` takes it."""

    samples: np.ndarray  # [n, channels], or [n]; float in [-1, 1] or integer PCM
    rate_hz: int
    stamp_ns: int | None  # of the first sample; None where the message carries no time
    message: Any = None  # as it came, for those who send it on

    @property
    def duration_s(self) -> float:
        """Seconds of audio."""
        return len(self.samples) / self.rate_hz


@dataclass(frozen=True)
class AudioFormat:
    """What a message does not say about itself."""

    rate_hz: int = 16000
    channels: int = 1
    sample_format: str = "S16LE"  # of byte arrays
    channel: int | None = None  # the one that is heard; None: their mean


class EmptyError(AudioError):
    """A message without samples."""


class CompressedError(AudioError):
    """A message whose data is compressed, or a file."""


# What a node counts refused messages by.
REFUSALS = {
    "empty_messages": EmptyError,
    "compressed_messages": CompressedError,
    "nonfinite_messages": NonFiniteError,
    "missing_channels": ChannelError,
    "undecodable_messages": AudioError,
}


def kind_of(error: AudioError) -> str:
    """Return which of REFUSALS an error of `read_message` is."""
    return next(kind for kind, error_type in REFUSALS.items() if isinstance(error, error_type))


def read_message(message: Any, defaults: AudioFormat) -> AudioChunk:
    """Return the audio of a message of one of the SUPPORTED_TYPES.

    Raises:
        AudioError: no samples, a size that does not fit, NaN, compressed or unknown content, or
            fewer channels than `defaults` wants to hear.
    """
    layout = getattr(message, "layout", None)
    dimensions = _list_dimensions(layout) if layout is not None else []
    stamp_ns = _read_stamp(message, dimensions)
    body = message.audio if hasattr(message, "audio") else message
    if hasattr(body, "audio_data"):
        samples, rate_hz = _read_typed(body)
    elif hasattr(body, "data"):
        offset = 0 if layout is None else int(layout.data_offset)
        samples, rate_hz = _read_array(body.data, offset, dimensions, defaults)
    else:
        raise AudioError(
            f"message {type(message).__name__} has no audio fields; expected one of: "
            + ", ".join(SUPPORTED_TYPES)
        )
    if len(samples) == 0:
        raise EmptyError("the message holds no samples")
    check_rate(rate_hz)
    return AudioChunk(pick_channel(samples, defaults.channel), rate_hz, stamp_ns, message)


def is_info(message: Any) -> bool:
    """Whether a message or its class is ros-drivers' AudioInfo; mgonzs13's lies in the audio."""
    return hasattr(message, "coding_format")


def read_info(message: Any, parameters: AudioFormat) -> AudioFormat:
    """Return the format that an AudioInfo tells; fields of zero or "" are left to `parameters`.

    Raises:
        AudioError: the coding is compressed, or rate, channels or sample format are unknown.
    """
    coding = str(message.coding_format).strip().lower()
    if coding not in ("", "wave", "wav", "raw", "pcm"):
        raise AudioError(
            f"audio_info tells of {coding!r}; expected uncompressed audio: start audio_capture "
            "with format:=wave"
        )
    told = str(message.sample_format).strip().upper()
    if told and told not in SAMPLE_FORMATS:
        raise AudioError(
            f"audio_info tells of samples in {told!r}; expected one of {', '.join(SAMPLE_FORMATS)}"
        )
    channels = int(message.channels) or parameters.channels
    if channels > MAX_CHANNELS:
        raise AudioError(f"audio_info tells of {channels} channels; expected 1 to {MAX_CHANNELS}")
    rate_hz = int(message.sample_rate) or parameters.rate_hz
    check_rate(rate_hz)
    sample_format = told or parameters.sample_format
    return replace(parameters, rate_hz=rate_hz, channels=channels, sample_format=sample_format)


def _list_dimensions(layout: Any) -> list[tuple[str, int]]:
    """Return labels, without regard to case, and sizes of a std_msgs array's dimensions."""
    return [(item.label.strip().lower(), item.size) for item in layout.dim]


def _read_stamp(message: Any, dimensions: list[tuple[str, int]]) -> int | None:
    """A stamp of zero means that nobody set it."""
    header = getattr(message, "header", None)
    if header is None:
        stamp_ns = _read_label(dimensions, STAMP_LABEL, 1700000000000000000) or None
    else:
        stamp_ns = header.stamp.sec * 10**9 + header.stamp.nanosec or None
    if stamp_ns is not None and stamp_ns > LAST_STAMP_NS:
        raise AudioError(
            f"the stamp is {stamp_ns / 1e9:.0f} s after 1970, but builtin_interfaces/Time ends at "
            f"{2**31} s; expected nanoseconds in a label, the time of recording in a header"
        )
    return stamp_ns


def _read_label(dimensions: list[tuple[str, int]], label: str, example: int) -> int | None:
    """Return the number that a dimension's label gives after `label`; None where none does."""
    for found, _ in dimensions:
        if found.startswith(label):
            number = found[len(label) :]
            if not re.fullmatch(r"\d{1,19}", number):
                raise AudioError(f"layout label {found!r}; expected {label}{example}")
            return int(number)
    return None


def _read_array(
    data: Any, offset: int, dimensions: list[tuple[str, int]], defaults: AudioFormat
) -> tuple[np.ndarray, int]:
    """Read std_msgs arrays (typed by their field) and byte arrays (PCM as in `defaults`)."""
    told_hz = _read_label(dimensions, RATE_LABEL, 16000)
    rate_hz = defaults.rate_hz if told_hz is None else told_hz
    sizes = [size for label, size in dimensions if label == "channels"]
    channels = int(sizes[-1]) if sizes else defaults.channels
    values = _as_array(data)
    if values.dtype == np.uint8:
        values = values[offset:]
        _refuse_compressed(values.tobytes())
        return decode_pcm(values, defaults.sample_format, channels), rate_hz
    return _decode_values(values[offset:], channels), rate_hz


def _read_typed(body: Any) -> tuple[np.ndarray, int]:
    """Read mgonzs13's Audio: one of five arrays is filled, `info` says which."""
    info = body.info
    if info.format not in _PORTAUDIO_FIELDS:
        raise AudioError(
            f"AudioInfo.format is {info.format}; expected a PortAudio format of "
            + ", ".join(str(number) for number in _PORTAUDIO_FIELDS)
        )
    field, sample_format = _PORTAUDIO_FIELDS[info.format]
    values = _as_array(getattr(body.audio_data, field))
    return decode_pcm(values, sample_format, int(info.channels)), int(info.rate)


def _as_array(data: Any) -> np.ndarray:
    """View an array.array, bytes or a sequence of bytes as numpy, mostly without a copy."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return np.frombuffer(data, np.uint8)
    return np.ravel(data)


def _decode_values(values: np.ndarray, channels: int) -> np.ndarray:
    size = values.dtype.itemsize
    kind = {"i": "S", "u": "U", "f": "F"}.get(values.dtype.kind)
    if kind is None:
        raise AudioError(f"samples of dtype {values.dtype}; expected integers or floats")
    return decode_pcm(values, f"{kind}{8 * size}LE", channels)


def _refuse_compressed(data: bytes) -> None:
    name = name_compression(data)
    if name is not None:
        raise CompressedError(
            f"the data is {name}, expected raw PCM; have the audio driver send PCM "
            "(audio_capture: format:=wave)"
        )
