"""Audio as it is pushed: checked, mixed to mono, resampled, and cut into the model's hops."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from dualtalker.audio import (
    CANCEL_MESSAGE,
    NonFiniteError,
    StreamingResampler,
    channels_cancel,
    check_rate,
    check_samples,
    fit_length,
    mix_to_mono,
)
from dualtalker.errors import AudioError
from dualtalker.faults import Faults

# Audio is taken in pieces of this length, so that a push of minutes needs no more memory.
_PIECE_S = 0.5


class AudioIntake:
    """Chunks of any format in, mono pieces out; faults are counted on the way."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._format: tuple[int, int] | None = None  # rate and channels of the last chunk

    def check(
        self, samples: np.ndarray, sample_rate_hz: int, stamp_ns: int | None
    ) -> tuple[np.ndarray, int]:
        """Return a chunk [n] or [n, channels] as float32, perhaps empty, and its rate.

        Raises:
            AudioError: it is refused, and counted.
            TypeError: the stamp is not a whole number.
        """
        if stamp_ns is not None and not isinstance(stamp_ns, (int, np.integer)):
            raise TypeError(f"stamp_ns is {type(stamp_ns).__name__}; expected int nanoseconds")
        try:
            chunk, rate_hz = check_samples(samples), check_rate(sample_rate_hz)
        except NonFiniteError as error:
            self._faults.count("nan_chunks", str(error))
            raise
        except AudioError as error:
            self._faults.count("bad_chunks", str(error))
            raise
        if len(chunk):
            self._note_format(chunk, rate_hz)
        else:
            self._faults.count("empty_chunks", "a chunk without samples was ignored")
        return chunk, rate_hz

    def mix(self, chunk: np.ndarray, rate_hz: int) -> Iterator[np.ndarray]:
        """Yield the chunk as mono pieces [n] of half a second at most."""
        piece = int(rate_hz * _PIECE_S)
        for start in range(0, len(chunk), piece):
            samples = chunk[start : start + piece]
            mono, clipped = mix_to_mono(samples)
            if clipped:
                self._faults.count("clipped", "samples beyond full scale were clipped", clipped)
            if channels_cancel(samples, mono):
                self._faults.count("cancelled_audio", CANCEL_MESSAGE, len(mono))
            yield mono

    def _note_format(self, chunk: np.ndarray, rate_hz: int) -> None:
        channels = 1 if chunk.ndim == 1 else chunk.shape[1]
        old_rate_hz, old_channels = self._format or (rate_hz, channels)
        if rate_hz != old_rate_hz:
            self._faults.count("rate_changes", f"{old_rate_hz} Hz became {rate_hz} Hz")
        if channels != old_channels:
            self._faults.count("channel_changes", f"{old_channels} became {channels} channels")
        self._format = (rate_hz, channels)


class AudioAccumulator:
    """Mono chunks at any rate in, hops `[1, hop]` at the model's rate out.

    Length is counted as an exact fraction of a second from the input's own sample counts, so it
    does not drift, whatever the rates and however often they change.
    """

    def __init__(self, rate_hz: int, hop_samples: int) -> None:
        """`rate_hz` and `hop_samples` are the model's."""
        self.rate_hz = rate_hz
        self._hop_samples = hop_samples
        self.restart()

    def restart(self) -> None:
        """Forget all audio; the duration counts from zero again."""
        self._resampler: StreamingResampler | None = None
        self._in_count = self._ready_total = 0
        self._before_s = Fraction(0)  # audio of earlier input rates
        self.duration_s = Fraction(0)  # exact seconds of audio pushed since the last `restart`
        self.ready = np.zeros(0, np.float32)  # samples at the model's rate, to be popped

    @property
    def delay_s(self) -> float:
        """Seconds of audio that the resampler can hold back."""
        return 0.0 if self._resampler is None else self._resampler.delay_s

    def push(self, samples: np.ndarray, rate_hz: int) -> None:
        """Take mono float32 samples [n]; a new rate gets a new resampler, without a gap."""
        if self._resampler is None or self._resampler.in_rate_hz != rate_hz:
            self.finish()
            self._resampler = StreamingResampler(rate_hz, self.rate_hz)
        self._in_count += len(samples)
        self.duration_s = Fraction(self._in_count, rate_hz)
        if self._before_s:
            self.duration_s += self._before_s
        self._append(self._resampler.push(samples))

    def pop(self, pad: bool = False) -> np.ndarray | None:
        """Return the next hop [1, hop] float32, or None; `pad` completes it with silence."""
        hop = self.ready[: self._hop_samples]
        if len(hop) < self._hop_samples:
            if not pad:
                return None
            hop = fit_length(hop, self._hop_samples)
        self.ready = self.ready[self._hop_samples :]
        return hop[np.newaxis]

    def finish(self) -> None:
        """Make the samples that the resampler holds back ready too; the rate is forgotten."""
        if self._resampler is None:
            return
        self._append(self._resampler.flush())
        self._before_s = self.duration_s
        self._resampler, self._in_count = None, 0
        # Each run's length was rounded to a whole sample; their sum must not carry that along.
        missing = round(self._before_s * self.rate_hz) - self._ready_total
        self._ready_total += missing
        self.ready = fit_length(self.ready, len(self.ready) + missing)

    def _append(self, samples: np.ndarray) -> None:
        self._ready_total += len(samples)
        # Less than a hop waits between calls, so this copies little, and frees what was popped.
        self.ready = np.concatenate([self.ready, samples])
