"""What a contestant's mouth does in voices as few recordings have them, and in rooms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from training.evaluation.noises import add_sound, make_breath, reverberate
from training.evaluation.trials import HISS_LEVEL, Animate, draw_excerpts, score_jaw
from training.evaluation.voices import (
    HOLD_S,
    HeldVowel,
    cough,
    hold_vowels,
    laugh,
    make_childlike,
    shout,
    whisper,
)

if TYPE_CHECKING:
    from dualtalker.rig import Rig

LAST_S = 1.0  # of a hold, over which the mouth is measured
HELD_STYLE = "rules"  # of labelled speech, which is held
MOST_CLIPS = 40  # of each manner
# Seconds in which a room's sound falls by 60 dB, and its energy in dB over that of the direct one.
ROOM, HALL = (0.4, 0.0), (0.8, 6.0)
SECOND_VOICE = 10.0**-0.5  # of the level of the first
BREATH = 10.0**-0.5  # of the level of speech
OUTBURSTS_PER_SPEAKER = 2
_MOVES = 1e-6  # metres; less is rounding
_AMPLITUDES = ("whispered", "shouted")  # voices in which people move further or less far


@dataclass(frozen=True)
class Take:
    """A recording in another manner."""

    manner: str
    index: int
    """Which recording was made into it."""
    recording: Recording
    style: str
    times_s: np.ndarray
    """When in the recording as it was each frame is [frames]."""


@dataclass(frozen=True)
class Outbursts:
    """A speaker who speaks, laughs, coughs and breathes in."""

    speaker: str
    sound: np.ndarray
    """[samples]."""
    spans: tuple[tuple[str, slice], ...]
    """What is in which frames."""


@dataclass(frozen=True)
class Voices:
    """What is made of held-out speech once, for all contestants."""

    held: list[HeldVowel]
    takes: list[Take]
    outbursts: list[Outbursts]


def make_voices(clips: Sequence[Clip], recordings: Sequence[Recording]) -> Voices:
    """Return voices made of those recorded, labelled clips that were not captured."""
    chosen = [k for k, r in enumerate(recordings) if r.phones and not r.group]
    held = list(hold_vowels([clips[k] for k in chosen]))
    return Voices(held, make_takes(clips, recordings, chosen), make_outbursts(held))


def measure_voices(
    animate: Animate,
    rig: Rig,
    voices: Voices,
    clips: Sequence[Clip],
    recordings: Sequence[Recording],
    motions: Sequence[np.ndarray],
) -> dict[str, float]:
    """Return all figures of this module and the ends of their intervals."""
    figures = measure_held_vowels(animate, rig, voices.held)
    figures |= measure_takes(animate, rig, voices.takes, recordings, motions)
    figures |= measure_outbursts(animate, rig, voices.outbursts, recordings, motions)
    return figures | measure_losses(animate, clips)


def measure_held_vowels(animate: Animate, rig: Rig, held: Sequence[HeldVowel]) -> dict[str, float]:
    """Return how much of a vowel's opening is kept over the last second of a hold, and its ends.

    What is kept is the mean opening in that second, of jaw and lips, over the peak in the vowel
    as it was spoken (widened by 40 ms), sums over vowels; held on one pitch and sung with vibrato.
    """
    tallies: dict[str, Tally] = {}
    for vowel in held:
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


def make_takes(
    clips: Sequence[Clip], recordings: Sequence[Recording], chosen: Sequence[int]
) -> list[Take]:
    """Return the recordings `chosen` whispered, shouted, as of children, and in company."""
    takes = []
    for k in chosen[:MOST_CLIPS]:
        audio, recording = clips[k].audio, recordings[k]
        sounds = {
            "whispered": whisper(audio),
            "childlike": make_childlike(audio),
            "in a room": reverberate(audio, *ROOM, seed=k),
            "in a hall": reverberate(audio, *HALL, seed=k),
        }
        others = [clips[j].audio for j in chosen if clips[j].speaker != clips[k].speaker]
        if others:
            level = SECOND_VOICE * float(np.std(audio))
            sounds["beside a second voice"] = add_sound(audio, others[k % len(others)], level)
        for manner, sound in sounds.items():
            changed = replace(recording, audio=sound)
            takes.append(Take(manner, k, changed, clips[k].style, recording.times_s))
        loud, knots = shout(audio, clips[k].phones or ())
        takes.append(_retime("shouted", k, recording, clips[k].style, loud, knots))
    return takes


def _retime(
    manner: str, index: int, recording: Recording, style: str, sound: np.ndarray, knots: np.ndarray
) -> Take:
    """A take in which another time has passed at each of the knots `[knots, 2]`, in seconds."""
    frames = len(sound) * MOTION_RATE_HZ // SAMPLE_RATE_HZ
    spoken_s, said_s = knots.T
    phones = tuple(
        (label, *np.interp([start_s, end_s], spoken_s, said_s).tolist())
        for label, start_s, end_s in recording.phones or ()
    )
    changed = replace(recording, audio=sound, frames=frames, phones=phones)
    times_s = np.interp(changed.times_s, said_s, spoken_s)
    return Take(manner, index, changed, style, times_s)


def measure_takes(
    animate: Animate,
    rig: Rig,
    takes: Sequence[Take],
    recordings: Sequence[Recording],
    motions: Sequence[np.ndarray],
) -> dict[str, float]:
    """Return what each manner leaves of the motion, and the ends of the figures' intervals.

    How the lip gap follows that of the same words as they were recorded, of which the contestant's
    `motions` are given (r over their speech frames), how often the lips meet, and how far the gap
    moves in comparison where people move it further or less far.
    """
    figures: dict[str, float] = {}
    for manner in dict.fromkeys(take.manner for take in takes):
        own = [take for take in takes if take.manner == manner]
        said = [animate(t.recording.audio, t.recording.frames, t.style) for t in own]
        met = tally_motions([take.recording for take in own], said, rig)
        tallies: dict[str, Tally] = {}
        for take, motion, contacts in zip(own, said, met, strict=True):
            tally = tallies.setdefault(take.recording.talker, Tally())
            plain = recordings[take.index]
            gap, wanted = rig.lip_gap(motion), rig.lip_gap(motions[take.index])
            wanted = np.interp(take.times_s, plain.times_s, wanted)
            at = np.minimum(np.round(take.times_s * plain.fps).astype(int), plain.frames - 1)
            speech = find_recorded_speech(plain)[at]
            tally.add(f"{manner} gap r", metrics.correlate(gap, wanted, speech))
            if manner in _AMPLITUDES and np.ptp(wanted[speech]) > _MOVES:
                powers = (float(np.var(curve[speech])) for curve in (gap, wanted))
                tally.relate(f"{manner} gap amplitude", *powers)
            if "closures met" in contacts.sums:
                tally.count(f"{manner} closures met", *contacts.sums["closures met"])
        figures |= gather(list(tallies.values()))
    return figures


def make_outbursts(held: Sequence[HeldVowel]) -> list[Outbursts]:
    """Return speech after which the speaker laughs, coughs twice and breathes in."""
    found: list[Outbursts] = []
    for vowel in held:
        if sum(other.speaker == vowel.speaker for other in found) == OUTBURSTS_PER_SPEAKER:
            continue
        parts: list[tuple[str, np.ndarray | float]] = [
            *(("", vowel.spoken), ("", 0.5), ("laughter", laugh(vowel)), ("", 0.7)),
            *(("coughs", cough(vowel)), ("", 0.3), ("coughs", cough(vowel)), ("", 0.7)),
            ("breath", make_breath(0.5, BREATH * float(np.std(vowel.spoken)))),
            ("", 0.5),
        ]
        found.append(Outbursts(vowel.speaker, *_join(parts)))
    return found


def _join(
    parts: Sequence[tuple[str, np.ndarray | float]],
) -> tuple[np.ndarray, tuple[tuple[str, slice], ...]]:
    """Sounds and pauses (in seconds, of a quiet room) after each other; which has which frames."""
    rng = np.random.default_rng(0)
    sounds: list[np.ndarray] = []
    spans = []
    samples = 0
    for name, part in parts:
        if isinstance(part, float):
            part = HISS_LEVEL * rng.standard_normal(round(part * SAMPLE_RATE_HZ))
        first, samples = samples, samples + len(part)
        sounds.append(part)
        if name:
            spans.append((name, slice(*(_frame(at / SAMPLE_RATE_HZ) for at in (first, samples)))))
    return np.clip(np.concatenate(sounds), -1.0, 1.0).astype(np.float32), tuple(spans)


def measure_outbursts(
    animate: Animate,
    rig: Rig,
    outbursts: Sequence[Outbursts],
    recordings: Sequence[Recording],
    motions: Sequence[np.ndarray],
) -> dict[str, float]:
    """Return how far the lips open in laughter, coughs and breath, and the figures' ends.

    That is the mean gap above rest over the mean in speech frames of the recordings by the same
    speaker, of which the contestant's `motions` are given; of laughter also in which share of
    time the lips are shut.
    """
    rest = measure_rest_gap(rig)
    spoken: dict[str, list[np.ndarray]] = {}
    for recording, motion in zip(recordings, motions, strict=True):
        gap = rig.lip_gap(motion)[find_recorded_speech(recording)] - rest
        spoken.setdefault(recording.talker, []).append(gap)
    every = np.concatenate([gap for gaps in spoken.values() for gap in gaps])
    span = float(np.percentile(every, 98.0)) if len(every) else 0.0
    tallies: dict[str, Tally] = {}
    for outburst in outbursts:
        tally = tallies.setdefault(outburst.speaker, Tally())
        usual = float(np.concatenate(spoken[outburst.speaker]).mean())
        opened = _open(animate, rig, outburst.sound)["lip gap"]
        for name, frames in outburst.spans:
            tally.count(f"{name} gap", float(opened[frames].mean()), usual)
            if name == "laughter":
                shut = metrics.find_closed(opened[frames], 0.0, span)
                tally.count("laughter shut", float(shut.sum()), len(shut))
    return gather(list(tallies.values()))


def measure_losses(animate: Animate, clips: Sequence[Clip]) -> dict[str, float]:
    """Return the jaw r that captured speech loses in a hall, and beside a second voice."""
    losses: dict[str, list[float]] = {}
    for k, excerpt in enumerate(draw_excerpts(clips)):
        clean = score_jaw(animate, excerpt, excerpt.audio)
        damaged = {"hall loss": reverberate(excerpt.audio, *HALL, seed=k)}
        others = [clip.audio for clip in clips if clip.speaker != excerpt.speaker]
        if others:
            level = SECOND_VOICE * excerpt.level
            other = others[k % len(others)]
            damaged["second voice loss"] = add_sound(excerpt.audio, other, level)
        for name, sound in damaged.items():
            losses.setdefault(name, []).append(clean - score_jaw(animate, excerpt, sound))
    return {name: float(np.mean(found)) for name, found in losses.items()}


def gather(units: Sequence[Tally]) -> dict[str, float]:
    """Return the figures of several tallies together, with the ends of their intervals."""
    whole = Tally()
    for unit in units:
        whole.merge(unit)
    found = whole.result()
    return found | bound_figures(units, list(found))
