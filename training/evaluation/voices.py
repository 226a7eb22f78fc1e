"""Speech as few recordings have it: vowels held and sung, and whispering; made of real speech.

A held vowel is put together of the periods of the speaker's own voice (TD-PSOLA, Moulines and
Charpentier 1990), whispering is noise through the speaker's vocal tract (linear prediction):
other ways than those of training (`training/data/augmentation.py`), whose traces a model may
have learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dualtalker.evaluation import (
    Recording,
    Tally,
    find_recorded_speech,
    measure_rest_gap,
    metrics,
    tally_motions,
)
from training.data import MOTION_RATE_HZ, SAMPLE_RATE_HZ, Clip
from training.evaluation.groups import bound_figures
from training.evaluation.trials import Animate

if TYPE_CHECKING:
    from dualtalker.rig import Rig

HOLD_S = 3.0
LAST_S = 1.0  # of a hold, over which the mouth is measured
HELD_STYLE = "rules"  # of labelled speech, which is held
HELD_VOWELS = ("AA", "AE", "AH", "AO", "EH")
SHORTEST_VOWEL_S = 0.08
VOWELS_PER_SPEAKER = 4
MOST_SPEAKERS = 12
MOST_WHISPERED = 40  # clips
PITCHES_HZ = (70.0, 450.0)
VOICED = 0.7  # of the autocorrelation at one period, from which a vowel can be held
VIBRATO_HZ, VIBRATO_DEPTH = 5.5, 0.03
_CONTEXT_S = (2.0, 0.5)  # of speech that is heard before and after a vowel
_FLUTTER = 0.006  # by which periods of a steady voice differ
_ORDER = 18
_WINDOW = 480


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
    """Return the period in samples of the voice around a sample; None where it has none.

    That is the first lag whose normalized autocorrelation over 40 ms is nearly the highest.
    """
    half = SAMPLE_RATE_HZ // 50
    shortest, longest = (round(SAMPLE_RATE_HZ / hz) for hz in reversed(PITCHES_HZ))
    first = middle - half - longest // 2
    if first < 0 or middle + half + longest > len(audio):
        return None
    piece = audio[first : first + 2 * half].astype(np.float64)
    scores = np.zeros(longest + 1)
    for lag in range(shortest, longest + 1):
        other = audio[first + lag : first + lag + 2 * half].astype(np.float64)
        scores[lag] = metrics.correlate(piece, other)
    if scores.max() < VOICED:
        return None
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


def measure_held_vowels(
    animate: Animate, rig: Rig, clips: Sequence[Clip], recordings: Sequence[Recording]
) -> dict[str, float]:
    """Return how much of a vowel's opening is kept over the last second of a hold, and its ends.

    Vowels are those of recorded, labelled clips that were not captured. What is kept is the mean
    opening in that second, of jaw and lips, over the peak in the vowel as it was spoken (widened
    by 40 ms), sums over vowels; held on one pitch and sung with vibrato.
    """
    own = [c for c, r in zip(clips, recordings, strict=True) if r.phones and not r.group]
    tallies: dict[str, Tally] = {}
    for vowel in hold_vowels(own):
        tally = tallies.setdefault(vowel.speaker, Tally())
        spoken = _open(animate, rig, vowel.spoken)
        natural = slice(*(_frame(at) for at in (vowel.start_s - 0.04, vowel.end_s + 0.04)))
        end_s = vowel.middle_s + HOLD_S
        last = slice(_frame(end_s - LAST_S), _frame(end_s))
        for manner, sound in (("held", vowel.held), ("sung", vowel.sung)):
            opened = _open(animate, rig, sound)
            for name in ("jaw", "lip gap"):
                kept, peak = opened[name][last].mean(), spoken[name][natural].max()
                tally.count(f"{manner} {name}", float(kept), float(peak))
    return gather(list(tallies.values()))


def _open(animate: Animate, rig: Rig, sound: np.ndarray) -> dict[str, np.ndarray]:
    """Jaw and lip gap above its rest `[frames]` in a sound."""
    weights = animate(sound, len(sound) * MOTION_RATE_HZ // SAMPLE_RATE_HZ, HELD_STYLE)
    gap = rig.lip_gap(weights) - measure_rest_gap(rig)
    return {"jaw": metrics.jaw_opening(weights), "lip gap": gap}


def _frame(at_s: float) -> int:
    return max(0, round(at_s * MOTION_RATE_HZ))


def whisper(audio: np.ndarray) -> np.ndarray:
    """Return speech `[samples]` whispered: noise through the vocal tract, 10 dB less loud.

    The tract is that of linear prediction (order 18, 30 ms) of the sound without the voice's tilt.
    """
    from scipy.linalg import solve_toeplitz
    from scipy.signal import lfilter

    rng = np.random.default_rng(0)
    window, hop = np.sqrt(np.hanning(_WINDOW + 1)[:-1]), _WINDOW // 2
    flat = np.pad(lfilter([1.0, -0.95], [1.0], audio), (hop, 2 * _WINDOW))
    out = np.zeros(len(flat))
    for first in range(0, len(flat) - _WINDOW, hop):
        piece = flat[first : first + _WINDOW] * window
        likeness = np.correlate(piece, piece, "full")[_WINDOW - 1 : _WINDOW + _ORDER]
        likeness[0] = likeness[0] * 1.0001 + 1e-9
        tract = solve_toeplitz(likeness[:-1], likeness[1:])
        breath = np.sqrt(max(likeness[0] - tract @ likeness[1:], 0.0) / _WINDOW)
        noise = breath * rng.standard_normal(2 * _WINDOW)
        blown = lfilter([1.0], np.concatenate([[1.0], -tract]), noise)[_WINDOW:]
        out[first : first + _WINDOW] += window * blown
    out = out[hop : hop + len(audio)]
    level = np.sqrt(np.mean(np.square(audio)) / max(float(np.mean(out**2)), 1e-12))
    return np.asarray(np.clip(out * level * 10.0**-0.5, -1.0, 1.0), np.float32)


def measure_whispering(
    animate: Animate,
    rig: Rig,
    clips: Sequence[Clip],
    recordings: Sequence[Recording],
    motions: Sequence[np.ndarray],
) -> dict[str, float]:
    """Return what whispering leaves of the motion on recorded, labelled clips, and its ends.

    How the lip gap follows that of the same words in full voice, of which the contestant's
    `motions` are given (r over their speech frames), how far it moves in comparison, and how often
    the lips meet.
    """
    chosen = [k for k, r in enumerate(recordings) if r.phones and not r.group][:MOST_WHISPERED]
    own = [recordings[k] for k in chosen]
    whispered = [animate(whisper(clips[k].audio), clips[k].frames, clips[k].style) for k in chosen]
    tallies: dict[str, Tally] = {}
    met = tally_motions(own, whispered, rig) if own else []
    voiced = [motions[k] for k in chosen]
    for recording, loud, quiet, contacts in zip(own, voiced, whispered, met, strict=True):
        tally = tallies.setdefault(recording.talker, Tally())
        speech = find_recorded_speech(recording)
        gap, wanted = rig.lip_gap(quiet), rig.lip_gap(loud)
        tally.add("whispered gap r", metrics.correlate(gap, wanted, speech))
        powers = (float(np.var(curve[speech])) for curve in (gap, wanted))
        tally.relate("whispered gap amplitude", *powers)
        if "closures met" in contacts.sums:
            tally.count("whispered closures met", *contacts.sums["closures met"])
    return gather(list(tallies.values()))


def gather(units: Sequence[Tally]) -> dict[str, float]:
    """Return the figures of several tallies together, with the ends of their intervals."""
    whole = Tally()
    for unit in units:
        whole.merge(unit)
    found = whole.result()
    return found | bound_figures(units, list(found))
