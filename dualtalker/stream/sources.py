"""What stamps a source gives: of its samples' time, or of their arrival. Moves no audio."""

from __future__ import annotations

from collections import Counter, deque
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

from dualtalker.errors import DualtalkerError

STAMPS = ("auto", "audio", "arrival")
# Stamps of samples follow their count this exactly; those of arrivals seldom do.
EXACT_S = Fraction(2, 1000)
_EXACT_NS = int(EXACT_S * 10**9)
# So many stamps tell; those of so much audio are remembered, but not fewer or more than so many.
MARKS_NEEDED = 3
MARKS_KEPT_NS = 1_500_000_000
FEWEST_KEPT, MOST_KEPT = 32, 1000
# Stamps of samples run with their count to within this, this rounding, and twice their jitter.
MAX_RATE_ERROR = 0.003
MAX_ROUNDING_NS = 3_000_000
# What strays by more is a step, no drift.
MAX_DRIFT_NS = 30_000_000
# A source that stamped arrivals is believed to stamp samples when so many times as many fit; and
# one has proved it, so that what its stamps call heard is dropped, when so many do besides.
REFORM = 3
FITS_TO_PROVE = 8
# Audio that may come again is remembered for so long, and through no longer pause than the other.
REMEMBERED_S = 1
MAX_LATE_S = Fraction(1, 4)


class _Stray(NamedTuple):
    """How a stamp strays from the one before and the samples between, in whole numbers.

    Times are in nanoseconds times the rate: exact as fractions are, for a tenth of the price.
    """

    excess: int  # by which the stamp is later than it should be
    length: int  # of the chunk before
    rate_hz: int

    @property
    def s(self) -> Fraction:
        """The excess in seconds."""
        return Fraction(self.excess, self.rate_hz * 10**9)

    def is_exact(self, difference: float) -> bool:
        """Whether a difference in these units is at most EXACT_S."""
        return abs(difference) <= _EXACT_NS * self.rate_hz


class StampSource:
    """Follows one source of chunks, in the order in which they come.

    A chunk that comes again is known by its samples, whatever its stamp. Each stamp is compared
    with the one before and the samples between: it fits exactly, it lies behind by whole chunks
    (some were lost, or one came late), or it fits not. Where most fit, the source stamps samples;
    where most do not, or where they drift from the samples faster than clocks do, arrivals.
    """

    def __init__(self, stamps: str = "auto") -> None:
        """`stamps` is what is known: "audio", "arrival", or nothing ("auto").

        Raises:
            DualtalkerError: it is none of the three.
        """
        if stamps not in STAMPS:
            raise DualtalkerError(f"stamps is {stamps!r}; expected one of {', '.join(STAMPS)}")
        self.stamps = stamps
        self._arrivals = False  # what the marks told last
        # Of each stamp: how it fits, the audio before it, and by how much it strays (ns), None
        # where that tells no drift. Below, their sums.
        self._marks: deque[tuple[str, int, int | None]] = deque()
        self._counts: Counter[str] = Counter()
        self._kept_ns = self._span_ns = self._drift_ns = 0
        self._last: tuple[int, int, int] | None = None  # stamp, samples, rate of the last chunk
        self._step_ns = 0  # from the last stamp to this one
        self._stray = _Stray(0, 0, 1)
        self._repeating = False  # whether the last chunk was heard before
        self.forget_audio()

    @property
    def kind(self) -> Literal["audio", "arrival", "unknown"]:
        """What is known of the stamps so far."""
        if self.stamps == "audio":
            return "audio"
        if self.stamps == "arrival" or self._arrivals:
            return "arrival"
        return "audio" if self._is_told else "unknown"

    @property
    def step_s(self) -> Fraction:
        """From the last stamp to this one."""
        return Fraction(self._step_ns, 10**9)

    @property
    def stray_s(self) -> Fraction:
        """By how much this stamp strays from the last and the samples between."""
        return self._stray.s

    @property
    def is_proven(self) -> bool:
        """Whether the stamps are of samples beyond doubt."""
        fits = self._counts["fits"]
        proven = fits >= FITS_TO_PROVE and fits >= REFORM * self._counts["strays"]
        return self.stamps == "audio" or (proven and self.kind == "audio")

    @property
    def _is_told(self) -> bool:
        return self._counts["fits"] + self._counts["strays"] >= MARKS_NEEDED

    def forget_audio(self) -> None:
        """What was heard so far may well come again, and mean it."""
        self._heard: deque[np.ndarray] = deque()
        self._heard_kind: tuple[int, np.dtype, tuple[int, ...]] | None = None
        self._heard_count = self._keep = 0

    def note(self, stamp_ns: int, count: int, rate_hz: int) -> None:
        """Take the stamp of a chunk of `count` samples."""
        if self._last is not None:
            last_ns, last_count, last_hz = self._last
            self._step_ns = stamp_ns - last_ns
            length = last_count * 10**9
            stray = _Stray(self._step_ns * last_hz - length, length, last_hz)
            if self.stamps != "audio":  # else there is nothing to find out
                mark = self._mark(stray)
                self._remember(mark, round(length / last_hz), round(stray.excess / last_hz))
                self._judge()
            self._stray = stray
        self._last = stamp_ns, count, rate_hz

    def hear(self, samples: np.ndarray, rate_hz: int) -> None:
        """Remember samples [n] or [n, channels] that were heard."""
        kind = (rate_hz, samples.dtype, samples.shape[1:])
        if kind != self._heard_kind:
            self.forget_audio()
            self._heard_kind = kind
        count = len(samples)
        self._heard.append(samples.copy())  # a view keeps all of a message
        self._heard_count += count
        # Joined where it is looked into, which is seldom.
        self._keep = max(REMEMBERED_S * rate_hz, count)
        while self._heard_count - len(self._heard[0]) >= self._keep:
            self._heard_count -= len(self._heard.popleft())

    def find_repeat(self, samples: np.ndarray, rate_hz: int) -> int:
        """Return how many samples ago (in what was heard) this chunk was heard first; 0 if not.

        Only a chunk whose stamp is too early can be one. Sound that repeats itself, silence and
        tones, is no sign.
        """
        repeating, self._repeating = self._repeating, False
        if (
            not repeating and self._stray.excess >= -_EXACT_NS * self._stray.rate_hz
        ) or not self._heard:
            return 0
        if (rate_hz, samples.dtype, samples.shape[1:]) != self._heard_kind:
            return 0
        heard = np.concatenate(self._heard)[-self._keep :]
        places = _find(heard, samples)
        if len(places) != 1:
            return 0
        ago = len(heard) - places[0]
        # Newly stamped, the last chunk alone can come again.
        if self.kind != "audio" and self.step_s > 0 and ago > len(samples):
            return 0
        self._repeating = True
        return ago

    def _mark(self, stray: _Stray) -> str:
        if stray.is_exact(stray.excess):
            return "fits"
        if self._marks and self._marks[-1][0] == "strays":
            fitted = len(self._marks) < 2 or self._marks[-2][0] == "fits"
            if fitted and abs(stray.s + self.stray_s) <= EXACT_S:
                return "returns"  # the stamp before strayed alone
        lost = round(stray.excess / stray.length)
        is_hole = lost >= 1 and stray.is_exact(stray.excess - lost * stray.length)
        is_long = not stray.is_exact(stray.length / 4)
        return "skips" if is_hole and is_long else "strays"

    def _remember(self, mark: str, length_ns: int, stray_ns: int) -> None:
        """Add a mark to what is known, and take the oldest off."""
        # Jitter cancels out in the sum; audio that is lost, late or repeated is no drift.
        is_small = -length_ns < stray_ns and abs(stray_ns) < MAX_DRIFT_NS
        tells_drift = is_small and mark in ("fits", "strays")
        self._marks.append((mark, length_ns, stray_ns if tells_drift else None))
        self._add(1, *self._marks[-1])
        while len(self._marks) > FEWEST_KEPT and (
            self._kept_ns > MARKS_KEPT_NS or len(self._marks) > MOST_KEPT
        ):
            self._add(-1, *self._marks.popleft())

    def _add(self, sign: int, mark: str, length_ns: int, stray_ns: int | None) -> None:
        self._counts[mark] += sign
        self._kept_ns += sign * length_ns
        if stray_ns is not None:
            self._span_ns += sign * length_ns
            self._drift_ns += sign * stray_ns

    def _judge(self) -> None:
        if not self._is_told:
            return
        needed = self._counts["strays"] * (REFORM if self._arrivals else 1)
        self._arrivals = self._counts["fits"] < needed or self._drifts()

    def _drifts(self) -> bool:
        """Whether the stamps run away from the samples faster than clocks and jitter do."""
        beyond_ns = abs(self._drift_ns) - MAX_ROUNDING_NS - MAX_RATE_ERROR * self._span_ns
        if beyond_ns <= 0:
            return False
        jitter_ns = max(abs(stray_ns) for *_, stray_ns in self._marks if stray_ns is not None)
        return beyond_ns > 2 * jitter_ns


def _find(heard: np.ndarray, samples: np.ndarray) -> list[int]:
    """Return where in `heard` these samples begin, at most two places; they may go beyond."""
    same = heard == samples[0]
    firsts = np.flatnonzero(same if same.ndim == 1 else same.all(axis=1))
    places: list[int] = []
    for first in firsts.tolist():
        count = min(len(heard) - first, len(samples))
        if np.array_equal(heard[first : first + count], samples[:count]):
            if count * 4 >= len(samples):  # a few samples at the end prove nothing
                places.append(first)
            if len(places) == 2:
                break
    return places
