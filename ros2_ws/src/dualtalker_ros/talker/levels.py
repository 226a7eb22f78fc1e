"""How loud the audio comes, and how much of it is clipped. Changes nothing."""

from __future__ import annotations

import math

import numpy as np

from dualtalker.audio import scale_samples

# From here on a sample counts as clipped: 16-bit PCM ends at 0.99997.
FULL_SCALE = 0.9995
SILENT_DBFS = -120.0


class LevelMeter:
    """Looks at samples; tells peak and clipped share since it was last asked."""

    def __init__(self) -> None:
        """Nothing was heard."""
        self._heard = self._clipped = 0
        self._peak = 0.0

    def note(self, samples: np.ndarray) -> None:
        """Take samples [n] or [n, channels], float in [-1, 1] or integer PCM."""
        if samples.size == 0:
            return
        magnitude = np.abs(scale_samples(samples)[0])
        self._heard += samples.size
        self._clipped += int(np.count_nonzero(magnitude >= FULL_SCALE))
        self._peak = max(self._peak, float(magnitude.max()))

    def read(self) -> tuple[float, float]:
        """Return peak in dBFS and clipped share since the last call."""
        share = self._clipped / self._heard if self._heard else 0.0
        peak_db = 20 * math.log10(self._peak) if self._peak > 0 else SILENT_DBFS
        self._heard = self._clipped = 0
        self._peak = 0.0
        return max(peak_db, SILENT_DBFS), share
