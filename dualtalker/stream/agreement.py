"""Whether the phones that were told are of the sound that is heard: by its loudness, causally."""

from __future__ import annotations

import math

import numpy as np

# How loud each class is beside a vowel, about (dB); a stop is its closure.
_VOWEL_DB = 0.0
_LEVELS_DB = {
    "sil": -40.0,
    **dict.fromkeys(("PP", "FF", "KK"), -18.0),
    **dict.fromkeys(("TH", "DD", "HH"), -16.0),
    "SS": -14.0,
    "CH": -12.0,
    "BH": -10.0,
    "NN": -8.0,
    **dict.fromkeys(("LL", "WW", "YY"), -6.0),
    "RR": -5.0,
}
_FLOOR_DB = -60.0  # of full scale: what is less loud is silence
_REACH_S = 0.5  # largest shift that is looked for
_TOLERANCE_S = 0.15  # phones that are off by less agree
_MEMORY_S = 4.0  # of speech that counts
# Speech that is needed to tell that phones are shifted, and that they are of something else.
_NEEDED_S, _NEEDED_FOR_OTHER_S = 0.6, 2.5
# Correlation at a shift, and how much better than at none it must be, to be believed; and what
# phones of another text do not reach.
_SURE_R, _MARGIN_R, _OTHER_R = 0.3, 0.1, 0.1


def expect_level(label: str) -> float:
    """Return how loud a phone's class is beside a vowel (dB)."""
    return _LEVELS_DB.get(label, _VOWEL_DB)


class Agreement:
    """Correlates what the phones say of loudness with the sound, for shifts up to `_REACH_S`.

    What it finds: after about a second of speech, phones that are early or late by more than
    `_TOLERANCE_S`; after some three, phones of another text. What it does not: a wrong phone among
    right ones, less speech than that, or music and noise as loud as the speech.
    """

    def __init__(self, step_s: float, lookahead_s: float) -> None:
        """Steps of `step_s` are heard; phones are told for `lookahead_s` before them."""
        self._ahead = round(lookahead_s / step_s)
        reach = max(round(_REACH_S / step_s), 1)
        lags = np.arange(-reach, reach + 1)  # by how many steps the phones come after the sound
        # At each step a shift compares the phone at the step told, or, where its sound is not
        # heard yet, an older one, with the sound as much earlier.
        back = np.maximum(0, -lags - self._ahead)
        self._phone_at, self._sound_at = back, self._ahead + back + lags
        self._near = np.abs(lags) * step_s <= _TOLERANCE_S + 1e-9
        self._keep = math.exp(-step_s / _MEMORY_S)
        self._needed, self._needed_for_other = _NEEDED_S / step_s, _NEEDED_FOR_OTHER_S / step_s
        self._sounds = np.full(self._sound_at.max() + 1, np.nan)
        self._phones = np.full(back.max() + 1, np.nan)
        self.restart()

    def restart(self) -> None:
        """Other phones begin, or other sound: they agree until it is known better."""
        self.agrees = True
        self._phones[:] = np.nan
        self._sums = np.zeros((6, len(self._phone_at)))

    def forget_sound(self) -> None:
        """The sound begins anew."""
        self._sounds[:] = np.nan

    def hear(self, samples: np.ndarray) -> None:
        """Take the sound [n] of the next step."""
        power = float(np.mean(np.square(samples, dtype=np.float64)))
        self._sounds[1:] = self._sounds[:-1]
        self._sounds[0] = max(10.0 * math.log10(power + 1e-12), _FLOOR_DB)

    def tell(self, level_db: float) -> None:
        """Take the phones' level at the step told; NaN where there is no phone."""
        self._phones[1:] = self._phones[:-1]
        self._phones[0] = level_db
        told, heard = self._phones[self._phone_at], self._sounds[self._sound_at]
        pair = np.stack(
            [np.ones_like(told), told, heard, told * told, heard * heard, told * heard]
        )
        self._sums = self._keep * self._sums
        known = ~np.isnan(pair[5])
        self._sums[:, known] += pair[:, known]
        if known.any():
            self._judge()

    def _judge(self) -> None:
        count = float(self._sums[0].min())
        if count < self._needed:
            return
        n, x, y, xx, yy, xy = self._sums
        spread = np.sqrt(np.maximum((xx / n - (x / n) ** 2) * (yy / n - (y / n) ** 2), 1e-6))
        r = (xy / n - x * y / n**2) / spread
        near, far = float(r[self._near].max()), float(r[~self._near].max())
        if far > max(near + _MARGIN_R, _SURE_R) or (
            count >= self._needed_for_other and near < _OTHER_R
        ):
            self.agrees = False
        elif near >= far:
            self.agrees = True
