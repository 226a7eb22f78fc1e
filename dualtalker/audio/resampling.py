"""Sample-rate conversion of an endless stream, cut into chunks of any size."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from numbers import Real

import numpy as np

from dualtalker.errors import AudioError

MIN_RATE_HZ = 8000
MAX_RATE_HZ = 192000


class StreamingResampler:
    """Converts mono float32 chunks; the output does not depend on how the input was cut.

    Built on soxr's variable-rate mode: its ordinary streaming mode returns samples in bursts of up
    to 80 ms, while this mode holds back a constant 7.5 to 30 ms (`delay_s`, 12.5 ms from 48 kHz).
    What is held back is only late, not shifted: output sample i depicts second i / out_rate of the
    input, to within 0.12 ms (the mode's own sub-sample phase), so no time stamp moves.
    """

    def __init__(self, in_rate_hz: int, out_rate_hz: int) -> None:
        """Raises AudioError when a rate lies outside 8000 to 192000 Hz."""
        self.in_rate_hz = check_rate(in_rate_hz)
        self.out_rate_hz = check_rate(out_rate_hz)
        self._in_count = 0
        self._out_count = 0
        self._stream = None
        if in_rate_hz != out_rate_hz:
            self._stream = _new_stream(in_rate_hz, out_rate_hz)

    @property
    def delay_s(self) -> float:
        """Seconds of input that can be held back at most, until `flush`."""
        return _measure_delay_s(self.in_rate_hz, self.out_rate_hz)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take samples [n] float32 at the input rate; return those ready at the output rate."""
        self._in_count += len(samples)
        if self._stream is None:
            self._out_count += len(samples)
            return samples
        if len(samples) == 0:
            return np.zeros(0, np.float32)
        ready = self._stream.resample_chunk(np.ascontiguousarray(samples, np.float32))
        self._out_count += len(ready)
        return ready

    def flush(self) -> np.ndarray:
        """Return what was held back, and start anew.

        The sum of all outputs is then exactly round(inputs * out_rate / in_rate) samples.
        """
        total = round(Fraction(self._in_count * self.out_rate_hz, self.in_rate_hz))
        missing = total - self._out_count
        tail = np.zeros(0, np.float32)
        if self._stream is not None and self._in_count:
            tail = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
            self._stream = _new_stream(self.in_rate_hz, self.out_rate_hz)
        self._in_count = self._out_count = 0
        return fit_length(tail, missing)


def fit_length(samples: np.ndarray, count: int) -> np.ndarray:
    """Cut samples [n] to `count`, or append zeros; a negative count gives none."""
    count = max(count, 0)
    if len(samples) >= count:
        return samples[:count]
    return np.concatenate([samples, np.zeros(count - len(samples), np.float32)])


def check_rate(rate_hz: object) -> int:
    """Return a sample rate as an int; raises AudioError unless it is whole and 8 to 192 kHz."""
    # Mostly the first holds; to ask the second costs more than all else here.
    is_number = type(rate_hz) is int or (
        isinstance(rate_hz, Real) and not isinstance(rate_hz, bool)
    )
    if not is_number or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:  # type: ignore[operator]
        raise AudioError(
            f"sample rate {rate_hz!r} Hz; expected {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz. Convert the "
            "audio first, for example: ffmpeg -i in.wav -ar 48000 out.wav"
        )
    if rate_hz != int(rate_hz):  # type: ignore[call-overload]
        raise AudioError(
            f"sample rate {rate_hz!r} Hz; expected a whole number of samples a second"
        )
    return int(rate_hz)  # type: ignore[call-overload]


def _new_stream(in_rate_hz: int, out_rate_hz: int):  # type: ignore[no-untyped-def]
    import soxr

    return soxr.ResampleStream(in_rate_hz, out_rate_hz, 1, dtype="float32", quality="HQ", vr=True)


@lru_cache(maxsize=64)
def _measure_delay_s(in_rate_hz: int, out_rate_hz: int) -> float:
    """Feed a quarter second of silence in chunks of a millisecond and see what is held back."""
    if in_rate_hz == out_rate_hz:
        return 0.0
    stream = _new_stream(in_rate_hz, out_rate_hz)
    chunk = np.zeros(max(in_rate_hz // 1000, 1), np.float32)
    worst_s = 0.0
    ready = 0
    for i in range(1, 251):
        ready += len(stream.resample_chunk(chunk))
        worst_s = max(worst_s, i * len(chunk) / in_rate_hz - ready / out_rate_hz)
    return worst_s
