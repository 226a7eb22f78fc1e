"""Checks chunks of audio as they are pushed, counts what is wrong with them, mixes them down."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dualtalker.audio import (
    CANCEL_MESSAGE,
    NonFiniteError,
    channels_cancel,
    check_samples,
    mix_to_mono,
)
from dualtalker.errors import AudioError
from dualtalker.faults import Faults
from dualtalker.resampling import check_rate

# Audio is taken in pieces of this length, so that a push of minutes needs no more memory.
_PIECE_S = 0.5


class AudioIntake:
    """Chunks of any format in, mono pieces out; faults are counted on the way."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.restart()

    def restart(self) -> None:
        """Forget the format of the last chunk."""
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
            self._faults.count("nan_chunks", 1, str(error))
            raise
        except AudioError as error:
            self._faults.count("bad_chunks", 1, str(error))
            raise
        if len(chunk):
            self._note_format(chunk, rate_hz)
        else:
            self._faults.count("empty_chunks", 1, "a chunk without samples was ignored")
        return chunk, rate_hz

    def mix(self, chunk: np.ndarray, rate_hz: int) -> Iterator[np.ndarray]:
        """Yield the chunk as mono pieces [n] of half a second at most."""
        piece = int(rate_hz * _PIECE_S)
        for start in range(0, len(chunk), piece):
            samples = chunk[start : start + piece]
            mono, clipped = mix_to_mono(samples)
            if clipped:
                self._faults.count("clipped", clipped, "samples beyond full scale were clipped")
            if channels_cancel(samples, mono):
                self._faults.count("cancelled_audio", len(mono), CANCEL_MESSAGE)
            yield mono

    def _note_format(self, chunk: np.ndarray, rate_hz: int) -> None:
        channels = 1 if chunk.ndim == 1 else chunk.shape[1]
        old_rate_hz, old_channels = self._format or (rate_hz, channels)
        if rate_hz != old_rate_hz:
            self._faults.count("rate_changes", 1, f"{old_rate_hz} Hz became {rate_hz} Hz")
        if channels != old_channels:
            self._faults.count("channel_changes", 1, f"{old_channels} became {channels} channels")
        self._format = (rate_hz, channels)
