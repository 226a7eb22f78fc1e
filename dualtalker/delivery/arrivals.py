"""What arrivals of audio tell: how old it comes, and when the next is overdue.

A microphone's driver sends a chunk when it is full and stamps it with its first sample's time: it
is as old as it is long when it arrives. Other drivers stamp on sending, or not at all.
"""

from __future__ import annotations

from collections import deque
from operator import itemgetter

# A lag counts when all chunks for so long show it: being held up once makes none.
HABIT_S = 1.0
# The chunk length is that of the longest of so many.
LENGTHS_KEPT = 3
# Longer chunks are whole utterances: nobody can tell from them when the next one comes.
MAX_CHUNK_S = 2.0
# Frames never wait longer than this for audio that lags.
MAX_LAG_S = 2.0
# The lag is forgotten down to the worst of so many seconds with audio, if that is less by EASE_S:
# a machine that had no time for a while does not make the face late for ever.
RECOVERY_S = 30
EASE_S = 0.05
# Chunks longer than the longest so far by this factor are of another length.
LENGTH_CHANGE = 1.01


class Arrivals:
    """Gauges a stream of chunks as they arrive."""

    def __init__(self, starvation_s: float, hop_s: float) -> None:
        """`starvation_s` is the least patience; the model takes audio by hops of `hop_s`."""
        self._starvation_s = starvation_s
        self._hop_s = hop_s
        self._ages_s: deque[tuple[float, float]] = deque()  # arrivals and ages
        self._lengths_s: deque[float] = deque(maxlen=LENGTHS_KEPT)
        self._longest_s = 0.0
        self._worst_s: deque[tuple[int, float]] = deque()  # seconds with audio, worst ages
        self.lag_s: float | None = None  # from a sample's time to its arrival, at worst

    @property
    def chunk_s(self) -> float:
        """Length of the longest of the last chunks."""
        return max(self._lengths_s, default=0.0)

    @property
    def patience_s(self) -> float:
        """How long after a chunk the next may stay away before the audio has ended."""
        length_s = self.chunk_s
        if length_s > MAX_CHUNK_S:
            return self._starvation_s
        return max(self._starvation_s, length_s + min(length_s / 2, self._starvation_s))

    @property
    def harmless_lag_s(self) -> float:
        """The lag that costs nothing: chunks of whole hops arrive when the model takes them."""
        hops = self.chunk_s / self._hop_s
        return self._hop_s if hops and abs(hops - round(hops)) < 1e-6 else 0.0

    def change_starvation(self, starvation_s: float) -> float:
        """Have another least patience; return how much longer (s) the patience is by it."""
        before_s, self._starvation_s = self.patience_s, starvation_s
        return self.patience_s - before_s

    def note(self, now_s: float, age_s: float, length_s: float) -> None:
        """A chunk of `length_s` arrived, `age_s` after the time of its first sample."""
        self._ages_s.append((now_s, age_s))
        while len(self._ages_s) > 1 and now_s - self._ages_s[1][0] >= HABIT_S:
            self._ages_s.popleft()
        self._lengths_s.append(length_s)
        lags_s = [] if self.lag_s is None else [self.lag_s]
        if length_s > self._longest_s * LENGTH_CHANGE:
            # That it had to be filled is certain at once; how long it traveled is not.
            lags_s.append(min(age_s, length_s))
            self._longest_s = length_s
        if now_s - self._ages_s[0][0] >= HABIT_S:
            lags_s.append(min(map(itemgetter(1), self._ages_s)))
        if lags_s:
            self.lag_s = min(max(lags_s), MAX_LAG_S)
        self._recover(int(now_s), age_s)

    def _recover(self, second: int, age_s: float) -> None:
        """Forget a lag that no chunk of the last RECOVERY_S seconds with audio has had."""
        worst_s = self._worst_s
        if worst_s and worst_s[-1][0] == second:
            worst_s[-1] = (second, max(age_s, worst_s[-1][1]))
            return
        if len(worst_s) == RECOVERY_S:
            calm_s = max(age for _, age in worst_s)
            if self.lag_s is not None and calm_s < self.lag_s - EASE_S:
                self.lag_s = max(calm_s, 0.0)
            worst_s.popleft()
        worst_s.append((second, age_s))
