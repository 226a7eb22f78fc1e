"""The time of recorded samples: blocks of a microphone get exact stamps. Opens no device.

A sound card counts samples evenly, but by its own quartz; a driver's reports of times are right on
average, but each is off by milliseconds, and at the start of a stream by far more. So samples are
counted, and the count is tied to the clock by the median of what was reported in the last second.
"""

from __future__ import annotations

import statistics
from collections import deque

from dualtalker.devices import Block

WINDOW_S = 1.0  # of reports that count
# The tie moves toward the median at most so fast: many times faster than quartzes differ.
SLEW = 1e-3
# Reports that agree on being off by more than this show lost samples, not a quartz.
STEP_S = 0.01
STEP_REPORTS = 5
AGREEMENT_S = 0.005
# PulseAudio reports a quarter of a second too much for the first one or two seconds.
SETTLING_S = 2.0


class CaptureClock:
    """Turns blocks, in order, into monotonic times of their first samples."""

    def __init__(self, rate_hz: int, latency_s: float) -> None:
        """`latency_s` is the device's, as its driver states it."""
        self.rate_hz = rate_hz
        self._latency_s = latency_s
        self._count = 0  # samples before the block
        self._tie_s: float | None = None  # time of sample 0, as of now
        self._reports: deque[float] = deque()  # the same, by each block alone
        self._first_s: float | None = None
        self.counters = {"overflows": 0, "clock_steps": 0, "unknown_adc_times": 0}

    def stamp(self, block: Block) -> float | None:
        """Return when the block's first sample was taken (s); None while the stream settles."""
        length_s = block.frames / self.rate_hz
        # A block is full when it arrives: its first sample cannot be younger than it is long.
        taken_s = block.arrival_s - length_s
        if block.adc_s is None:
            self.counters["unknown_adc_times"] += 1
        else:
            taken_s = min(block.adc_s, taken_s)
        report_s = taken_s - self._count / self.rate_hz
        if self._first_s is None:
            self._first_s = block.arrival_s
        if block.overflow:
            self.counters["overflows"] += 1
            self._retie(report_s)
        self._reports.append(report_s)
        while len(self._reports) > max(WINDOW_S / length_s, STEP_REPORTS):
            self._reports.popleft()
        if self._tie_s is None and self._is_settled(block, taken_s, length_s):
            self._tie_s = report_s
        elif self._tie_s is not None:
            self._tie_s = self._follow(self._tie_s, length_s)
        stamp_s = None if self._tie_s is None else self._tie_s + self._count / self.rate_hz
        self._count += block.frames
        return stamp_s

    def _is_settled(self, block: Block, taken_s: float, length_s: float) -> bool:
        """Whether the age of the samples is what the driver states, or nothing else will come."""
        age_s = block.arrival_s - taken_s
        assert self._first_s is not None
        waited_s = block.arrival_s - self._first_s
        return age_s <= self._latency_s + 2 * length_s or waited_s >= SETTLING_S

    def _follow(self, tie_s: float, length_s: float) -> float:
        last = list(self._reports)[-STEP_REPORTS:]
        agree = max(last) - min(last) < AGREEMENT_S and len(last) == STEP_REPORTS
        middle_s = statistics.median(last)
        if agree and abs(middle_s - tie_s) > STEP_S:
            self.counters["clock_steps"] += 1
            self._retie(middle_s)
            return middle_s
        error_s = statistics.median(self._reports) - tie_s
        if abs(error_s) > STEP_S:
            self.counters["clock_steps"] += 1
            return tie_s + error_s
        most_s = SLEW * length_s
        return tie_s + min(max(error_s, -most_s), most_s)

    def _retie(self, report_s: float) -> None:
        self._reports.clear()
        if self._tie_s is not None:
            self._tie_s = report_s
