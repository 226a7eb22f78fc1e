"""The time of recorded samples: blocks of a microphone get exact stamps.

A sound card counts samples evenly, but by its own quartz; a driver's reports of times are right on
average, but each is off by milliseconds, and at the start of a stream by far more. So samples are
counted, and the count is tied to the clock by the median of what was reported in the last second.
"""

from __future__ import annotations

import statistics
from collections import deque

from dualtalker.devices.stream import Block

WINDOW_S = 1.0  # of reports that count
# A block cannot arrive before it is full. The earliest of so many seconds is a bound that holds
# for drivers that state too small a delay, as PulseAudio's does with long buffers.
BOUND_S = 10.0
# The tie moves at most so fast: many times faster than quartzes differ.
_SLEW = 1e-3
# Lost samples show by reports that are off by more than STEP_S for longer than STEP_AFTER_S (a
# busy machine makes some be off by a whole block for a tenth of a second) and agree in the end.
STEP_S = 0.01
STEP_AFTER_S = 0.5
AGREEMENT_S = 0.005
AGREEING = 5
# PulseAudio reports a quarter of a second too much for the first one or two seconds.
SETTLING_S = 2.5


class CaptureClock:
    """Turns blocks, in order, into monotonic times of their first samples."""

    def __init__(self, rate_hz: int, latency_s: float) -> None:
        """`latency_s` is the device's, as its driver states it."""
        self.rate_hz = rate_hz
        self._latency_s = latency_s
        self._count = 0  # samples before the block
        self._tie_s: float | None = None  # time of sample 0, as of now
        self._level_s = 0.0  # the same, by the reports alone
        self._reports: deque[float] = deque()  # the same, by the driver, for each block
        self._bounds: deque[float] = deque()  # and the latest that it can be, by the arrival
        self._first_s: float | None = None
        self.counters = {"overflows": 0, "clock_steps": 0}

    def stamp(self, block: Block) -> float | None:
        """Return when the block's first sample was taken (s); None while the stream settles."""
        length_s = block.frames / self.rate_hz
        counted_s = self._count / self.rate_hz
        full_s = block.arrival_s - length_s
        taken_s = full_s if block.adc_s is None else block.adc_s
        if self._first_s is None:
            self._first_s = block.arrival_s
        _append(self._reports, taken_s - counted_s, WINDOW_S / length_s)
        _append(self._bounds, full_s - counted_s, BOUND_S / length_s)
        if self._tie_s is not None:
            self._follow(block.overflow, length_s)
        elif self._is_settled(block.arrival_s, block.arrival_s - taken_s, length_s):
            self._level_s = statistics.median(list(self._reports)[-AGREEING:])
            self._tie_s = min(self._level_s, min(self._bounds))
            self._reports.clear()
        self._count += block.frames
        return None if self._tie_s is None else self._tie_s + counted_s

    def _is_settled(self, now_s: float, age_s: float, length_s: float) -> bool:
        """Whether reports agree and are plausible, or have been long enough in coming to it."""
        assert self._first_s is not None
        plausible = age_s <= self._latency_s + 2 * length_s and self._agree()
        return plausible or now_s - self._first_s >= SETTLING_S

    def _follow(self, overflow: bool, length_s: float) -> None:
        """Move the tie after one more report."""
        assert self._tie_s is not None
        recent = list(self._reports)[-max(round(STEP_AFTER_S / length_s), AGREEING) :]
        off = min(recent) - self._level_s > STEP_S or max(recent) - self._level_s < -STEP_S
        if overflow:
            self.counters["overflows"] += 1
            self._step(self._reports[-1])
        elif off and self._agree() and len(recent) * length_s >= STEP_AFTER_S:
            self.counters["clock_steps"] += 1
            self._step(statistics.median(recent[-AGREEING:]))
        most_s = _SLEW * length_s
        self._level_s += _limit(statistics.median(self._reports) - self._level_s, most_s)
        aim_s = min(self._level_s, min(self._bounds))
        self._tie_s += _limit(aim_s - self._tie_s, most_s)

    def _step(self, level_s: float) -> None:
        """Begin anew after lost samples: older reports are of another count."""
        assert self._tie_s is not None
        self._tie_s += level_s - self._level_s
        self._level_s = level_s
        self._reports = deque([self._reports[-1]])
        self._bounds = deque([self._bounds[-1]])

    def _agree(self) -> bool:
        last = list(self._reports)[-AGREEING:]
        return len(last) == AGREEING and max(last) - min(last) < AGREEMENT_S


def _limit(value: float, most: float) -> float:
    return min(max(value, -most), most)


def _append(values: deque[float], value: float, most: float) -> None:
    values.append(value)
    while len(values) > max(most, AGREEING):
        values.popleft()
