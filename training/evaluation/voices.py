"""Voices as few recordings have them, made of real speech.

Held and sung vowels, shouting, children and laughter are put together of the periods of the
speaker's own voice (TD-PSOLA, Moulines and Charpentier 1990); whispering and coughs are noise
through the speaker's vocal tract (linear prediction): other ways than those of training
(`training/data/augmentation.py`), whose traces a model may have learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.data import SAMPLE_RATE_HZ, VOWELS, Clip, Phone

HOLD_S = 3.0
HELD_VOWELS = ("AA", "AE", "AH", "AO", "EH")
SHORTEST_VOWEL_S = 0.08
VOWELS_PER_SPEAKER = 4
MOST_SPEAKERS = 12
PITCHES_HZ = (70.0, 450.0)
VOICED = 0.7  # of the autocorrelation at one period, from which a vowel can be held
VIBRATO_HZ, VIBRATO_DEPTH = 5.5, 0.03
_CONTEXT_S = (2.0, 0.5)  # of speech that is heard before and after a vowel
_FLUTTER = 0.006  # by which periods of a steady voice differ
_ORDER = 18
_WINDOW = 480
_SPECTRUM = 1024
_FLATTENING = (1.0, -0.95)
_HOP = SAMPLE_RATE_HZ // 100
_UNVOICED = SAMPLE_RATE_HZ // 200  # samples of what has no period
SHOUT_PITCH, SHOUT_F1, SHOUT_TILT_DB, SHOUT_LONGER = 1.5, 1.2, 3.0, 1.2  # tilt per octave
SHOUT_UNVOICED = 0.5
CHILD_FORMANTS, CHILD_HZ = 1.25, 264.0
LAUGH_NOTES, LAUGH_NOTE_S, LAUGH_EVERY_S = 8, 0.075, 0.21
LAUGH_PITCH, LAUGH_BREATH, LAUGH_FADE_DB = 2.0, 10.0**-0.75, 1.0
COUGH_S, COUGH_GAIN = 0.3, 2.0


@dataclass(frozen=True)
class HeldVowel:
    """A vowel of a clip, spoken and held; times in seconds from the excerpt's start."""

    speaker: str
    spoken: np.ndarray
    """The excerpt as it was said [samples]."""
    held: np.ndarray
    """The same with the vowel held for `HOLD_S` [samples]."""
    sung: np.ndarray
    """The same with vibrato [samples]."""
    start_s: float
    end_s: float
    """Where the vowel is in `spoken`."""
    middle_s: float
    """Where the hold begins in `held` and `sung`."""


def hold_vowels(clips: Sequence[Clip]) -> Iterator[HeldVowel]:
    """Yield open vowels of labelled clips, held: the longest of each speaker that have a pitch."""
    left: dict[str, int] = {}
    found = [(p, c) for c in clips for p in c.phones or () if p.label in HELD_VOWELS]
    found = [(p, c) for p, c in found if p.end_s - p.start_s >= SHORTEST_VOWEL_S]
    for phone, clip in sorted(found, key=lambda pair: pair[0].start_s - pair[0].end_s):
        is_full = clip.speaker not in left and len(left) == MOST_SPEAKERS
        if is_full or left.get(clip.speaker) == 0:
            continue
        begin_s = max(0.0, phone.start_s - _CONTEXT_S[0])
        last_s = phone.end_s + _CONTEXT_S[1]
        first, last = (round(at_s * SAMPLE_RATE_HZ) for at_s in (begin_s, last_s))
        spoken = clip.audio[first:last]
        middle_s = (phone.start_s + phone.end_s) / 2 - begin_s
        held, sung = (hold_sound(spoken, middle_s, HOLD_S, vibrato) for vibrato in (False, True))
        if held is not None and sung is not None:
            left[clip.speaker] = left.get(clip.speaker, VOWELS_PER_SPEAKER) - 1
            start_s, end_s = phone.start_s - begin_s, phone.end_s - begin_s
            yield HeldVowel(clip.speaker, spoken, held, sung, start_s, end_s, middle_s)


def hold_sound(
    audio: np.ndarray, middle_s: float, seconds: float, vibrato: bool = False
) -> np.ndarray | None:
    """Return speech in which the voice at `middle_s` lasts `seconds` longer; None without pitch.

    The periods around the middle follow each other to and fro, each of two periods' length under
    a Hann window, at the distance of the pitch, which flutters by less than a hundredth; with
    `vibrato` it swings by 3 % 5.5 times a second.
    """
    middle = round(middle_s * SAMPLE_RATE_HZ)
    period = find_period(audio, middle)
    marks = find_marks(audio, middle, period) if period else []
    if not period or len(marks) < 2:
        return None
    rng = np.random.default_rng(0)
    window = np.hanning(2 * period + 1)
    length = round(seconds * SAMPLE_RATE_HZ)
    out = np.zeros(len(audio) + length)
    weight = np.zeros(len(out))
    order = [*range(len(marks)), *range(len(marks) - 2, 0, -1)]
    at, turn = float(marks[0]), 0
    while at < marks[-1] + length:
        mark, place = marks[order[turn % len(order)]], round(at)
        out[place - period : place + period + 1] += (
            audio[mark - period : mark + period + 1] * window
        )
        weight[place - period : place + period + 1] += window
        swing = np.sin(2 * np.pi * VIBRATO_HZ * (at - marks[0]) / SAMPLE_RATE_HZ)
        change = VIBRATO_DEPTH * swing * vibrato + _FLUTTER * rng.uniform(-1.0, 1.0)
        at, turn = at + period * (1.0 + change), turn + 1
    out /= np.maximum(weight, 0.5)
    # The voice of the recording fades into the held one over a period, and back at the end.
    share = np.clip((np.arange(len(out)) - marks[0]) / period, 0.0, 1.0)
    share = np.minimum(
        share, np.clip((marks[-1] + length - np.arange(len(out))) / period, 0.0, 1.0)
    )
    early = np.pad(audio, (0, length))
    late = np.pad(audio, (length, 0))
    spoken = np.where(np.arange(len(out)) < middle + length // 2, early, late)
    return np.asarray(share * out + (1.0 - share) * spoken, np.float32)


def find_period(audio: np.ndarray, middle: int) -> int | None:
    """Return the period in samples of the voice around a sample; None where it has none."""
    return find_periods(audio, np.array([middle]))[0] or None


def find_periods(audio: np.ndarray, middles: np.ndarray) -> list[int]:
    """Return the periods in samples of the voice around samples; 0 where it has none.

    A period is the first lag whose normalized autocorrelation over 40 ms is nearly the highest.
    """
    shortest, longest = (round(SAMPLE_RATE_HZ / hz) for hz in reversed(PITCHES_HZ))
    length = 2 * (SAMPLE_RATE_HZ // 50)
    firsts = middles - length // 2 - longest // 2
    inside = (firsts >= 0) & (firsts + length + longest + 1 <= len(audio))
    if len(audio) < length + longest + 1:
        return [0] * len(middles)
    heard = np.lib.stride_tricks.sliding_window_view(audio, length + longest + 1)
    heard = heard[np.where(inside, firsts, 0)].astype(np.float64)
    piece = heard[:, :length] - heard[:, :length].mean(1, keepdims=True)
    size = 2 * length
    spectra = np.fft.rfft(piece, size).conj() * np.fft.rfft(heard, size)
    shared = np.fft.irfft(spectra, size)[:, : longest + 1]
    sums, squares = (
        np.cumsum(np.pad(h, ((0, 0), (1, 0))), axis=1) for h in (heard, np.square(heard))
    )
    sums, squares = (c[:, length:-1] - c[:, : -length - 1] for c in (sums, squares))
    powers = (squares - sums**2 / length) * np.square(piece).sum(1, keepdims=True)
    scores = np.where(powers > 1e-24, shared / np.sqrt(np.maximum(powers, 1e-24)), 0.0)
    scores[:, :shortest] = 0.0
    return [_pick_lag(row) if ok else 0 for row, ok in zip(scores, inside, strict=True)]


def _pick_lag(scores: np.ndarray) -> int:
    if scores.max() < VOICED:
        return 0
    likely = np.flatnonzero(scores > 0.9 * scores.max())
    first_run = likely[: int(np.argmax(np.append(np.diff(likely), 2) > 1)) + 1]
    return int(first_run[np.argmax(scores[first_run])])


def find_marks(audio: np.ndarray, middle: int, period: int) -> list[int]:
    """Return the peaks of the voice, one a period, within 30 ms of a sample."""
    near = audio[middle - period : middle + period]
    upright = audio if near.max() >= -near.min() else -audio
    begin, slack = middle - period // 2, period // 5
    anchor = begin + int(np.argmax(upright[begin : begin + period]))
    reach = max(1, round(0.03 * SAMPLE_RATE_HZ / period))
    firsts = [anchor + k * period - slack for k in range(-reach, reach + 1)]
    whole = [k for k in firsts if k >= period and k + 2 * slack + period < len(audio)]
    return [k + int(np.argmax(upright[k : k + 2 * slack + 1])) for k in whole]


def whisper(audio: np.ndarray) -> np.ndarray:
    """Return speech `[samples]` whispered: noise through the vocal tract, 10 dB less loud.

    The tract is that of linear prediction (order 18, 30 ms) of the sound without the voice's tilt.
    """
    rng = np.random.default_rng(0)
    out = _rework(audio, lambda _, tract, breath: _blow(tract, breath, _WINDOW, rng))
    level = np.sqrt(np.mean(np.square(audio)) / max(float(np.mean(out**2)), 1e-12))
    return np.asarray(np.clip(out * level * 10.0**-0.5, -1.0, 1.0), np.float32)


def _rework(
    audio: np.ndarray, change: Callable[[np.ndarray, np.ndarray, float], np.ndarray]
) -> np.ndarray:
    """Put speech `[samples]` together of what `change` makes of its pieces, tracts and breaths."""
    from scipy.signal import lfilter

    window, hop = np.sqrt(np.hanning(_WINDOW + 1)[:-1]), _WINDOW // 2
    heard, flat = (
        np.pad(a, (hop, 2 * _WINDOW)) for a in (audio, lfilter(_FLATTENING, [1.0], audio))
    )
    out = np.zeros(len(flat))
    for first in range(0, len(flat) - _WINDOW, hop):
        piece = slice(first, first + _WINDOW)
        tract, breath = _find_tract(flat[piece] * window)
        out[piece] += window * change(heard[piece] * window, tract, breath)
    return out[hop : hop + len(audio)]


def _find_tract(piece: np.ndarray) -> tuple[np.ndarray, float]:
    """Linear prediction of windowed, flattened sound: coefficients [order], level of the rest."""
    from scipy.linalg import solve_toeplitz

    likeness = np.correlate(piece, piece, "full")[len(piece) - 1 : len(piece) + _ORDER]
    likeness[0] = likeness[0] * 1.0001 + 1e-9
    tract = solve_toeplitz(likeness[:-1], likeness[1:])
    return tract, np.sqrt(max(likeness[0] - tract @ likeness[1:], 0.0) / len(piece))


def _blow(tract: np.ndarray, breath: float, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of a level through a vocal tract, once it resounds `[samples]`."""
    from scipy.signal import lfilter

    noise = breath * rng.standard_normal(_WINDOW + samples)
    return np.asarray(lfilter([1.0], np.concatenate([[1.0], -tract]), noise)[_WINDOW:])


def shift_voice(
    audio: np.ndarray, pitch: float, knots: np.ndarray | None = None, unvoiced_gain: float = 1.0
) -> np.ndarray:
    """Return speech `[samples]` with its pitch times `pitch`, formants as they were (TD-PSOLA).

    `knots` [knots, 2] tell at which sample of the result each of the speech's comes; between
    them it is slower or faster. What has no voice is multiplied by `unvoiced_gain`.
    """
    if knots is None:
        knots = np.array([[0, 0], [len(audio), len(audio)]])
    places, lengths, voiced = _mark(audio)
    reach, total = int(lengths.max()), round(knots[-1, 1])
    heard = np.pad(audio.astype(np.float64), reach)
    out = np.zeros(total + 2 * reach + 1)
    weight = np.zeros(len(out))
    at, last = 0.0, -1
    while at < total:
        source = np.interp(at, knots[:, 1], knots[:, 0])
        k = min(int(np.searchsorted(places, source)), len(places) - 1)
        k -= int(k > 0 and source - places[k - 1] < places[k] - source)
        length = int(lengths[k])
        window = np.hanning(2 * length + 1)
        grain = heard[places[k] + reach - length : places[k] + reach + length + 1] * window
        if not voiced[k]:  # twice the same noise would be a tone
            grain = unvoiced_gain * (grain[::-1] if k == last else grain)
        own = slice(round(at) + reach - length, round(at) + reach + length + 1)
        out[own] += grain
        weight[own] += window
        at, last = at + length / (pitch if voiced[k] else 1.0), k
    return (out / np.maximum(weight, 0.5))[reach : reach + total]


def _mark(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, lengths in samples and voicing of the periods of speech; [periods] each."""
    periods = find_periods(audio, np.arange(0, len(audio), _HOP))
    upright = audio if np.mean(audio.astype(np.float64) ** 3) >= 0 else -audio
    marks = [(0, _UNVOICED, False)]
    at = _UNVOICED
    while at < len(audio):
        period = periods[at // _HOP]
        place = at
        if period:
            slack = period // 5 if marks[-1][2] else period // 2
            first = max(marks[-1][0] + 1, at - slack)
            place = first + int(np.argmax(upright[first : at + slack + 1]))
        marks.append((place, period or _UNVOICED, period > 0))
        at = place + marks[-1][1]
    places, lengths, voiced = zip(*marks, strict=True)
    return np.array(places), np.array(lengths), np.array(voiced)


def shout(audio: np.ndarray, phones: Sequence[Phone]) -> tuple[np.ndarray, np.ndarray]:
    """Return speech shouted `[samples]`, and its knots `[knots, 2]`: seconds spoken and shouted.

    Pitch and first formants are higher, the spectrum is flatter, vowels are longer, and what has
    no voice is fainter beside them, as with vocal effort (Rostolland 1982, Junqua 1993,
    Traunmüller and Eriksson 2000, who find up to twice the pitch). Peaks are at full scale.
    """
    seconds = len(audio) / SAMPLE_RATE_HZ
    ends = [0.0]
    longer = []
    for phone in phones:
        for end_s, rate in ((phone.start_s, 1.0), (phone.end_s, SHOUT_LONGER)):
            ends.append(min(max(end_s, ends[-1]), seconds))
            longer.append(rate if phone.label in VOWELS else 1.0)
    ends, longer = [*ends, seconds], [*longer, 1.0]
    knots = np.stack([ends, np.concatenate([[0.0], np.cumsum(np.diff(ends) * longer)])], 1)
    pressed = _rework(audio, _press)
    loud = shift_voice(pressed, SHOUT_PITCH, knots * SAMPLE_RATE_HZ, SHOUT_UNVOICED)
    return np.asarray(loud / max(float(np.abs(loud).max()), 1e-9), np.float32), knots


def _press(piece: np.ndarray, tract: np.ndarray, _: float) -> np.ndarray:
    """A piece of speech with first formants raised and the spectrum flatter."""
    frequency_hz = np.fft.rfftfreq(_SPECTRUM, 1.0 / SAMPLE_RATE_HZ)
    response = np.fft.rfft(np.concatenate([[1.0], -tract]), _SPECTRUM)
    tract_db = -20.0 * np.log10(np.abs(response) + 1e-6)
    # What was at the formant comes to stand higher; from 2.5 kHz on all is where it was.
    source_hz = np.interp(frequency_hz, [0, 1000, 2500, 8000], [0, 1000 / SHOUT_F1, 2500, 8000])
    change_db = np.clip(np.interp(source_hz, frequency_hz, tract_db) - tract_db, -20.0, 20.0)
    change_db += SHOUT_TILT_DB * np.log2(np.clip(frequency_hz, 500.0, 4000.0) / 500.0)
    spectrum = np.fft.rfft(piece, _SPECTRUM) * 10.0 ** (change_db / 20.0)
    return np.fft.irfft(spectrum, _SPECTRUM)[: len(piece)]


def make_childlike(audio: np.ndarray) -> np.ndarray:
    """Return speech `[samples]` as of a child: formants higher by a quarter, pitch about 264 Hz.

    Formants of children are 1.2 times those of women and 1.4 times those of men, and their voices
    are of that pitch (Peterson and Barney 1952). Resampled; the time is kept.
    """
    from scipy.signal import resample_poly

    periods = [p for p in find_periods(audio, np.arange(0, len(audio), _HOP)) if p]
    pitch_hz = SAMPLE_RATE_HZ / np.median(periods) if periods else CHILD_HZ
    knots = np.array([[0.0, 0.0], [len(audio), len(audio) * CHILD_FORMANTS]])
    slow = shift_voice(audio, CHILD_HZ / CHILD_FORMANTS / pitch_hz, knots)
    young = resample_poly(slow, 100, round(100 * CHILD_FORMANTS))[: len(audio)]
    young = np.pad(young, (0, len(audio) - len(young)))
    return np.asarray(np.clip(young, -1.0, 1.0), np.float32)


def laugh(vowel: HeldVowel) -> np.ndarray:
    """Return a bout of laughter `[samples]` in which a speaker's vowel is said with an h.

    Notes of 75 ms every 210 ms that fade (Provine and Yong 1991), at twice the pitch of speech and
    without articulation (Bachorowski, Smoski and Owren 2001); between them is breath through the
    vowel's tract.
    """
    steady, tract, breath, rng = _take_steady(vowel)
    note = shift_voice(steady, LAUGH_PITCH)
    edge, length = SAMPLE_RATE_HZ // 100, round(LAUGH_NOTE_S * SAMPLE_RATE_HZ)
    every = round(LAUGH_EVERY_S * SAMPLE_RATE_HZ)
    # The halves of its edges are counted: a note is as long as it is above half of its height.
    envelope = np.interp(np.arange(every), [0, edge, length, length + edge], [0, 1, 1, 0])
    begin = (len(note) - every) // 2
    voice = note[begin : begin + every] * envelope
    notes = []
    for k in range(LAUGH_NOTES):
        aspirated = LAUGH_BREATH * (1.0 - envelope) * _blow(tract, breath, every, rng)
        notes.append(10.0 ** (-LAUGH_FADE_DB * k / 20.0) * (voice + aspirated))
    return np.concatenate(notes)


def cough(vowel: HeldVowel) -> np.ndarray:
    """Return a cough `[samples]` of 0.3 s: a burst of noise, then less, through a vowel's tract.

    Without the voiced end that some coughs have (Korpáš, Sadloňová and Vrabec 1996).
    """
    _, tract, breath, rng = _take_steady(vowel)
    time_s = np.arange(round(COUGH_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    envelope = np.interp(time_s, [0.0, 0.005, 0.04, 0.08, 0.24, COUGH_S], [0, 1, 1, 0.35, 0.2, 0])
    return COUGH_GAIN * envelope * _blow(tract, breath, len(time_s), rng)


def _take_steady(
    vowel: HeldVowel,
) -> tuple[np.ndarray, np.ndarray, float, np.random.Generator]:
    """The voice in a hold [0.5 s], its tract, how hard to blow for its level, and a generator."""
    from scipy.signal import lfilter

    first = round((vowel.middle_s + 0.5) * SAMPLE_RATE_HZ)
    steady = vowel.held[first : first + SAMPLE_RATE_HZ // 2].astype(np.float64)
    flat = lfilter(_FLATTENING, [1.0], steady)[_WINDOW : 2 * _WINDOW]
    tract, _ = _find_tract(flat * np.hanning(_WINDOW))
    rng = np.random.default_rng(0)
    breath = float(np.std(steady) / np.std(_blow(tract, 1.0, SAMPLE_RATE_HZ, rng)))
    return steady, tract, breath, rng
