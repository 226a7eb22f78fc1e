"""Audio on its way: what waits to be computed, in pieces, so that a burst never blocks frames."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from dualtalker.audio import AudioChunk

# Audio is run through the model in pieces of this length.
_PIECE_S = 0.02


class Follower(Protocol):
    """Is told what becomes of the audio."""

    def take(self, chunk: AudioChunk, begin_ns: int) -> None:
        """A chunk was taken, whose first sample is at `begin_ns` on the node's clock."""

    def forget(self) -> None:
        """All audio that was taken is void."""


class Backlog:
    """A queue of at most `max_s` of pieces that all have stamps, on the node's clock."""

    def __init__(self, max_s: float) -> None:
        self.max_s = max_s
        self.clear()

    def clear(self) -> None:
        """Forget what waits."""
        self.pieces: deque[AudioChunk] = deque()  # that wait, all stamped
        self.waiting_s = 0.0

    @property
    def share(self) -> float:
        """How much of what may wait does."""
        return self.waiting_s / self.max_s

    @property
    def begin_ns(self) -> int:
        """When the first piece that waits begins."""
        stamp_ns = self.pieces[0].stamp_ns
        assert stamp_ns is not None  # `put` stamps every piece
        return stamp_ns

    def put(self, chunk: AudioChunk, begin_ns: int) -> int:
        """Take a chunk that begins at `begin_ns`; return how many samples of it fit."""
        size = max(int(chunk.rate_hz * _PIECE_S), 1)
        for start in range(0, len(chunk.samples), size):
            samples = chunk.samples[start : start + size].copy()  # a view keeps all the message
            length_s = len(samples) / chunk.rate_hz
            if self.waiting_s + length_s > self.max_s:
                return start
            piece_ns = begin_ns + start * 10**9 // chunk.rate_hz
            self.pieces.append(AudioChunk(samples, chunk.rate_hz, piece_ns))
            self.waiting_s += length_s
        return len(chunk.samples)

    def take(self) -> AudioChunk:
        """Return the first piece that waits, which then waits no more."""
        piece = self.pieces.popleft()
        self.waiting_s -= piece.duration_s
        if not self.pieces:
            self.waiting_s = 0.0  # nothing left: no rounding errors either
        return piece
