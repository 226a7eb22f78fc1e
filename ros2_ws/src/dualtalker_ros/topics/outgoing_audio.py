"""Samples made into audio messages of several kinds, by their fields.

dualtalker.audio.messages reads them again.
"""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from std_msgs.msg import MultiArrayDimension

from dualtalker.audio import RATE_LABEL, STAMP_LABEL
from dualtalker.errors import AudioError


def fill_message(
    message: Any, samples: np.ndarray, rate_hz: int, stamp_ns: int, *, stamp_layout: bool = False
) -> Any:
    """Write samples as 16-bit PCM into an empty message; return it.

    Args:
        message: of one of the SUPPORTED_TYPES that 16-bit audio fits into.
        samples: [n] or [n, channels], float in [-1, 1] or int16.
        rate_hz: their rate; lost where the type has no place for it.
        stamp_ns: time of the first sample.
        stamp_layout: have a message without a header carry the stamp as a label of its layout.

    Raises:
        AudioError: the message's type is none that 16-bit audio fits into.
    """
    pcm = samples.astype("<i2") if samples.dtype.kind == "i" else _quantize(samples)
    frames, channels = len(pcm), 1 if pcm.ndim == 1 else pcm.shape[1]
    if hasattr(message, "header"):
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    body = message.audio if hasattr(message, "audio") else message
    if hasattr(body, "layout"):
        labels = [f"{RATE_LABEL}{rate_hz}"]
        labels += [f"{STAMP_LABEL}{stamp_ns}"] if stamp_layout else []
        body.layout.dim = _describe_layout(labels, frames, channels)
    if hasattr(body, "audio_data"):
        body.audio_data.int16_data = array.array("h", pcm.tobytes())
        body.info.format, body.info.channels = 8, channels
        body.info.rate, body.info.chunk = rate_hz, frames
    elif not hasattr(body, "data"):
        raise AudioError(f"{type(message).__name__} has no field for samples")
    elif getattr(body.data, "typecode", "B") == "h":
        body.data = array.array("h", pcm.tobytes())
    elif getattr(body.data, "typecode", "B") == "B":
        body.data = array.array("B", pcm.tobytes())
    else:
        raise AudioError(f"16-bit audio does not fit into {type(message).__name__}")
    return message


def _quantize(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(samples * 32767.0), -32768, 32767).astype("<i2")


def _describe_layout(labels: list[str], frames: int, channels: int) -> list[Any]:
    count = frames * channels
    return [
        *(MultiArrayDimension(label=label, size=1, stride=count) for label in labels),
        MultiArrayDimension(label="samples", size=frames, stride=count),
        MultiArrayDimension(label="channels", size=channels, stride=channels),
    ]
