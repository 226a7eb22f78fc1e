"""The bounded queue in front of a loudspeaker: audio of any rate in, the device's rate out.

Playing begins when `buffer_s` of audio wait, or the first of it has waited so long. A queue that
ran dry while more was on its way is an underrun; audio that found no room, an overrun.
"""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from dualtalker.audio import StreamingResampler

# Audio that comes so soon after the queue ran dry was meant to go on without a pause.
RESUME_S = 0.5
LATENCIES_KEPT = 200


class PlayoutQueue:
    """One thread adds, the audio device's thread pulls."""

    def __init__(self, rate_hz: int, buffer_s: float, max_queue_s: float) -> None:
        """`rate_hz` is the device's."""
        self.rate_hz = rate_hz
        self._buffer_s = buffer_s
        self._room = round(max_queue_s * rate_hz)
        self._lock = threading.Lock()
        # Samples at the device's rate, and when their audio was (s); None for all but the first
        # samples of a message.
        self._chunks: deque[tuple[np.ndarray, float | None]] = deque()
        self._queued = 0
        self._playing = False
        self._waiting_since_s: float | None = None
        self._dry_since_s: float | None = None
        self._resampler: StreamingResampler | None = None
        self._resampled = (0, 0)  # samples that it has taken and given
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self.counters = {"underruns": 0, "overruns": 0, "dropped_ms": 0, "rate_changes": 0}

    @property
    def queued_s(self) -> float:
        """Seconds of audio that wait."""
        return self._queued / self.rate_hz

    def add(self, samples: np.ndarray, rate_hz: int, time_s: float, now_s: float) -> None:
        """Append mono float32 samples [n]; `time_s` is when their first was (for the latency).

        Raises AudioError for a rate out of range.
        """
        with self._lock:
            resampler = self._resampler_for(rate_hz)
            taken, given = self._resampled
            ready = resampler.push(samples)
            self._append(ready, time_s - (taken / rate_hz - given / self.rate_hz))
            self._resampled = (taken + len(samples), given + len(ready))
            if self._dry_since_s is not None:
                self.counters["underruns"] += now_s - self._dry_since_s < RESUME_S
                self._dry_since_s = None
            if not self._playing and self._waiting_since_s is None:
                self._waiting_since_s = now_s

    def pull(self, count: int, dac_s: float, now_s: float) -> np.ndarray:
        """Return `count` samples float32 that sound from `dac_s` on; silence where none wait."""
        out = np.zeros(count, np.float32)
        with self._lock:
            if not self._playing and not self._may_begin(now_s):
                return out
            if not self._playing:
                self._latencies_s.clear()  # it lasts until the queue runs dry
            self._playing, self._waiting_since_s = True, None
            done = self._take(out, 0, dac_s)
            if done < count and self._resampler is not None:
                # The end, as far as is known: what the resampler holds back belongs before it.
                self._append(self._resampler.flush(), None)
                self._resampled = (0, 0)
                done = self._take(out, done, dac_s)
            if done < count:
                self._playing, self._dry_since_s = False, now_s
        return out

    def clear(self) -> float:
        """Forget all that waits; return how many seconds it was."""
        with self._lock:
            forgotten_s = self.queued_s
            self._chunks.clear()
            self._queued = 0
            self._playing = False
            self._waiting_since_s = self._dry_since_s = self._resampler = None
        return forgotten_s

    def latency_s(self) -> float | None:
        """Return the median time from a sample's own to its sounding; None at first.

        Of what plays, or played last: each time that playing begins, it is another.
        """
        with self._lock:
            return float(np.median(self._latencies_s)) if self._latencies_s else None

    def _resampler_for(self, rate_hz: int) -> StreamingResampler:
        if self._resampler is None or self._resampler.in_rate_hz != rate_hz:
            new = StreamingResampler(rate_hz, self.rate_hz)
            if self._resampler is not None:
                self.counters["rate_changes"] += 1
                self._append(self._resampler.flush(), None)
            self._resampler, self._resampled = new, (0, 0)
        return self._resampler

    def _append(self, samples: np.ndarray, time_s: float | None) -> None:
        free = self._room - self._queued
        if len(samples) > free:
            self.counters["overruns"] += 1
            self.counters["dropped_ms"] += round((len(samples) - free) * 1e3 / self.rate_hz)
            samples = samples[:free]
        if len(samples):
            self._chunks.append((samples, time_s))
            self._queued += len(samples)

    def _may_begin(self, now_s: float) -> bool:
        if self._waiting_since_s is None:
            return False
        return self.queued_s >= self._buffer_s or now_s - self._waiting_since_s >= self._buffer_s

    def _take(self, out: np.ndarray, done: int, dac_s: float) -> int:
        """Fill `out` [n] from sample `done` on; return how far it is filled."""
        while done < len(out) and self._chunks:
            samples, time_s = self._chunks.popleft()
            if time_s is not None:
                self._latencies_s.append(dac_s + done / self.rate_hz - time_s)
            n = min(len(samples), len(out) - done)
            out[done : done + n] = samples[:n]
            if n < len(samples):
                self._chunks.appendleft((samples[n:], None))
            done += n
            self._queued -= n
        return done
