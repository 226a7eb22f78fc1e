"""Microphones and loudspeakers: what a stream of either is.

portaudio  opens streams of sound cards (the only module that knows `sounddevice`)
keeper     keeps a stream running while devices are unplugged and return
capture    gives recorded blocks the time of their first sample
playback   the bounded queue in front of a loudspeaker
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Block:
    """What a sound card recorded in one go."""

    pcm: bytes  # interleaved 16-bit samples [frames, channels], native byte order
    frames: int
    arrival_s: float  # monotonic
    adc_s: float | None  # monotonic, of the first sample; None where the driver does not know
    overflow: bool  # samples before these were lost


class DeviceStream(Protocol):
    """A running stream of a device, as `keeper` watches it."""

    name: str
    rate_hz: int
    latency_s: float  # as the driver states it
    last_call_s: float  # monotonic time at which samples last came or were last asked for

    def is_active(self) -> bool:
        """Whether the device still delivers or takes samples, as far as the driver knows."""

    def close(self) -> None:
        """Stop and free the device; never raises."""
