"""Sound cards through PortAudio: listing, choosing, opening. The only user of `sounddevice`."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualtalker.audio import StreamingResampler
from dualtalker.devices.stream import Block
from dualtalker.errors import DeviceError


@dataclass(frozen=True)
class SoundDevice:
    """One line of PortAudio's list."""

    index: int
    name: str
    inputs: int  # channels
    outputs: int
    rate_hz: int  # that the driver prefers
    default_for: tuple[str, ...] = ()  # "input", "output"

    def channels(self, direction: str) -> int:
        """Return the channels of "input" or "output"."""
        return self.inputs if direction == "input" else self.outputs


def import_sounddevice() -> Any:
    """Return the module; DeviceError says which command installs what is missing."""
    try:
        import sounddevice
    except ImportError as error:
        raise DeviceError(
            f"the Python package sounddevice is missing ({error}); "
            'install it: pip install "dualtalker[devices]"'
        ) from error
    except OSError as error:
        raise DeviceError(
            f"the PortAudio library is missing ({error}); on Debian, Ubuntu and Jetsons: "
            "sudo apt install libportaudio2"
        ) from error
    return sounddevice


def list_devices(*, rescan: bool = False) -> list[SoundDevice]:
    """Return the devices; PortAudio sees plugged and unplugged ones only on a `rescan`.

    A rescan ends all streams of this process.
    """
    sounddevice = import_sounddevice()
    try:
        if rescan:
            # PortAudio makes its list once; sounddevice has no public way to have it made again.
            sounddevice._terminate()
            sounddevice._initialize()
        entries = sounddevice.query_devices()
        chosen = list(sounddevice.default.device)
    except sounddevice.PortAudioError as error:
        raise DeviceError(f"PortAudio cannot list devices: {error}") from error
    return [
        SoundDevice(
            i,
            entry["name"],
            entry["max_input_channels"],
            entry["max_output_channels"],
            round(entry["default_samplerate"]),
            tuple(way for way, n in zip(("input", "output"), chosen, strict=True) if n == i),
        )
        for i, entry in enumerate(entries)
    ]


def format_devices(devices: Sequence[SoundDevice]) -> str:
    """Return a table: index, name, channels, preferred rate; a star marks the defaults."""
    lines = [
        f"{'*' if device.default_for else ' '}{device.index:3d}  {device.name}  "
        f"({device.inputs} in, {device.outputs} out, {device.rate_hz} Hz)"
        for device in devices
    ]
    return "\n".join(lines) or "no audio devices"


def find_device(devices: Sequence[SoundDevice], wanted: str, direction: str) -> SoundDevice:
    """Return the device of an index, a name or a part of one name; "" is the default device.

    `direction` is "input" or "output". Raises DeviceError where none or several fit.
    """
    usable = [device for device in devices if device.channels(direction) > 0]
    if not usable:
        raise DeviceError(
            f"there is no {direction} device; plug one in, or start the sound server"
        )
    if not wanted:
        return next((device for device in usable if direction in device.default_for), usable[0])
    if wanted.isdigit():
        found = [device for device in usable if device.index == int(wanted)]
    else:
        exact = [device for device in usable if device.name == wanted]
        part = wanted.lower()
        found = exact or [device for device in usable if part in device.name.lower()]
    if len(found) == 1:
        return found[0]
    count = "none" if not found else str(len(found))
    raise DeviceError(
        f"device {wanted!r} fits {count} of the {direction} devices:\n{format_devices(usable)}"
    )


class PortAudioStream:
    """A running stream of sounddevice, as a DeviceStream."""

    def __init__(
        self,
        direction: str,
        device: SoundDevice,
        on_call: Callable[[PortAudioStream, Any, int, Any, Any], None],
        latency_s: float,
        **settings: Any,
    ) -> None:
        """Open and start; `on_call` gets this and what PortAudio's thread has; DeviceError."""
        sounddevice = import_sounddevice()
        kinds = {"input": sounddevice.RawInputStream, "output": sounddevice.RawOutputStream}
        self.name, self.last_call_s = device.name, float("-inf")
        callback, latency = functools.partial(on_call, self), latency_s or "low"
        try:
            self._stream = kinds[direction](
                device=device.index, callback=callback, latency=latency, **settings
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            raise DeviceError(
                f"{device.name} refuses {settings['samplerate']} Hz with {settings['channels']} "
                f"channels ({error}); it has {device.channels(direction)} channels and prefers "
                f"{device.rate_hz} Hz: try sample_rate_hz:=0, or set PA_ALSA_PLUGHW=1 for ALSA to "
                "convert"
            ) from error
        self.rate_hz = round(self._stream.samplerate)
        self.latency_s = float(self._stream.latency)
        try:
            self._stream.start()
        except sounddevice.PortAudioError as error:
            self.close()
            raise DeviceError(f"{device.name} does not start: {error}") from error

    def note_call(self) -> float:
        """Remember that the device asked; return the monotonic time."""
        self.last_call_s = time.monotonic()
        return self.last_call_s

    def age_s(self, moment_s: float) -> float:
        """Return how long ago a moment of the stream's own clock was."""
        return float(self._stream.time) - moment_s

    def is_active(self) -> bool:
        """Whether PortAudio's thread still runs."""
        return bool(self._stream.active)

    def close(self) -> None:
        """Stop at once and free the device."""
        self._stream.abort(ignore_errors=True)
        self._stream.close(ignore_errors=True)


def open_microphone(
    wanted: str,
    rate_hz: int,
    channels: int,
    frames: int,
    on_block: Callable[[PortAudioStream, Block], None],
    latency_s: float,
) -> PortAudioStream:
    """Open an input; `on_block` gets blocks of `frames`, in PortAudio's thread.

    A rate of 0 is the device's preferred one; `frames` then counts at 16 kHz. A latency of 0 is
    the driver's lowest. Raises DeviceError.
    """
    device = find_device(list_devices(rescan=True), wanted, "input")
    if rate_hz == 0:
        frames = round(frames * device.rate_hz / 16000)
        rate_hz = device.rate_hz

    def on_call(stream: PortAudioStream, data: Any, count: int, times: Any, status: Any) -> None:
        now_s = stream.note_call()
        # Not times.currentTime: Python may have come here much later than that.
        adc_s = times.inputBufferAdcTime
        taken_s = now_s - stream.age_s(adc_s) if adc_s > 0 else None
        on_block(stream, Block(bytes(data), count, now_s, taken_s, bool(status.input_overflow)))

    settings = {"samplerate": rate_hz, "channels": channels, "blocksize": frames}
    return PortAudioStream("input", device, on_call, latency_s, dtype="int16", **settings)


def open_loudspeaker(
    wanted: str,
    rate_hz: int,
    channels: int,
    on_need: Callable[[PortAudioStream, int, float, bool], np.ndarray],
    latency_s: float,
) -> PortAudioStream:
    """Open an output; `on_need` makes mono float32 samples [n], in PortAudio's thread.

    It gets the stream, n, the monotonic time (s) at which they will sound, and whether samples
    came too late before. A rate of 0 is the device's preferred one, a latency of 0 the driver's
    lowest. Raises DeviceError.
    """
    device = find_device(list_devices(rescan=True), wanted, "output")

    def on_call(stream: PortAudioStream, data: Any, count: int, times: Any, status: Any) -> None:
        now_s = stream.note_call()
        dac_s = times.outputBufferDacTime
        sounds_s = now_s - stream.age_s(dac_s) if dac_s > 0 else now_s + stream.latency_s
        samples = on_need(stream, count, max(sounds_s, now_s), bool(status.output_underflow))
        data[:] = np.repeat(samples, channels).astype(np.float32).tobytes()

    settings = {"samplerate": rate_hz or device.rate_hz, "channels": channels}
    return PortAudioStream("output", device, on_call, latency_s, dtype="float32", **settings)


def play_samples(
    samples: np.ndarray, rate_hz: int, stop: threading.Event, wanted: str = ""
) -> None:
    """Play mono float32 samples [n] on an output, and return when they have sounded.

    It ends early where `stop` is set. Raises DeviceError.
    """
    rest = samples

    def on_need(stream: PortAudioStream, count: int, sounds_s: float, late: bool) -> np.ndarray:
        nonlocal rest
        piece, rest = rest[:count], rest[count:]
        return np.pad(piece, (0, count - len(piece)))

    device = find_device(list_devices(), wanted, "output")
    resampler = StreamingResampler(rate_hz, device.rate_hz)
    rest = np.concatenate([resampler.push(samples), resampler.flush()])
    stream = open_loudspeaker(wanted, device.rate_hz, 1, on_need, 0.0)
    try:
        while len(rest) and stream.is_active() and not stop.wait(0.05):
            pass
        stop.wait(stream.latency_s + 0.1)  # the driver still plays what it has
    finally:
        stream.close()
