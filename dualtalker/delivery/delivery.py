"""The plan of when frames go out: pacing, idling, interruptions.

All times in here are of the node's clock, system or simulated; `placement` brings audio to it.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace

import numpy as np

from dualtalker.audio import AudioChunk
from dualtalker.delivery.arrivals import Arrivals
from dualtalker.delivery.backlog import Backlog, Follower
from dualtalker.delivery.delay import Delay
from dualtalker.delivery.phone_queue import PhoneQueue
from dualtalker.delivery.placement import Placement, to_ns
from dualtalker.errors import AudioError, BackendError
from dualtalker.faults import Faults
from dualtalker.stream import Frame, Talker, TimedFrame

WARM_UP_RATE_HZ = 44100  # no model has it, so that it is resampled
HORIZON_NS = 500_000_000  # how far ahead of its playout a burst is computed
MAX_FILL_S = 10.0  # of idle frames that lead up to audio stamped for later
# Idle frames are made some at once, as the first finds cold caches; audio takes their place.
IDLE_AHEAD_NS = 60_000_000
INSTANT_NS = 2000  # times closer than this are the same instant
NEVER_NS = 2**62
MAX_CLOCK_STEP_NS = 10**9  # that a system clock may be set back by without harm
_KINDS = (
    *("queue_drops", "clock_offsets", "clock_jumps", "stray_stamps", "arrival_stamps"),
    *("overdue_frames", "late_phones", "early_phones"),
    *("stale_frames", "delay_growths", "delay_shrinks", "short_delays", "backend_errors"),
)


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
        replace_utterances: bool = False,
    ) -> None:
        """A playout delay of None is the stated latency, PLAYOUT_MARGIN_S and the audio's lag.

        With `replace_utterances` a new utterance takes the place of what has not been played yet
        of the one before (`Placement.is_new_utterance`).
        """
        self.talker = talker
        self._stamps = talker.trust_stamps()  # what comes to it from here is placed
        self.paced = paced
        faults = Faults(_KINDS)
        self.counters, self._count = faults.counters, faults.count
        self.step_s: deque[float] = deque(maxlen=1000)  # compute time of each piece
        self.beyond_s: deque[float] = deque(maxlen=1000)  # latency beyond what is stated
        self.late_s: deque[float] = deque(maxlen=1000)  # the same beyond what is planned
        self.compute_s = self.audio_s = 0.0  # totals: their ratio is the real-time factor
        self._delay = Delay(paced, playout_delay_s, self._count)
        self._starvation_s = starvation_s
        self._replaces = replace_utterances
        self.interruptions, self.interrupted_s = 0, 0.0  # how often, and audio dropped by it
        self._frame_s = 1.0 / talker.fps
        self.backlog = Backlog(max_queue_s)
        self._frames: deque[TimedFrame] = deque()
        self.follower: Follower | None = None
        self.phones = PhoneQueue(talker, self._count)
        self.start(0)

    def warm_up(self, rate_hz: int) -> None:
        """Run once on silence: what runs first imports and allocates, and takes long.

        At a second rate too, because the resampler is loaded where it is needed first.
        """
        for warm_hz in (rate_hz, WARM_UP_RATE_HZ):
            self.talker.push(np.zeros(warm_hz // 10, np.float32), warm_hz)
            self.talker.flush()
            self.talker.reset()

    def start(self, now_ns: int) -> None:
        """Begin, or begin again: from `now_ns` on frames are due."""
        self.talker.reset()
        if self.follower is not None:
            self.follower.forget()
        # With the resampler's part from the first audio on, also in pauses.
        self._delay.restart(self.talker.latency_s)
        self.backlog.clear()
        self.phones.clear()
        self._frames.clear()
        self.first_audio_ns: int | None = None  # stamp of the first sample heard
        self.first_audio_s: float | None = None  # its stream time, that of a frame
        self._start_ns = self._now_ns = now_ns
        self._arrivals = Arrivals(self._starvation_s, self.talker.bundle.sidecar.hop_s)
        self._starved_ns = now_ns  # when audio will have stayed away for too long
        self._doubted: AudioChunk | None = None  # its stamp went back: maybe the clock's step
        self._overlapping = False  # a stamp went back and was taken: the next is not doubted
        self._placement = Placement(now_ns, self._stamps, self._count)
        # The audio that the talker was given since the last pause.
        self._segment_ns = self._computed_ns = now_ns
        self._next_index = 0
        # Instants depicted by the last frame that was made, and by the last that went out.
        self._queued_ns = self._sent_ns = now_ns - 1
        self._flushed = True

    @property
    def delay_s(self) -> float:
        """Seconds from the instant depicted to the frame's going out, as planned."""
        return self._delay.s

    @property
    def latency_s(self) -> float:
        """The stated latency."""
        return self._delay.latency_s

    @property
    def queued_s(self) -> float:
        """Audio that waits to be computed."""
        return self.backlog.waiting_s

    @property
    def patience_s(self) -> float:
        """How long audio may stay away: `starvation_s`, longer where chunks are long."""
        return self._arrivals.patience_s

    @property
    def all_counters(self) -> dict[str, int]:
        """What was counted here and by the talker, by kind; both meet stray stamps."""
        own, told = self.counters, self.talker.counters
        return {k: own.get(k, 0) + told.get(k, 0) for k in {**own, **told}}

    @property
    def starving(self) -> bool:
        """Whether idle frames take the place of speech."""
        return self._flushed and not self.backlog.pieces

    def retune(
        self,
        playout_delay_s: float | None,
        starvation_s: float,
        max_queue_s: float,
        replace_utterances: bool,
    ) -> None:
        """Change what `__init__` was given, at any time.

        Frames come a quarter closer together or further apart until the new delay is reached.
        """
        self._delay.change(playout_delay_s)
        self._starvation_s = starvation_s
        self._starved_ns += to_ns(self._arrivals.change_starvation(starvation_s))
        self.backlog.max_s = max_queue_s
        self._replaces = replace_utterances

    def interrupt(self, now_ns: int) -> None:
        """Drop all audio whose frames have not gone out: the mouth closes, and time goes on."""
        self._check_clock(now_ns)
        # Speech that is computed, as the end of a burst, may still wait to go out.
        waits = any(not timed.frame.idle for timed in self._frames)
        if self.starving and not waits and self._doubted is None:
            return
        time_s = self._next_index * self._frame_s
        while self._frames and self._frames[-1].depicted_ns + self._delay.ns > now_ns:
            time_s = self._frames.pop().frame.time_s
        self._queued_ns = self._frames[-1].depicted_ns if self._frames else self._sent_ns
        unplayed_ns = self._computed_ns - max(self._queued_ns, self._segment_ns)
        doubted_s = 0.0 if self._doubted is None else self._doubted.duration_s
        self.interrupted_s += max(unplayed_ns, 0) / 1e9 + self.queued_s + doubted_s
        self.interruptions += 1
        self._next_index = self.talker.interrupt(time_s)
        self.phones.interrupt()
        self.backlog.clear()
        self._doubted, self._overlapping, self._flushed = None, False, True
        self._computed_ns = self._starved_ns = now_ns
        self._placement.begin_anew(now_ns)
        if self.follower is not None:
            self.follower.forget()

    def begin_stream(self, now_ns: int) -> None:
        """Interrupt, and take what comes then as a new stream, with its own clock and habits."""
        self.interrupt(now_ns)
        self.phones.clear()  # told by the old stream's clock
        self._placement = Placement(now_ns, self._stamps, self._count)
        self._arrivals = Arrivals(self._starvation_s, self.talker.bundle.sidecar.hop_s)
        self._delay.forget_lag()
        self.first_audio_ns = self.first_audio_s = None

    def add(self, chunk: AudioChunk, now_ns: int, arrival_ns: int | None = None) -> None:
        """Take a chunk that arrived now, or before; beyond `max_queue_s` audio is dropped."""
        arrival_ns = now_ns if arrival_ns is None else min(arrival_ns, now_ns)
        self._check_clock(now_ns)
        if self._replaces and self._placement.is_new_utterance(chunk.stamp_ns, now_ns, arrival_ns):
            self.interrupt(now_ns)
        self._settle(now_ns, chunk)
        chunk = self._placement.read(chunk, self.starving)
        goes_back = not self.starving and self._placement.goes_back(chunk.stamp_ns)
        if goes_back and self._overlapping:
            chunk = self._placement.mend(chunk)
        elif goes_back:
            self._doubted = replace(chunk, samples=chunk.samples.copy())
            self._starved_ns = now_ns + to_ns(self.patience_s)
            return
        self._overlapping = goes_back and chunk.stamp_ns is not None
        self._take(chunk, now_ns, arrival_ns)

    def _take(self, chunk: AudioChunk, now_ns: int, arrival_ns: int) -> None:
        place = self._placement
        begin_ns = place.place(chunk, now_ns, arrival_ns, self.starving)
        end_ns = begin_ns + to_ns(chunk.duration_s)
        self._arrivals.note(now_ns / 1e9, (now_ns - begin_ns) / 1e9, chunk.duration_s)
        if end_ns > place.end_ns:  # else it is nothing new
            self._starved_ns = now_ns + to_ns(self.patience_s)
        self._delay.follow(self._arrivals)
        self.phones.meet(begin_ns, end_ns, place.offset_ns(begin_ns))
        if self.follower is not None:
            self.follower.take(chunk, begin_ns)
        if self.first_audio_ns is None:
            self.first_audio_ns = begin_ns - place.offset_ns(begin_ns)
        taken = self.backlog.put(chunk, begin_ns)
        if taken < len(chunk.samples):
            self._count("queue_drops", f"more than {self.backlog.max_s:g} s of audio wait")
        self._take_back_idle()
        if taken:
            place.end_ns = max(place.end_ns, begin_ns + taken * 10**9 // chunk.rate_hz)

    def run(self, now_ns: int, budget_s: float) -> list[TimedFrame]:
        """Compute for about `budget_s`; return the frames to send now, in order."""
        self._check_clock(now_ns)
        if now_ns >= self._starved_ns:
            self._settle(now_ns)
        deadline = time.perf_counter() + budget_s
        while self._can_compute(now_ns):
            self._compute(self.backlog.take(), now_ns)
            if time.perf_counter() > deadline:
                break
        if now_ns >= self._idle_from_ns(now_ns):
            self._idle(now_ns)
        return self._take_due(now_ns)

    def next_wake_ns(self, now_ns: int) -> int:
        """Return when `run` is to be called next, if no audio comes before."""
        if self._can_compute(now_ns):
            return now_ns
        if self._frames:
            wake_ns = self._frames[0].depicted_ns + self._delay.ns
        else:
            wake_ns = max(self._idle_from_ns(now_ns), self._next_ns + self._delay.ns)
        if self.paced and self.backlog.pieces:
            wake_ns = min(wake_ns, self.backlog.begin_ns - HORIZON_NS)
        return max(wake_ns, now_ns)

    @property
    def _next_ns(self) -> int:
        """The instant that the next frame depicts, which is still to be made."""
        time_s = self._next_index * self._frame_s
        return self._depicted_ns(time_s, self.talker.stamp_of(time_s))

    def _idle_from_ns(self, now_ns: int) -> int:
        """Return from when on idle frames take the place of speech, as far as is known."""
        if not self.backlog.pieces:
            return self._starved_ns
        if self._can_compute(now_ns):
            return NEVER_NS
        # All that waits is for later; a burst that is computed ahead leaves no such hole.
        return now_ns if self._flushed else self._computed_ns + to_ns(self.patience_s)

    def _settle(self, now_ns: int, following: AudioChunk | None = None) -> None:
        """Take the chunk that waits, if one does, in the light of the next if there is one."""
        chunk, self._doubted = self._doubted, None
        if chunk is None:
            return
        place = self._placement
        chunk = place.resolve(chunk, following) if following else place.mend(chunk)
        self._overlapping = True  # the next is taken as it is
        self._take(chunk, now_ns, now_ns)

    def _can_compute(self, now_ns: int) -> bool:
        due_ns = now_ns + HORIZON_NS
        return bool(self.backlog.pieces) and (not self.paced or self.backlog.begin_ns <= due_ns)

    def _compute(self, piece: AudioChunk, now_ns: int) -> None:
        assert piece.stamp_ns is not None
        started = time.perf_counter()
        if self.talker.time_of(piece.stamp_ns) is None:
            self._fill_until(piece.stamp_ns, now_ns)
        try:
            self.talker.push(piece.samples, piece.rate_hz, piece.stamp_ns)
            if self.first_audio_s is None:
                self.first_audio_s = self.talker.time_of(piece.stamp_ns)
            if self._flushed:
                self._segment_ns, self._flushed = piece.stamp_ns, False
            self._computed_ns = max(self._computed_ns, piece.stamp_ns + to_ns(piece.duration_s))
            self._queue(self.talker.frames())
        except AudioError:  # counted by the talker
            return
        except BackendError as error:
            self._recover(error)
            return
        self._delay.cover(self.talker.latency_s)
        step_s = time.perf_counter() - started
        self.step_s.append(step_s)
        self.compute_s += step_s
        self.audio_s += piece.duration_s

    def _fill_until(self, begin_ns: int, now_ns: int) -> None:
        """The first audio: idle frames lead up to it, so that the face does not stop before."""
        lead_ns = min(begin_ns, now_ns + to_ns(MAX_FILL_S)) - self._start_ns - INSTANT_NS
        self._queue(self.talker.advance_to(lead_ns / 1e9))

    def _idle(self, now_ns: int) -> None:
        """Audio is missing: finish what was said, then let the mouth close and idle."""
        if not self._flushed:
            try:
                self._queue(self.talker.flush())
            except BackendError as error:
                self._recover(error)
            self._flushed = True
        target_ns = now_ns - self._delay.ns
        if self.paced:
            if self._next_ns > target_ns + INSTANT_NS:
                return
            target_ns += IDLE_AHEAD_NS
        time_s = self.talker.time_of(target_ns)
        if time_s is None:
            time_s = (target_ns - self._start_ns) / 1e9
        self._queue(self.talker.advance_to(time_s))

    def _take_back_idle(self) -> None:
        """Audio came: idle frames that were made ahead are made again, or give way to it."""
        before = self._next_index
        while self._flushed and self._frames:
            frame = self._frames[-1].frame
            if not frame.idle or frame.index != self._next_index - 1:  # or of another stream
                break
            self._next_index = frame.index
            self._frames.pop()
        if self._next_index < before:
            self._queued_ns = self._frames[-1].depicted_ns if self._frames else self._sent_ns
            self.talker.take_back_idle(self._next_index * self._frame_s)

    def _recover(self, error: BackendError) -> None:
        """The model failed: start it anew, and let frames go on where they were."""
        self._count("backend_errors", f"{error}; the model was started anew")
        self.talker.reset()
        self._start_ns = self._queued_ns + to_ns(self._frame_s)
        self._next_index = 0
        self._flushed = True

    def _queue(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._next_index = frame.index + 1
            depicted_ns = self._depicted_ns(frame.time_s, frame.stamp_ns)
            if depicted_ns <= self._queued_ns:
                self._count("stale_frames", "audio came after idle frames of its time were sent")
                continue
            self._queued_ns = depicted_ns
            stamp_ns = depicted_ns - self._placement.offset_ns(depicted_ns)
            self._frames.append(TimedFrame(frame, stamp_ns, depicted_ns))

    def _take_due(self, now_ns: int) -> list[TimedFrame]:
        due: list[TimedFrame] = []
        while self._frames:
            timed = self._frames[0]
            due_ns = timed.depicted_ns + self._delay.ns
            if self.paced and due_ns > now_ns:
                break
            due.append(self._frames.popleft())
            self._sent_ns = timed.depicted_ns
            self._delay.slew(self._frame_s)
            if timed.frame.idle:
                continue
            self.beyond_s.append((now_ns - timed.depicted_ns) / 1e9 - self.latency_s)
            # At the end of speech the last frames wait until starvation is certain.
            if not self.paced or self._flushed:
                continue
            self.late_s.append((now_ns - due_ns) / 1e9)
            if self.late_s[-1] > self._frame_s:
                self._count("overdue_frames", "frames were computed too late for their playout")
        return due

    def _depicted_ns(self, time_s: float, talker_ns: int | None) -> int:
        """Return the time of a frame; before any audio, stream time began at the start."""
        return self._start_ns + to_ns(time_s) if talker_ns is None else talker_ns

    def jump(self, now_ns: int, message: str) -> None:
        """The clock was set, to `now_ns`: begin again, and count it."""
        self._count("clock_jumps", message)
        self.start(now_ns)

    def _check_clock(self, now_ns: int) -> None:
        """A clock that went back (a bag that starts over) makes all plans void."""
        if now_ns < self._now_ns - MAX_CLOCK_STEP_NS:
            self.jump(now_ns, "the node's clock went back; all audio was forgotten")
        self._now_ns = now_ns
