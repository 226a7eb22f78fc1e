"""The clocks of a stream: exact frame times, and stream time against time stamps."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from numbers import Real

from dualtalker.errors import DualtalkerError

MIN_FPS = 1.0
MAX_FPS = 120.0

# A longer setting is a mistake, such as milliseconds given for seconds.
MAX_SETTING_S = 3600
# Old anchors are kept for `stamp_of` of frames just emitted; nobody asks for older ones.
_MAX_PIECES = 16


class FrameClock:
    """Output frame k depicts stream time k / fps: rational arithmetic, so nothing ever drifts."""

    def __init__(self, fps: float) -> None:
        """Raises DualtalkerError unless fps is between 1 and 120; 30000/1001 is kept exactly."""
        if not isinstance(fps, (int, float, Fraction)) or not MIN_FPS <= fps <= MAX_FPS:
            raise DualtalkerError(f"fps {fps!r}; expected {MIN_FPS:g} to {MAX_FPS:g} frames/s")
        self.fps = Fraction(fps).limit_denominator(1_000_000)
        self.fps_hz = float(self.fps)
        frames, seconds = self.fps.numerator, self.fps.denominator
        # A frame's time is asked for several times.
        self._time_of = lru_cache(maxsize=32)(lambda index: Fraction(index * seconds, frames))

    def time_of(self, index: int) -> Fraction:
        """Return the stream time in seconds that frame `index` depicts."""
        return self._time_of(index)

    def seconds_of(self, index: int) -> float:
        """Return the same as a float, rounded once."""
        return index * self.fps.denominator / self.fps.numerator

    def count_before(self, time_s: Fraction) -> int:
        """Return how many frames depict a time in [0, time_s)."""
        return max(-self._floor(-time_s.numerator, time_s.denominator), 0)

    def count_through(self, time_s: Fraction) -> int:
        """Return how many frames depict a time in [0, time_s]."""
        return max(self._floor(time_s.numerator, time_s.denominator) + 1, 0)

    def _floor(self, numerator: int, denominator: int) -> int:
        """Return the floor of a time in frames; a product of fractions costs ten times more."""
        return numerator * self.fps.numerator // (denominator * self.fps.denominator)


class StampClock:
    """Maps stream time (counted in samples) to the stamps of the audio, and back.

    A mapping is a line of slope one: stamp = offset + stream time, fixed by an anchor. Each later
    stamp tells an error against it. Errors below the tolerance are jitter and move no sample; but
    the offset follows their running mean with a time constant of `TRACKING_S`, so that a device
    clock that runs 200 ppm fast never carries the stamps away: they lag by at most
    200e-6 * 5 s = 1 ms, however long the stream. With exact stamps the offset never moves.
    """

    TRACKING_S = 5.0

    def __init__(self) -> None:
        self._pieces: list[tuple[Fraction, int]] = []  # (stream time it starts at, offset in ns)

    @property
    def anchored(self) -> bool:
        """Whether any stamp was seen."""
        return bool(self._pieces)

    def anchor(self, time_s: Fraction, stamp_ns: int) -> None:
        """From stream time `time_s` on, stamps count from `stamp_ns`."""
        self._pieces.append((time_s, stamp_ns - _to_ns(time_s)))
        del self._pieces[:-_MAX_PIECES]

    def rewind(self, time_s: Fraction) -> None:
        """Forget the anchors from stream time `time_s` on, but for the first."""
        self._pieces[1:] = [piece for piece in self._pieces[1:] if piece[0] < time_s]

    def error_s(self, time_s: Fraction, stamp_ns: int) -> Fraction:
        """Return how much later than expected a stamp is for audio that starts at `time_s`."""
        return Fraction(stamp_ns - self._pieces[-1][1] - _to_ns(time_s), 10**9)

    def track(self, error_s: Fraction, elapsed_s: float) -> None:
        """Let the offset follow a small error, seen `elapsed_s` after the stamp before."""
        start, offset_ns = self._pieces[-1]
        gain = -math.expm1(-elapsed_s / self.TRACKING_S)
        self._pieces[-1] = (start, offset_ns + round(gain * float(error_s) * 1e9))

    def stamp_of(self, time_s: Fraction | float) -> int | None:
        """Return the stamp in ns of a stream time; None before any stamp was seen."""
        if not self._pieces:
            return None
        for start, offset_ns in self._pieces[:0:-1]:  # the first is for all that was before, too
            if time_s >= start:
                return offset_ns + _to_ns(time_s)
        return self._pieces[0][1] + _to_ns(time_s)

    def time_of(self, stamp_ns: int) -> Fraction | None:
        """Return the stream time in seconds of a stamp; None before any stamp was seen."""
        if not self._pieces:
            return None
        end: Fraction | None = None
        pieces = self._pieces if len(self._pieces) > 1 else ()  # one alone is for all times
        for start, offset_ns in reversed(pieces):
            time_s = Fraction(stamp_ns - offset_ns, 10**9)
            if time_s >= start and (end is None or time_s < end):
                return time_s
            end = start
        return Fraction(stamp_ns - self._pieces[-1][1], 10**9)


def as_duration(name: str, value: float) -> Fraction:
    """Return a setting in seconds exactly; raises DualtalkerError unless it is 0 to an hour."""
    if not isinstance(value, Real) or not 0 <= value <= MAX_SETTING_S:
        raise DualtalkerError(f"{name} is {value!r}; expected 0 to {MAX_SETTING_S} seconds")
    return Fraction(float(value))


def _to_ns(time_s: Fraction | float) -> int:
    """Return round(time_s * 10**9), half to even, for a tenth of its price."""
    numerator, denominator = time_s.as_integer_ratio()
    whole, rest = divmod(numerator * 10**9, denominator)
    beyond = 2 * rest - denominator
    return whole + (beyond > 0 or (beyond == 0 and whole % 2 == 1))
