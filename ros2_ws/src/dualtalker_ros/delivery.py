"""When frames go out: the node's queue of audio, its pacing and its idling. No ROS in here.

Times called `now_ns` are of the node's clock, system or simulated. Audio stamps usually come from
the same clock; where they do not (a bag played without its clock, another machine's time), the
difference is measured on arrival and kept in `clock_offset_ns`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from dualtalker.errors import AudioError
from dualtalker.talker import Frame, Talker
from dualtalker_ros.audio_messages import AudioChunk

# Added to the stated latency where no playout delay is asked for: room for compute and transport.
PLAYOUT_MARGIN_S = 0.005
# Audio is run through the model in pieces of this length, so that a burst never blocks frames.
PIECE_S = 0.02
# How far ahead of its playout a burst is computed.
HORIZON_S = 0.5
# Stamps that lie further than this behind the node's clock are of another clock.
MAX_LAG_S = 10.0
# Audio without stamps that comes this much later than expected begins a new sample clock.
NEW_ANCHOR_S = 0.25
# Idle frames are made this far ahead at most, until audio stamped for later begins.
MAX_FILL_S = 10.0
# A system clock may be set back by this much without harm.
MAX_CLOCK_STEP_S = 1.0

log = logging.getLogger("dualtalker")


@dataclass(frozen=True)
class TimedFrame:
    """A frame with the time it depicts, on the clock of the audio stamps."""

    frame: Frame
    stamp_ns: int
    due_ns: int  # when it goes out, on the node's clock


class Delivery:
    """Audio chunks in as they arrive, frames out when they are due."""

    def __init__(
        self,
        talker: Talker,
        *,
        paced: bool,
        playout_delay_s: float | None = None,
        starvation_s: float = 0.1,
        max_queue_s: float = 60.0,
    ) -> None:
        """A playout delay of None is the stated latency plus PLAYOUT_MARGIN_S."""
        self.talker = talker
        self.paced = paced
        self.counters = {
            "queue_drops": 0,
            "clock_offsets": 0,
            "clock_jumps": 0,
            "overdue_frames": 0,
        }
        self.step_s: deque[float] = deque(maxlen=1000)  # compute time of each piece
        self.beyond_s: deque[float] = deque(maxlen=1000)  # latency beyond what is stated
        self.compute_s = self.audio_s = 0.0  # totals: their ratio is the real-time factor
        self._playout_delay_s = playout_delay_s
        self._starvation_ns = _to_ns(starvation_s)
        self._max_queue_s = max_queue_s
        self._frame_s = 1.0 / talker.fps
        self._pieces: deque[AudioChunk] = deque()
        self._frames: deque[TimedFrame] = deque()
        self.start(0)

    def warm_up(self, rate_hz: int) -> None:
        """Run the model once on silence: the first run imports and allocates, and takes long."""
        self.talker.push(np.zeros(rate_hz, np.float32), rate_hz)
        self.talker.flush()
        self.talker.reset()

    def start(self, now_ns: int) -> None:
        """Begin, or begin again: from `now_ns` on frames are due."""
        self.talker.reset()
        self._pieces.clear()
        self._frames.clear()
        self.queued_s = 0.0
        self.clock_offset_ns = 0
        self._start_ns = self._now_ns = now_ns
        self._arrival_ns: int | None = None  # of the last chunk
        self._unstamped_ns: int | None = None  # where the next chunk without stamp belongs
        self._next_index = 0
        self._flushed = True

    @property
    def delay_s(self) -> float:
        """Seconds from the instant depicted to the frame's going out, as planned."""
        if not self.paced:
            return self.talker.latency_s
        if self._playout_delay_s is None:
            return self.talker.latency_s + PLAYOUT_MARGIN_S
        return self._playout_delay_s

    @property
    def starving(self) -> bool:
        """Whether idle frames take the place of speech."""
        return self._flushed and not self._pieces

    def add(self, chunk: AudioChunk, now_ns: int) -> None:
        """Take a chunk that arrived at `now_ns`; beyond `max_queue_s` audio is dropped."""
        self._check_clock(now_ns)
        stamp_ns = self._place(chunk, now_ns)
        self._arrival_ns = now_ns
        size = max(int(chunk.rate_hz * PIECE_S), 1)
        for start in range(0, len(chunk.samples), size):
            samples = chunk.samples[start : start + size]
            if self.queued_s + len(samples) / chunk.rate_hz > self._max_queue_s:
                self._count("queue_drops", f"more than {self._max_queue_s:g} s of audio wait")
                break
            piece_ns = stamp_ns + start * 10**9 // chunk.rate_hz
            self._pieces.append(AudioChunk(samples, chunk.rate_hz, piece_ns))
            self.queued_s += len(samples) / chunk.rate_hz

    def run(self, now_ns: int, budget_s: float) -> list[TimedFrame]:
        """Compute for about `budget_s`; return the frames to send now, in order."""
        self._check_clock(now_ns)
        deadline = time.perf_counter() + budget_s
        while self._can_compute(now_ns):
            self._compute(self._pieces.popleft(), now_ns)
            if time.perf_counter() > deadline:
                break
        if not self._pieces and self._silent_ns(now_ns) >= self._starvation_ns:
            self._idle(now_ns)
        return self._take_due(now_ns)

    def next_wake_ns(self, now_ns: int) -> int:
        """Return when `run` is to be called next, if no audio comes before."""
        if self._can_compute(now_ns):
            return now_ns
        if self._frames:
            return max(self._frames[0].due_ns, now_ns)
        if self._pieces:
            return now_ns + _to_ns(PIECE_S)
        starved_ns = now_ns + self._starvation_ns - self._silent_ns(now_ns)
        time_s = self._next_index * self._frame_s
        return max(starved_ns, self._plan(time_s, self.talker.stamp_of(time_s))[1])

    def _place(self, chunk: AudioChunk, now_ns: int) -> int:
        """Return the stamp of a chunk; without one, time is that of arrival and then counted."""
        if chunk.stamp_ns is None:
            expected_ns = self._unstamped_ns
            if expected_ns is None or now_ns - expected_ns > _to_ns(NEW_ANCHOR_S):
                expected_ns = now_ns - self.clock_offset_ns
            self._unstamped_ns = expected_ns + len(chunk.samples) * 10**9 // chunk.rate_hz
            return expected_ns
        lag_s = (now_ns - chunk.stamp_ns - self.clock_offset_ns) / 1e9
        if not -self._max_queue_s <= lag_s <= MAX_LAG_S:
            self._count("clock_offsets", f"audio stamps are {lag_s:.1f} s behind this clock")
            self.clock_offset_ns = now_ns - chunk.stamp_ns
        return chunk.stamp_ns

    def _can_compute(self, now_ns: int) -> bool:
        if not self._pieces:
            return False
        if not self.paced:
            return True
        stamp_ns = self._pieces[0].stamp_ns
        assert stamp_ns is not None  # `add` stamps every piece
        return stamp_ns + self.clock_offset_ns <= now_ns + _to_ns(HORIZON_S)

    def _compute(self, piece: AudioChunk, now_ns: int) -> None:
        assert piece.stamp_ns is not None
        self.queued_s -= len(piece.samples) / piece.rate_hz
        if not self._pieces:
            self.queued_s = 0.0  # nothing left: no rounding errors either
        started = time.perf_counter()
        if self.talker.time_of(piece.stamp_ns) is None:
            self._fill_until(piece.stamp_ns, now_ns)
        try:
            self.talker.push(piece.samples, piece.rate_hz, piece.stamp_ns)
        except AudioError as error:  # counted by the talker
            log.debug("audio refused: %s", error)
            return
        self._flushed = False
        self._queue(self.talker.frames())
        step_s = time.perf_counter() - started
        self.step_s.append(step_s)
        self.compute_s += step_s
        self.audio_s += len(piece.samples) / piece.rate_hz

    def _fill_until(self, stamp_ns: int, now_ns: int) -> None:
        """The first audio: idle frames lead up to it, so that the face does not stop before."""
        begin_ns = min(stamp_ns + self.clock_offset_ns, now_ns + _to_ns(MAX_FILL_S))
        self._queue(self.talker.advance_to(max(begin_ns - self._start_ns, 0) / 1e9))

    def _idle(self, now_ns: int) -> None:
        """Audio is missing: finish what was said, then let the mouth close and idle."""
        if not self._flushed:
            self._queue(self.talker.flush())
            self._flushed = True
        target_ns = now_ns - _to_ns(self.delay_s)
        time_s = self.talker.time_of(target_ns - self.clock_offset_ns)
        if time_s is None:
            time_s = (target_ns - self._start_ns) / 1e9
        if time_s >= 0:
            self._queue(self.talker.advance_to(time_s))

    def _queue(self, frames: list[Frame]) -> None:
        for frame in frames:
            stamp_ns, due_ns = self._plan(frame.time_s, frame.stamp_ns)
            self._frames.append(TimedFrame(frame, stamp_ns, due_ns))
            self._next_index = frame.index + 1

    def _take_due(self, now_ns: int) -> list[TimedFrame]:
        due: list[TimedFrame] = []
        while self._frames and (not self.paced or self._frames[0].due_ns <= now_ns):
            timed = self._frames.popleft()
            due.append(timed)
            if timed.frame.idle:
                continue
            depicted_ns = timed.stamp_ns + self.clock_offset_ns
            self.beyond_s.append((now_ns - depicted_ns) / 1e9 - self.talker.latency_s)
            late = now_ns - timed.due_ns > _to_ns(self._frame_s)
            # At the end of speech the last frames wait until starvation is certain.
            if self.paced and late and not self._flushed:
                self._count("overdue_frames", "frames were computed too late for their playout")
        return due

    def _plan(self, time_s: float, stamp_ns: int | None) -> tuple[int, int]:
        """Return stamp and due time of a stream time; before any audio both are of our clock."""
        offset_ns = self.clock_offset_ns
        if stamp_ns is None:
            stamp_ns, offset_ns = self._start_ns + _to_ns(time_s), 0
        return stamp_ns, stamp_ns + offset_ns + _to_ns(self.delay_s)

    def _silent_ns(self, now_ns: int) -> int:
        return self._starvation_ns if self._arrival_ns is None else now_ns - self._arrival_ns

    def _check_clock(self, now_ns: int) -> None:
        """A clock that went back (a bag that starts over) makes all plans void."""
        if now_ns < self._now_ns - _to_ns(MAX_CLOCK_STEP_S):
            self._count("clock_jumps", "the node's clock went back; all audio was forgotten")
            self.start(now_ns)
        self._now_ns = now_ns

    def _count(self, kind: str, message: str) -> None:
        self.counters[kind] += 1
        if self.counters[kind] == 1:
            log.warning("%s: %s (further ones are only counted)", kind, message)


def _to_ns(time_s: float) -> int:
    return round(time_s * 1e9)
