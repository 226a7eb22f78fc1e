"""Microphone and loudspeaker through PortAudio."""

from __future__ import annotations

from dualtalker.devices.capture import CaptureClock
from dualtalker.devices.keeper import StreamKeeper
from dualtalker.devices.playback import PlayoutQueue
from dualtalker.devices.portaudio import (
    PortAudioStream,
    format_devices,
    import_sounddevice,
    list_devices,
    open_loudspeaker,
    open_microphone,
    play_samples,
)
from dualtalker.devices.stream import Block, DeviceStream

__all__ = [
    "Block",
    "CaptureClock",
    "DeviceStream",
    "PlayoutQueue",
    "PortAudioStream",
    "StreamKeeper",
    "format_devices",
    "import_sounddevice",
    "list_devices",
    "open_loudspeaker",
    "open_microphone",
    "play_samples",
]
