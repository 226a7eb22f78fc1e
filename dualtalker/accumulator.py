"""Collects pushed audio and hands it out in hops of the model's rate. Runs no model."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from dualtalker.resampling import StreamingResampler, fit_length


class AudioAccumulator:
    """Mono chunks at any rate in, hops `[1, hop]` at the model's rate out.

    Length is counted as an exact fraction of a second from the input's own sample counts, so it
    does not drift, whatever the rates and however often they change.
    """

    def __init__(self, rate_hz: int, hop_samples: int) -> None:
        """`rate_hz` and `hop_samples` are the model's."""
        self.rate_hz = rate_hz
        self.hop_samples = hop_samples
        self._resampler: StreamingResampler | None = None
        self._in_count = 0
        self._before_s = Fraction(0)  # audio of earlier input rates
        self._ready = np.zeros(0, np.float32)
        self._ready_total = 0

    @property
    def duration_s(self) -> Fraction:
        """Exact seconds of audio pushed since the last `restart`."""
        if self._resampler is None:
            return self._before_s
        return self._before_s + Fraction(self._in_count, self._resampler.in_rate_hz)

    @property
    def input_rate_hz(self) -> int | None:
        """The rate of the last chunk pushed; None before the first."""
        return None if self._resampler is None else self._resampler.in_rate_hz

    @property
    def delay_s(self) -> float:
        """Seconds of audio that the resampler can hold back."""
        return 0.0 if self._resampler is None else self._resampler.delay_s

    @property
    def ready_samples(self) -> int:
        """Samples at the model's rate that wait to be popped."""
        return len(self._ready)

    def push(self, samples: np.ndarray, rate_hz: int) -> None:
        """Take mono float32 samples [n]; a new rate gets a new resampler, without a gap."""
        if self._resampler is None or self._resampler.in_rate_hz != rate_hz:
            self._end_run()
            self._resampler = StreamingResampler(rate_hz, self.rate_hz)
        self._in_count += len(samples)
        self._append(self._resampler.push(samples))

    def finish(self) -> None:
        """Make the samples that the resampler holds back ready too; the rate is forgotten."""
        self._end_run()

    def pop(self, pad: bool = False) -> np.ndarray | None:
        """Return the next hop [1, hop] float32, or None; `pad` completes it with silence."""
        hop = self._ready[: self.hop_samples]
        if len(hop) < self.hop_samples:
            if not pad:
                return None
            hop = fit_length(hop, self.hop_samples)
        self._ready = self._ready[self.hop_samples :]
        return hop[np.newaxis]

    def restart(self) -> None:
        """Forget all audio; the duration counts from zero again."""
        self._resampler = None
        self._in_count = self._ready_total = 0
        self._before_s = Fraction(0)
        self._ready = np.zeros(0, np.float32)

    def _end_run(self) -> None:
        if self._resampler is None:
            return
        self._append(self._resampler.flush())
        self._before_s = self.duration_s
        self._resampler, self._in_count = None, 0
        # Each run's length was rounded to a whole sample; their sum must not carry that along.
        missing = round(self._before_s * self.rate_hz) - self._ready_total
        self._ready_total += missing
        self._ready = fit_length(self._ready, len(self._ready) + missing)

    def _append(self, samples: np.ndarray) -> None:
        self._ready_total += len(samples)
        # Less than a hop waits between calls, so this copies little, and frees what was popped.
        self._ready = np.concatenate([self._ready, samples])
