"""Speech as it comes, from a microphone or a recording in real time, to the face on screens."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np

from dualtalker.audio import AudioChunk, mix_to_mono, pick_channel
from dualtalker.delivery import Delivery
from dualtalker.devices import (
    Block,
    CaptureClock,
    DeviceStream,
    PortAudioStream,
    StreamKeeper,
    open_microphone,
)
from dualtalker.display.server import FaceServer
from dualtalker.errors import DeviceError
from dualtalker.outputs import Output
from dualtalker.stream import Talker

# A frame leaves when its playout is due and is shown so much later: the way to a screen.
WAY_S = 0.02
_CHUNK_S = 0.02
_BUDGET_S = 0.05
_LONGEST_SLEEP_S = 0.1
_QUEUED_BLOCKS = 500
_log = logging.getLogger("dualtalker")


class LiveFace:
    """Chunks in as they are spoken, frames on screens a fixed time after them."""

    def __init__(
        self,
        server: FaceServer | None,
        talker: Talker,
        *,
        is_heard: bool = False,
        outputs: Sequence[Output] = (),
    ) -> None:
        """Where `is_heard`, screens that are loudspeakers get the speech too.

        `outputs` get each frame when it is due.
        """
        self._server, self._is_heard, self._outputs = server, is_heard, outputs
        self._delivery = Delivery(talker, paced=True)
        self._delivery.warm_up(16000)
        self._delivery.start(time.monotonic_ns())
        self._chunks: queue.Queue[AudioChunk] = queue.Queue(_QUEUED_BLOCKS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live face", daemon=True)
        self.dropped = 0  # chunks that found no room

    def __enter__(self) -> LiveFace:
        """Begin to show the face."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        self._stop.set()
        self._thread.join()

    @property
    def delay_s(self) -> float:
        """From a sound to its mouth on the screen."""
        return self._delivery.delay_s + WAY_S

    @property
    def counters(self) -> dict[str, int]:
        """What went wrong so far, by kind."""
        return {**self._delivery.all_counters, "dropped_chunks": self.dropped}

    def push(self, samples: np.ndarray, rate_hz: int, taken_s: float) -> None:
        """Take mono samples [n] whose first was taken at `taken_s` of `time.monotonic`."""
        try:
            self._chunks.put_nowait(AudioChunk(samples, rate_hz, round(taken_s * 1e9)))
        except queue.Full:
            self.dropped += 1

    def _run(self) -> None:
        sleep_s = 0.0
        while not self._stop.is_set():
            try:
                self._take(self._chunks.get(timeout=max(sleep_s, 1e-4)))
                while True:
                    self._take(self._chunks.get_nowait())
            except queue.Empty:
                pass
            now_ns = time.monotonic_ns()
            for timed in self._delivery.run(now_ns, _BUDGET_S):
                frame, taken_s = timed.frame, timed.depicted_ns / 1e9
                for output in self._outputs:
                    output.send(frame)
                if self._server is not None:
                    self._server.send_frame(
                        frame.index, taken_s + self.delay_s, frame.weights, frame.head, taken_s
                    )
            now_ns = time.monotonic_ns()
            wake_s = (self._delivery.next_wake_ns(now_ns) - now_ns) / 1e9
            sleep_s = min(wake_s, _LONGEST_SLEEP_S)

    def _take(self, chunk: AudioChunk) -> None:
        self._delivery.add(chunk, time.monotonic_ns())
        server = self._server
        if server is None or not self._is_heard or chunk.stamp_ns is None:
            return
        if server.wants_sound:
            sounds_s = chunk.stamp_ns / 1e9 + self.delay_s
            server.send_sound(chunk.samples, chunk.rate_hz, sounds_s)


class Microphone:
    """Feeds a live face from a sound device, which may be unplugged and return."""

    def __init__(
        self,
        face: LiveFace,
        device: str = "",
        rate_hz: int = 16000,
        channels: int = 1,
        channel: int | None = None,
    ) -> None:
        """`device` is an index, a name or a part of it; empty is the default one.

        Of the channels that are recorded one is heard, or their mean for None.

        Raises:
            DeviceError: there is no channel to record.
            ChannelError: the one to hear is none of them.
        """
        if channels < 1:
            raise DeviceError(f"{channels} channels to record; expected 1 or more")
        pick_channel(np.zeros((0, channels), np.int16), channel)
        self._face, self._device, self._rate_hz = face, device, rate_hz
        self._channels, self._channel = channels, channel
        self._stream: DeviceStream | None = None
        self._clock = CaptureClock(rate_hz, 0.0)
        self.keeper = StreamKeeper(
            self._open,
            on_open=lambda stream: _log.warning("listening to %s", stream.name),
            on_loss=lambda reason: _log.warning("lost the device: %s; trying again", reason),
            on_failure=lambda reason, wait_s: _log.error("%s (next try in %g s)", reason, wait_s),
        )

    def __enter__(self) -> Microphone:
        """Open the device, again and again until it is there."""
        self.keeper.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Free it."""
        self.keeper.close()

    def _open(self) -> DeviceStream:
        frames = max(round(self._rate_hz * _CHUNK_S), 1)
        return open_microphone(
            self._device, self._rate_hz, self._channels, frames, self._on_block, 0.0
        )

    def _on_block(self, stream: PortAudioStream, block: Block) -> None:
        """In PortAudio's thread."""
        if stream is not self._stream:
            self._stream = stream
            self._clock = CaptureClock(stream.rate_hz, stream.latency_s)
        taken_s = self._clock.stamp(block)
        if taken_s is not None:
            samples = np.frombuffer(block.pcm, np.int16).reshape(block.frames, -1)
            mono, _ = mix_to_mono(pick_channel(samples, self._channel))
            self._face.push(mono, stream.rate_hz, taken_s)


def pace_recording(
    face: LiveFace, samples: np.ndarray, rate_hz: int, stop: threading.Event
) -> Iterator[float]:
    """Give a recording [n] to a face at speaking speed; yield the seconds of each piece."""
    size = max(round(_CHUNK_S * rate_hz), 1)
    start_s = time.monotonic()
    for begin in range(0, len(samples), size):
        piece = samples[begin : begin + size]
        # A microphone gives a chunk when it is full.
        if stop.wait(max(start_s + (begin + len(piece)) / rate_hz - time.monotonic(), 0.0)):
            return
        face.push(piece, rate_hz, start_s + begin / rate_hz)
        yield len(piece) / rate_hz
