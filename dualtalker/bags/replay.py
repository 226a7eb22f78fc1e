"""Runs a bag's audio and phones through the node's own delivery on a clock that is not waited for.

What decodes messages, queues audio, paces frames and idles is the very code of the talker node
(`dualtalker.delivery`, which knows no ROS): frames are bit-equal to the live node's, given the
same audio. Only time differs: it leaps from one event to the next, and computing takes none of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from dualtalker.audio import REFUSALS, AudioFormat, kind_of, mix_to_mono, read_message
from dualtalker.bags.reading import BagMessage
from dualtalker.delivery import Delivery
from dualtalker.errors import AudioError, BagError, SpeechError
from dualtalker.model import Bundle
from dualtalker.options import TalkerOptions
from dualtalker.stream import Talker, TimedFrame

# The node never comes back sooner, either.
MIN_WAIT_NS = 200_000
# Frames after the last audio that belong to the motion: the mouth closes in them.
_TAIL_S = 0.5
# Stamps further than this from the time of recording are of another clock.
SAME_CLOCK_S = 10.0
# How long the node is taken to have idled before the first audio, where nothing tells.
LEAD_S = 1.0


@dataclass(frozen=True)
class ReplaySettings:
    """The talker node's parameters that change frames; the defaults are the node's."""

    model: Bundle | None = None
    talker: TalkerOptions = field(default_factory=TalkerOptions)
    paced: bool = True
    playout_delay_s: float | None = None
    starvation_s: float = 0.1
    replace_utterances: bool = False
    stamps: str = "auto"
    """What stamps of audio are of: audio, arrival, or auto."""


@dataclass(frozen=True)
class Heard:
    """A piece of audio as the model heard it."""

    begin_ns: int  # of its first sample, on the node's clock
    samples: np.ndarray  # [n] float32, the mean of the channels
    rate_hz: int


@dataclass(frozen=True)
class Replay:
    """What a talker node does with the audio of a bag.

    Times in seconds count from the first sample heard.
    """

    frames: list[TimedFrame]
    heard: list[Heard]
    first_stamp_ns: int
    """Stamp of the first sample, on the clock of the audio's stamps; its arrival without."""
    fps: float
    latency_s: float
    """Stated: lookahead, hop and resampler."""
    bundle: Bundle
    backend: str
    counters: dict[str, int]
    """What went wrong, by kind: refused messages, the delivery's, the talker's."""
    step_s: list[float] = field(repr=False)
    """Compute time of each piece of audio (the last thousand)."""
    real_time_factor: float
    lead_frames: int
    """Idle frames before the first audio."""

    @property
    def times_s(self) -> np.ndarray:
        """The time that each frame depicts, [frames]."""
        depicted = np.array([timed.depicted_ns for timed in self.frames])
        return np.asarray((depicted - self.heard[0].begin_ns) / 1e9)

    @property
    def stamps_ns(self) -> np.ndarray:
        """The stamp of each frame, [frames] int64."""
        return np.array([timed.stamp_ns for timed in self.frames], np.int64)

    @property
    def weights(self) -> np.ndarray:
        """The weights, [frames, 52] float32."""
        return np.stack([timed.frame.weights for timed in self.frames])

    @property
    def duration_s(self) -> float:
        """From the first sample heard to the last."""
        ends = [h.begin_ns + len(h.samples) * 10**9 // h.rate_hz for h in self.heard]
        return (max(ends) - self.heard[0].begin_ns) / 1e9


class _TapedTalker(Talker):
    """A talker that keeps what it hears."""

    tape: list[Heard]

    def push(self, samples: np.ndarray, sample_rate_hz: int, stamp_ns: int | None = None) -> None:
        super().push(samples, sample_rate_hz, stamp_ns)
        assert stamp_ns is not None  # the delivery stamps every piece
        self.tape.append(Heard(stamp_ns, mix_to_mono(samples)[0], sample_rate_hz))


class _VirtualNode:
    """The talker node's comings and goings, without ROS and without waiting."""

    def __init__(self, delivery: Delivery, start_ns: int, now_ns: int) -> None:
        """The node was activated at `start_ns`; what it did until `now_ns` is passed over."""
        self._delivery = delivery
        self.now_ns = max(start_ns, now_ns)
        self.frames: list[TimedFrame] = []
        delivery.start(start_ns)

    def run_until(self, time_ns: int) -> None:
        """Come back whenever the delivery asks for it, before `time_ns`."""
        while (wake_ns := self._next_wake_ns()) < time_ns:
            self.now_ns = wake_ns
            self.advance()
        self.now_ns = max(self.now_ns, time_ns)

    def advance(self) -> None:
        """Send what is due now."""
        self.frames += self._delivery.run(self.now_ns, math.inf)

    def finish(self) -> None:
        """Run on until all audio has been played and the mouth has closed."""
        while not self._delivery.starving:
            self.now_ns = self._next_wake_ns()
            self.advance()
        self.run_until(self.now_ns + round((self._delivery.delay_s + _TAIL_S) * 1e9))

    def _next_wake_ns(self) -> int:
        wake_ns = self._delivery.next_wake_ns(self.now_ns)
        return max(wake_ns, self.now_ns + MIN_WAIT_NS)


def replay(
    messages: Sequence[BagMessage],
    audio_format: AudioFormat,
    settings: ReplaySettings,
    *,
    phones: Sequence[BagMessage] = (),
    lead_frames: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> Replay:
    """Give the messages to a talker at the times at which they were recorded.

    `phones` are those of its topic `phones`. `lead_frames` is how many idle frames came before the
    first audio: blinks and glances follow the count. `progress` is called with the number of audio
    messages done since its last call.

    Raises:
        BagError: no message holds audio that can be used.
        BundleError, BackendError, DualtalkerError: the model cannot be loaded as asked for.
    """
    keywords = settings.talker.keywords()
    talker = _TapedTalker(settings.model, **keywords, stamps=settings.stamps)
    talker.tape = []
    delivery = Delivery(
        talker,
        paced=settings.paced,
        playout_delay_s=settings.playout_delay_s,
        starvation_s=settings.starvation_s,
        replace_utterances=settings.replace_utterances,
    )
    ordered = sorted(messages, key=lambda message: message.received_ns)
    first_ns, begin_ns = _find_begin(ordered, audio_format)
    if lead_frames is None:
        lead_frames = round(LEAD_S * talker.fps)
    # Between two frames, so that rounding makes it neither more nor fewer.
    lead_ns = round(max(lead_frames - 0.5, 0.0) / talker.fps * 1e9)
    node = _VirtualNode(delivery, begin_ns - lead_ns, first_ns - round(LEAD_S * 1e9))
    node.advance()
    skipped = talker.counters["skipped_frames"]  # what the node did before is not computed
    refused = _feed(node, delivery, ordered, phones, audio_format, progress)
    assert delivery.first_audio_ns is not None and delivery.first_audio_s is not None
    latency_s = delivery.latency_s
    node.finish()
    talker.close()
    counters = {**refused, **delivery.all_counters}
    counters["skipped_frames"] -= skipped
    return Replay(
        frames=[f for f in node.frames if f.depicted_ns >= talker.tape[0].begin_ns],
        heard=talker.tape,
        first_stamp_ns=delivery.first_audio_ns,
        fps=talker.fps,
        latency_s=max(latency_s, delivery.latency_s),
        bundle=talker.bundle,
        backend=talker.backend_name,
        counters=counters,
        step_s=list(delivery.step_s),
        real_time_factor=delivery.compute_s / max(delivery.audio_s, 1e-9),
        lead_frames=round(delivery.first_audio_s * talker.fps),
    )


def _feed(
    node: _VirtualNode,
    delivery: Delivery,
    messages: Sequence[BagMessage],
    phones: Sequence[BagMessage],
    audio_format: AudioFormat,
    progress: Callable[[int], object] | None,
) -> dict[str, int]:
    """Give every message to the delivery when it came; return how many were refused, by kind."""
    refused = dict.fromkeys((*REFUSALS, "refused_phones"), 0)
    told = [(received_ns, False, message) for received_ns, message in phones]
    heard = [(received_ns, True, message) for received_ns, message in messages]
    # Of one time, phones come before the audio, as they should.
    for received_ns, is_audio, message in sorted(told + heard, key=lambda one: one[:2]):
        node.run_until(received_ns)
        try:
            if is_audio:
                delivery.add(read_message(message, audio_format), node.now_ns)
                node.advance()
            else:
                delivery.phones.hear(message.data)
        except AudioError as error:
            refused[kind_of(error)] += 1
        except SpeechError:
            refused["refused_phones"] += 1
        if is_audio and progress is not None:
            progress(1)
    return refused


def _find_begin(messages: Sequence[BagMessage], audio_format: AudioFormat) -> tuple[int, int]:
    """Return arrival and begin of the first audio that can be used, on the node's clock, in ns."""
    error: AudioError | None = None
    for received_ns, message in messages:
        try:
            stamp_ns = read_message(message, audio_format).stamp_ns
        except AudioError as refusal:
            error = refusal
            continue
        # Stamps of another clock count from the arrival, as the delivery has it.
        known = stamp_ns is not None and abs(received_ns - stamp_ns) <= SAME_CLOCK_S * 1e9
        return received_ns, stamp_ns if known and stamp_ns is not None else received_ns
    raise BagError(f"none of {len(messages)} audio messages can be used: {error}")
