"""Hears the melody of speech: pitch, loudness, pitch accents, pauses.

All of it is causal and runs on any chunks with the same result; memory and cost per second are
constant. What is made of it is in `speaking`.

The pitch estimate follows YIN (de Cheveigné and Kawahara 2002: the cumulative mean normalized
difference function, an absolute threshold, parabolic interpolation). That a pitch accent is a
local rise of pitch and loudness over the speaker's own running median, and all numbers below, are
our choices, set on read English and Mandarin speech.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from dataclasses import dataclass

import numpy as np

FRAME_S = 0.02  # between two measurements
LOWEST_HZ, HIGHEST_HZ = 60.0, 450.0  # of a voice's fundamental
_ANALYSIS_RATE_HZ = 8000  # at least; audio is decimated by a whole number
_SUM_S = 0.03  # over which a period is compared with the next
_DIP = 0.2  # the first dip of the difference function below this is the period
_VOICED = 0.3  # the deepest dip must reach this for a frame to be voiced
_TOGETHER_ST = 3.0  # semitones that a voice moves in one frame at most
_SILENT_DB = -65.0  # below full scale; quieter frames are not analyzed

_MEMORY = 200  # voiced frames (4 s) over which the speaker's own pitch and loudness are taken
_ENOUGH = 20  # voiced frames before accents can be told
_MIN_SPREAD_ST, _MAX_SPREAD_ST = 1.5, 5.0
_MIN_SPREAD_DB = 4.0
_FLOOR_RISE_DB_S = 1.5  # how fast the estimate of the background's level forgets a quiet moment
_ABOVE_FLOOR_DB = 8.0  # speech is this much above the background
_PAUSE_DROP_DB = 15.0  # and no more than this below the speaker's usual voiced level

ACCENT_ON = 0.8  # prominence at which an accent begins; mean of the two halves in spreads
_ACCENT_OFF = 0.4
_ACCENT_FULL = 2.0  # prominence of the strongest accents
_ACCENT_MIN_RISE = 0.7  # of pitch alone, in spreads: loudness alone makes no accent
_ACCENT_GAP_S = 0.30  # between the beginnings of two accents: a syllable and more
_LEAP_ST, _LEAP_RUN = 7.0, 3  # a voice that leaps so far must go on there for so many frames
_FLAT_ST = 0.06  # a voice's pitch never stands this still from frame to frame; a played note does

_PAUSE_S = 0.15  # silence that ends a phrase: longer than a stop's closure
_LOWERED_PAUSE_S = 0.10  # where pitch fell low before
_LOWERED = -0.8  # spreads below the median
_PHRASE_S = 0.30  # of voice that makes a phrase
_SYLLABLE_S = 0.08  # of voice in the phrase before its first accent


@dataclass(frozen=True)
class Sound:
    """What is measured every 20 ms."""

    end_s: float  # end of the audio that it was measured on, since the tracker began
    level_db: float  # root mean square of the last 50 ms, below full scale
    pitch_hz: float  # 0 where unvoiced


@dataclass(frozen=True)
class Cue:
    """What the melody says at one measurement."""

    end_s: float  # as in `Sound`
    pitch_hz: float  # as in `Sound`
    speaking: bool  # inside a phrase
    accent: float  # strength in (0, 1] where an accent begins or grows, else 0
    phrase_end: bool  # the phrase has just ended
    lowered: bool  # with a strong final fall of pitch


class PitchTracker:
    """Samples in, a `Sound` every 20 ms out."""

    def __init__(self, rate_hz: int) -> None:
        """`rate_hz` is that of the samples to come, 8000 or more."""
        self._factor = max(rate_hz // _ANALYSIS_RATE_HZ, 1)
        self._rate_hz = rate_hz / self._factor
        self._block = self._factor * max(round(FRAME_S * self._rate_hz), 1)
        self._block_s = self._block / rate_hz
        self._taps = _low_pass(self._factor)
        starts = np.arange(0, self._block, self._factor)
        self._windows = starts[:, None] + np.arange(len(self._taps))  # of one block
        self._shortest = int(self._rate_hz / HIGHEST_HZ)
        self._longest = int(self._rate_hz / LOWEST_HZ) + 1
        self._sum = round(_SUM_S * self._rate_hz)
        self._lags = np.arange(1.0, self._longest + 1)
        self._energy = np.zeros(self._sum + self._longest + 1)  # up to each sample
        self.restart()

    def restart(self) -> None:
        """Forget all audio; time counts from zero again."""
        self._pending = np.zeros(0, np.float32)
        self._tail = np.zeros(len(self._taps) - self._factor, np.float32)
        self._heard = np.zeros(self._sum + self._longest, np.float32)
        self._count = 0
        self._last_hz = 0.0

    def push(self, samples: np.ndarray) -> list[Sound]:
        """Take samples [n] in [-1, 1]; return what was measured meanwhile."""
        self._pending = np.concatenate([self._pending, samples])
        sounds = []
        while len(self._pending) >= self._block:
            sounds.append(self._measure(self._hear(self._pending[: self._block])))
            self._pending = self._pending[self._block :]
        return sounds

    def _hear(self, block: np.ndarray) -> np.ndarray:
        """Return what is heard at a block's end, decimated."""
        joined = np.concatenate([self._tail, block])
        self._tail = joined[len(block) :]
        fresh = joined.take(self._windows) @ self._taps
        self._heard = np.concatenate([self._heard[len(fresh) :], fresh])
        return self._heard

    def _measure(self, heard: np.ndarray) -> Sound:
        """Measure what is heard at a block's end."""
        self._count += 1
        level_db = 10.0 * math.log10(float(heard @ heard) / len(heard) + 1e-12)
        candidate_hz = self._find_pitch(heard) if level_db > _SILENT_DB else 0.0
        # One frame alone may be anything: a voice goes on where it was.
        last_hz, self._last_hz = self._last_hz, candidate_hz
        voiced = candidate_hz and last_hz
        steady = voiced and abs(semitones(candidate_hz, last_hz)) < _TOGETHER_ST
        return Sound(self._count * self._block_s, level_db, candidate_hz if steady else 0.0)

    def _find_pitch(self, heard: np.ndarray) -> float:
        """Return the fundamental in Hz by YIN, 0 where there is none."""
        heard = heard.astype(np.float64)
        # So few lags cost less one by one than by a Fourier transform.
        products = np.correlate(heard, heard[: self._sum], "valid")
        (heard * heard).cumsum(out=self._energy[1:])
        difference = self._energy[self._sum :] - self._energy[: self._longest + 1]
        difference += difference[0]
        difference -= 2.0 * products
        difference = np.maximum(difference[1:], 0.0)
        normalized = difference * self._lags / (difference.cumsum() + 1e-9)
        return _period_to_hz(normalized, self._shortest, self._rate_hz)


class ProsodyTracker:
    """Samples in, a `Cue` every 20 ms out: `PitchTracker`, and what its sounds mean."""

    def __init__(self, rate_hz: int) -> None:
        self._tracker = PitchTracker(rate_hz)
        self._pitches_st, self._levels_db = RunningLevel(), RunningLevel()  # of voiced frames
        self._floor_db = 0.0
        self.restart()

    def restart(self) -> None:
        """Begin with new audio; the speaker is remembered."""
        self._tracker.restart()
        self._voiced_s = self._quiet_s = 0.0  # of the phrase, and since its last sound
        self._last_st = 0.0
        self._run = self._prominent = 0  # voiced frames in a row, and prominent ones
        self._doubted = False  # the pitch leapt, perhaps by an error
        self._accent: float | None = None  # strength of the accent that goes on
        self._accent_s = -1.0  # when the last one began
        self._phrase_low = 0.0  # prominence of pitch at the phrase's end so far

    def push(self, samples: np.ndarray) -> list[Cue]:
        """Take samples [n] in [-1, 1]; return the cues found meanwhile."""
        return [self._judge(sound) for sound in self._tracker.push(samples)]

    def _judge(self, sound: Sound) -> Cue:
        self._floor_db = min(sound.level_db, self._floor_db + _FLOOR_RISE_DB_S * FRAME_S)
        above = sound.level_db > max(self._floor_db + _ABOVE_FLOOR_DB, _SILENT_DB)
        voiced = sound.pitch_hz > 0 and above
        self._run = self._run + 1 if voiced else 0
        self._doubted = self._doubted and 0 < self._run < _LEAP_RUN
        rise, loud = self._rate(sound) if voiced else (0.0, 0.0)
        ended, lowered = self._follow_phrase(sound, voiced, above, rise)
        accent = self._follow_accent(sound.end_s, rise, loud)
        return Cue(
            sound.end_s, sound.pitch_hz, self._voiced_s >= _PHRASE_S, accent, ended, lowered
        )

    def _rate(self, sound: Sound) -> tuple[float, float]:
        """Return how far pitch and loudness are above the speaker's own, in spreads."""
        pitch_st = semitones(sound.pitch_hz, LOWEST_HZ)
        still = abs(pitch_st - self._last_st) < _FLAT_ST
        leapt = len(self._pitches_st) > 0 and abs(pitch_st - self._last_st) > _LEAP_ST
        self._doubted = self._doubted or leapt
        self._last_st = pitch_st
        rise = loud = 0.0
        if len(self._pitches_st) >= _ENOUGH:
            usual_st, spread_st = self._pitches_st.describe()
            usual_db, spread_db = self._levels_db.describe()
            rise = (pitch_st - usual_st) / min(max(spread_st, _MIN_SPREAD_ST), _MAX_SPREAD_ST)
            loud = (sound.level_db - usual_db) / max(spread_db, _MIN_SPREAD_DB)
        self._pitches_st.add(pitch_st)
        self._levels_db.add(sound.level_db)
        return (0.0 if still and rise > 0 else rise), loud

    def _follow_phrase(
        self, sound: Sound, voiced: bool, above: bool, rise: float
    ) -> tuple[bool, bool]:
        """Return whether the phrase ends here, and whether low."""
        if voiced:
            self._voiced_s += FRAME_S
            self._phrase_low += 0.25 * (rise - self._phrase_low)
        usual_db = self._levels_db.describe()[0] if len(self._levels_db) else 0.0
        if voiced or (above and sound.level_db > usual_db - _PAUSE_DROP_DB):
            self._quiet_s = 0.0
            return False, False
        self._quiet_s += FRAME_S
        lowered = self._phrase_low < _LOWERED
        if self._quiet_s < (_LOWERED_PAUSE_S if lowered else _PAUSE_S) - 1e-6:
            return False, False
        ended = self._voiced_s >= _PHRASE_S
        self._voiced_s = self._phrase_low = 0.0
        return ended, ended and lowered

    def _follow_accent(self, end_s: float, rise: float, loud: float) -> float:
        """Return the strength where an accent begins or grows, else 0."""
        is_voice = self._voiced_s >= _SYLLABLE_S and not self._doubted
        is_high = is_voice and rise > _ACCENT_MIN_RISE
        prominence = 0.5 * (rise + min(loud, 2.0)) if is_high else 0.0
        self._prominent = self._prominent + 1 if prominence > ACCENT_ON else 0
        if self._accent is not None:
            if prominence < _ACCENT_OFF:
                self._accent = None
            elif (strength := _strength(prominence)) > self._accent:
                self._accent = strength
                return strength
        elif self._prominent >= 2 and end_s - self._accent_s >= _ACCENT_GAP_S:
            self._accent, self._accent_s = _strength(prominence), end_s
            return self._accent
        return 0.0


class RunningLevel:
    """What is usual of the last `_MEMORY` values: kept in order, as sorting them takes longer."""

    def __init__(self) -> None:
        """There is none yet."""
        self._values: deque[float] = deque()
        self._ordered: list[float] = []

    def __len__(self) -> int:
        """Return how many values there are."""
        return len(self._values)

    def add(self, value: float) -> None:
        """Take a value; the oldest goes where there are too many."""
        self._values.append(value)
        bisect.insort(self._ordered, value)
        if len(self._values) > _MEMORY:
            del self._ordered[bisect.bisect_left(self._ordered, self._values.popleft())]

    def describe(self) -> tuple[float, float]:
        """Return the upper median, and half the distance of the 16th and 84th percentile.

        The latter is a robust standard deviation.
        """
        ordered, last = self._ordered, len(self._ordered) - 1
        spread = 0.5 * (ordered[round(0.84 * last)] - ordered[round(0.16 * last)])
        return ordered[len(ordered) // 2], spread


def semitones(pitch_hz: float, reference_hz: float) -> float:
    """Return the interval from `reference_hz` up to `pitch_hz`."""
    return 12.0 * math.log2(pitch_hz / reference_hz)


def _strength(prominence: float) -> float:
    share = (prominence - ACCENT_ON) / (_ACCENT_FULL - ACCENT_ON)
    return 0.4 + 0.6 * min(max(share, 0.0), 1.0)


def _low_pass(factor: int) -> np.ndarray:
    """Return the taps of a windowed sinc that keeps what survives decimation by `factor`."""
    if factor == 1:
        return np.ones(1, np.float32)
    offsets = np.arange(-8 * factor, 8 * factor) + 0.5
    taps = np.sinc(0.9 * offsets / factor) * np.hanning(len(offsets))
    return np.asarray(taps / taps.sum(), np.float32)


def _period_to_hz(normalized: np.ndarray, shortest: int, rate_hz: float) -> float:
    """Return the pitch of the normalized difference [lags], which begins at lag 1; 0 for none."""
    first = shortest - 1
    inner = normalized[first:-1]
    dips = (inner <= normalized[first - 1 : -2]) & (inner < normalized[first + 1 :])
    places = dips.nonzero()[0]
    if len(places) == 0:
        return 0.0
    depths = inner[places]
    deep = depths < _DIP
    dip = int(deep.argmax())
    at = first + int(places[dip if deep[dip] else depths.argmin()])
    if normalized[at] > _VOICED:
        return 0.0
    before, here, after = normalized[at - 1 : at + 2]
    bend = before - 2.0 * here + after
    shift = 0.5 * (before - after) / bend if bend > 0 else 0.0
    return float(rate_hz / (at + 1 + shift))
