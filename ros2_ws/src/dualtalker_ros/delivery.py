"""When frames go out: the node's queue of audio, its pacing and its idling. No ROS in here.

All times in here are of the node's clock, system or simulated. Audio stamps usually are, too;
where they are not (a bag played without its clock or in a loop, another machine's time), their
difference is measured on arrival, added on the way in, and taken off again from frames.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dualtalker.errors import AudioError, BackendError
from dualtalker.talker import Frame, Talker
from dualtalker_ros.arrivals import Arrivals
from dualtalker_ros.audio_messages import AudioChunk

# Added to the stated latency where no playout delay is asked for: room for compute and transport.
PLAYOUT_MARGIN_S = 0.005
# One that no model has, so that it is resampled.
WARM_UP_RATE_HZ = 44100
# Audio is run through the model in pieces of this length, so that a burst never blocks frames.
PIECE_S = 0.02
# How far ahead of its playout a burst is computed.
HORIZON_S = 0.5
# Stamps that lie further than this behind the node's clock are of another clock.
MAX_LAG_S = 10.0
# Stamps that go back by more than this are of a source that started over: in mid-stream, and
# after a pause, when audio that was late cannot be meant.
MAX_STEP_BACK_S = 1.0
MAX_STEP_BACK_AFTER_PAUSE_S = 0.03
# Stamps stray by so much without meaning anything.
STAMP_JITTER_S = 0.03
# After a chunk that came twice the next one fits without it, this exactly.
REPEAT_MATCH_S = 0.002
# Audio without stamps that comes this much later than expected begins a new sample clock.
NEW_ANCHOR_S = 0.25
# Idle frames are made this far ahead at most, until audio stamped for later begins.
MAX_FILL_S = 10.0
# Times closer than this are the same instant.
INSTANT_S = 2e-6
# A system clock may be set back by this much without harm.
MAX_CLOCK_STEP_S = 1.0

log = logging.getLogger("dualtalker")


@dataclass(frozen=True)
class TimedFrame:
    """A frame and its two times."""

    frame: Frame
    stamp_ns: int  # the instant it depicts, on the clock of the audio stamps
    due_ns: int  # when it goes out, on the node's clock
    depicted_ns: int  # the instant it depicts, on the node's clock


class Follower(Protocol):
    """Is told what becomes of the audio."""

    def take(self, chunk: AudioChunk, begin_ns: int) -> None:
        """A chunk was taken, whose first sample is at `begin_ns` on the node's clock."""

    def forget(self) -> None:
        """All audio that was taken is void."""


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
        """A playout delay of None is the stated latency, PLAYOUT_MARGIN_S and the audio's lag."""
        self.talker = talker
        self.paced = paced
        self.counters = {
            "queue_drops": 0,
            "clock_offsets": 0,
            "clock_jumps": 0,
            "overdue_frames": 0,
            "stale_frames": 0,
            "delay_growths": 0,
            "short_delays": 0,
            "backend_errors": 0,
        }
        self.step_s: deque[float] = deque(maxlen=1000)  # compute time of each piece
        self.beyond_s: deque[float] = deque(maxlen=1000)  # latency beyond what is stated
        self.compute_s = self.audio_s = 0.0  # totals: their ratio is the real-time factor
        self._playout_delay_s = playout_delay_s
        self._starvation_s = starvation_s
        self._max_queue_s = max_queue_s
        self._frame_s = 1.0 / talker.fps
        self._pieces: deque[AudioChunk] = deque()
        self._frames: deque[TimedFrame] = deque()
        self.follower: Follower | None = None
        self.start(0)

    def warm_up(self, rate_hz: int) -> None:
        """Run once on silence: what runs first imports and allocates, and takes long.

        At a second rate too, because the resampler is loaded where it is needed first.
        """
        for warm_hz in (rate_hz, WARM_UP_RATE_HZ):
            self.talker.push(np.zeros(warm_hz // 2, np.float32), warm_hz)
            self.talker.flush()
            self.talker.reset()

    def start(self, now_ns: int) -> None:
        """Begin, or begin again: from `now_ns` on frames are due."""
        self.talker.reset()
        if self.follower is not None:
            self.follower.forget()
        # The stated latency; with the resampler's part from the first audio on, also in pauses.
        self.latency_s = self.talker.latency_s
        self._pieces.clear()
        self._frames.clear()
        self.queued_s = 0.0
        self.first_audio_ns: int | None = None  # stamp of the first sample heard
        self.first_audio_s: float | None = None  # its stream time, that of a frame
        self._start_ns = self._now_ns = now_ns
        self._arrivals = Arrivals(self._starvation_s, self.talker.bundle.sidecar.hop_s)
        self._lag_s = 0.0  # of the audio, as far as frames wait for it
        self._starved_ns = now_ns  # when audio will have stayed away for too long
        self._doubted: AudioChunk | None = None  # its stamp went back: maybe the clock's step
        self._overlapping = False  # a stamp went back, and it was no step
        self._arrival_ns: int | None = None  # of the last chunk
        self._end_ns = now_ns  # of all audio that was taken
        # From a time on, how far the node's clock is ahead of the stamps; the latest is last.
        self._offsets: deque[tuple[int, int]] = deque([(now_ns, 0)], maxlen=16)
        self._next_index = 0
        self._shown_ns = now_ns - 1  # depicted by the last frame
        self._flushed = True

    @property
    def delay_s(self) -> float:
        """Seconds from the instant depicted to the frame's going out, as planned."""
        if not self.paced:
            return self.latency_s + self._lag_s
        if self._playout_delay_s is None:
            return self.latency_s + self._lag_s + PLAYOUT_MARGIN_S
        return self._playout_delay_s

    @property
    def patience_s(self) -> float:
        """How long audio may stay away: `starvation_s`, longer where chunks are long."""
        return self._arrivals.patience_s

    @property
    def starving(self) -> bool:
        """Whether idle frames take the place of speech."""
        return self._flushed and not self._pieces

    def add(self, chunk: AudioChunk, now_ns: int) -> None:
        """Take a chunk that arrived at `now_ns`; beyond `max_queue_s` audio is dropped."""
        self._check_clock(now_ns)
        if self._doubted is not None:
            self._settle(chunk, now_ns)
        went_back = self._went_back(chunk.stamp_ns)
        if went_back and not self._overlapping:
            self._doubted = chunk
            self._starved_ns = now_ns + _to_ns(self.patience_s)
            return
        self._overlapping = went_back
        self._take(chunk, now_ns)

    def _take(self, chunk: AudioChunk, now_ns: int) -> None:
        begin_ns = self._place(chunk, now_ns)
        self._arrival_ns = now_ns
        length_s = len(chunk.samples) / chunk.rate_hz
        self._arrivals.note(now_ns / 1e9, (now_ns - begin_ns) / 1e9, length_s)
        if begin_ns + _to_ns(length_s) > self._end_ns:  # else it is nothing new
            self._starved_ns = now_ns + _to_ns(self.patience_s)
        self._follow_lag()
        if self.follower is not None:
            self.follower.take(chunk, begin_ns)
        if self.first_audio_ns is None:
            self.first_audio_ns = begin_ns - self._offset_ns(begin_ns)
        size = max(int(chunk.rate_hz * PIECE_S), 1)
        for start in range(0, len(chunk.samples), size):
            samples = chunk.samples[start : start + size]
            if self.queued_s + len(samples) / chunk.rate_hz > self._max_queue_s:
                self._count("queue_drops", f"more than {self._max_queue_s:g} s of audio wait")
                break
            piece_ns = begin_ns + start * 10**9 // chunk.rate_hz
            self._pieces.append(AudioChunk(samples, chunk.rate_hz, piece_ns))
            self.queued_s += len(samples) / chunk.rate_hz
            end_ns = begin_ns + (start + len(samples)) * 10**9 // chunk.rate_hz
            self._end_ns = max(self._end_ns, end_ns)

    def run(self, now_ns: int, budget_s: float) -> list[TimedFrame]:
        """Compute for about `budget_s`; return the frames to send now, in order."""
        self._check_clock(now_ns)
        if self._doubted is not None and now_ns >= self._starved_ns:
            self._settle(None, now_ns)
        deadline = time.perf_counter() + budget_s
        while self._can_compute(now_ns):
            self._compute(self._pieces.popleft(), now_ns)
            if time.perf_counter() > deadline:
                break
        if not self._pieces and now_ns >= self._starved_ns:
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
        time_s = self._next_index * self._frame_s
        next_ns = self._depicted_ns(time_s, self.talker.stamp_of(time_s))
        return max(self._starved_ns, next_ns + _to_ns(self.delay_s))

    def _went_back(self, stamp_ns: int | None) -> bool:
        """Whether a stamp in mid-stream lies before the end of the audio, but by little."""
        if stamp_ns is None or self.starving or self._arrival_ns is None:
            return False
        back_s = (self._end_ns - stamp_ns - self._offsets[-1][1]) / 1e9
        return MAX_STEP_BACK_AFTER_PAUSE_S < back_s <= MAX_STEP_BACK_S

    def _settle(self, following: AudioChunk | None, now_ns: int) -> None:
        """Take the doubted chunk; where the `following` one continues it, the clock was set back.

        Otherwise it came twice, or overlaps, or only its stamp strayed: the talker heals those.
        """
        chunk, self._doubted = self._doubted, None
        assert chunk is not None and chunk.stamp_ns is not None
        self._overlapping = True
        if following is not None and following.stamp_ns is not None:
            expected_ns = chunk.stamp_ns + len(chunk.samples) * 10**9 // chunk.rate_hz
            continues = abs(following.stamp_ns - expected_ns) <= _to_ns(STAMP_JITTER_S)
            ahead_ns = following.stamp_ns + self._offsets[-1][1] - self._end_ns
            if continues and abs(ahead_ns) > _to_ns(REPEAT_MATCH_S):
                self._follow_clock(chunk.stamp_ns, self._end_ns)
                self._overlapping = False
        self._take(chunk, now_ns)

    def _follow_clock(self, stamp_ns: int, begin_ns: int) -> None:
        """From now on a stamp of `stamp_ns` is `begin_ns` on the node's clock."""
        offset_ns = begin_ns - stamp_ns
        step_s = (offset_ns - self._offsets[-1][1]) / 1e9
        self._count("clock_offsets", f"audio stamps went {step_s:.2f} s behind; they are followed")
        self._offsets.append((begin_ns, offset_ns))

    def _place(self, chunk: AudioChunk, now_ns: int) -> int:
        """Return the time at which a chunk begins, on the node's clock."""
        stamp_ns = chunk.stamp_ns
        if stamp_ns is None:
            # Time is that of arrival, and then counted in samples until audio comes late.
            late = now_ns - self._end_ns > _to_ns(NEW_ANCHOR_S)
            return now_ns if late or self._arrival_ns is None else self._end_ns
        begin_ns = stamp_ns + self._offsets[-1][1]
        step_back_s = MAX_STEP_BACK_AFTER_PAUSE_S if self.starving else MAX_STEP_BACK_S
        went_back = self._arrival_ns is not None and begin_ns < self._end_ns - _to_ns(step_back_s)
        if went_back or not -self._max_queue_s <= (now_ns - begin_ns) / 1e9 <= MAX_LAG_S:
            begin_ns = now_ns if self._arrival_ns is None else max(now_ns, self._end_ns)
            # In mid-stream the audio goes on where it ended, as old as before.
            expected_s = len(chunk.samples) / chunk.rate_hz + NEW_ANCHOR_S
            if not self.starving and now_ns - self._end_ns < _to_ns(expected_s):
                begin_ns = self._end_ns
            self._follow_clock(stamp_ns, begin_ns)
        return begin_ns

    def _follow_lag(self) -> None:
        """Wait longer for audio that comes late by habit; frames pause once for as long."""
        lag_s = self._arrivals.lag_s
        if lag_s is None:
            return
        needed_s = self.latency_s + lag_s - self._arrivals.harmless_lag_s
        enough_ms = (self.latency_s + lag_s + PLAYOUT_MARGIN_S) * 1e3
        chunk_ms = self._arrivals.chunk_s * 1e3
        if self.paced and self._playout_delay_s is not None:
            if needed_s > self._playout_delay_s:
                self._count(
                    "short_delays",
                    f"audio comes in chunks of {chunk_ms:.0f} ms, {lag_s * 1e3:.0f} ms after its "
                    f"stamps: frames are late. playout_delay_ms: {math.ceil(enough_ms)} and "
                    f"starvation_ms: {math.ceil(self.patience_s * 1e3)} would do",
                )
        elif needed_s > self.latency_s + self._lag_s + PLAYOUT_MARGIN_S:
            self._lag_s = lag_s
            self._count(
                "delay_growths",
                f"audio comes in chunks of {chunk_ms:.0f} ms, {lag_s * 1e3:.0f} ms after its "
                f"stamps: frames go out {self.delay_s * 1e3:.0f} ms after the instant they depict",
            )

    def _can_compute(self, now_ns: int) -> bool:
        if not self._pieces:
            return False
        if not self.paced:
            return True
        stamp_ns = self._pieces[0].stamp_ns
        assert stamp_ns is not None  # `add` stamps every piece
        return stamp_ns <= now_ns + _to_ns(HORIZON_S)

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
            if self.first_audio_s is None:
                self.first_audio_s = self.talker.time_of(piece.stamp_ns)
            self._flushed = False
            self._queue(self.talker.frames())
        except AudioError as error:  # counted by the talker
            log.debug("audio refused: %s", error)
            return
        except BackendError as error:
            self._recover(error)
            return
        self.latency_s = max(self.latency_s, self.talker.latency_s)
        step_s = time.perf_counter() - started
        self.step_s.append(step_s)
        self.compute_s += step_s
        self.audio_s += len(piece.samples) / piece.rate_hz

    def _fill_until(self, begin_ns: int, now_ns: int) -> None:
        """The first audio: idle frames lead up to it, so that the face does not stop before."""
        lead_ns = min(begin_ns, now_ns + _to_ns(MAX_FILL_S)) - self._start_ns - _to_ns(INSTANT_S)
        if lead_ns >= 0:
            self._queue(self.talker.advance_to(lead_ns / 1e9))

    def _idle(self, now_ns: int) -> None:
        """Audio is missing: finish what was said, then let the mouth close and idle."""
        if not self._flushed:
            try:
                self._queue(self.talker.flush())
            except BackendError as error:
                self._recover(error)
            self._flushed = True
        target_ns = now_ns - _to_ns(self.delay_s)
        time_s = self.talker.time_of(target_ns)
        if time_s is None:
            time_s = (target_ns - self._start_ns) / 1e9
        if time_s >= 0:
            self._queue(self.talker.advance_to(time_s))

    def _recover(self, error: BackendError) -> None:
        """The model failed: start it anew, and let frames go on where they were."""
        self._count("backend_errors", f"{error}; the model was started anew")
        self.talker.reset()
        self._start_ns = self._shown_ns + _to_ns(self._frame_s)
        self._next_index = 0
        self._flushed = True

    def _queue(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._next_index = frame.index + 1
            depicted_ns = self._depicted_ns(frame.time_s, frame.stamp_ns)
            if depicted_ns <= self._shown_ns:
                self._count("stale_frames", "audio came after idle frames of its time were sent")
                continue
            self._shown_ns = depicted_ns
            stamp_ns = depicted_ns - self._offset_ns(depicted_ns)
            due_ns = depicted_ns + _to_ns(self.delay_s)
            self._frames.append(TimedFrame(frame, stamp_ns, due_ns, depicted_ns))

    def _take_due(self, now_ns: int) -> list[TimedFrame]:
        due: list[TimedFrame] = []
        while self._frames and (not self.paced or self._frames[0].due_ns <= now_ns):
            timed = self._frames.popleft()
            due.append(timed)
            if timed.frame.idle:
                continue
            self.beyond_s.append((now_ns - timed.depicted_ns) / 1e9 - self.latency_s)
            late = now_ns - timed.due_ns > _to_ns(self._frame_s)
            # At the end of speech the last frames wait until starvation is certain.
            if self.paced and late and not self._flushed:
                self._count("overdue_frames", "frames were computed too late for their playout")
        return due

    def _depicted_ns(self, time_s: float, talker_ns: int | None) -> int:
        """Return the time of a frame; before any audio, stream time began at the start."""
        return self._start_ns + _to_ns(time_s) if talker_ns is None else talker_ns

    def _offset_ns(self, depicted_ns: int) -> int:
        for from_ns, offset_ns in reversed(self._offsets):
            if depicted_ns >= from_ns:
                return offset_ns
        return self._offsets[0][1]

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
