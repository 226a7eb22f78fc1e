"""Phones of words whose times are known: spoken by espeak-ng, fitted, and set by the lips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dualtalker.speech import (
    BILABIAL,
    SILENCE,
    EspeakProcess,
    Phone,
    cover,
    segment_espeak,
)

PAUSES = ("sil", "sp", "")
WEAK_BILABIAL = "BH"  # a /p b m/ in which the lips were not seen to meet
MEETING = 0.008  # face heights between inner lips below which they meet in a video
_REACH_S = 0.08  # a closure is sought so far beyond where a dictionary puts it
_LONGEST_CLOSURE_S = 0.2


class Pronouncer:
    """Turns timed words into phone classes; use as a context manager."""

    def __init__(self, voice: str = "en-us") -> None:
        self.voice = voice
        self._espeak = EspeakProcess()
        self._known: dict[str, list[Phone]] = {}

    def __enter__(self) -> Pronouncer:
        return self

    def __exit__(self, *_error: object) -> None:
        self._espeak.close()

    def pronounce(self, word: str) -> list[Phone]:
        """Return the phones of a word spoken alone, from 0 s on without silence."""
        if word not in self._known:
            speech = self._espeak.speak(word, self.voice)
            spoken = segment_espeak(speech.phonemes, speech.duration_s)
            self._known[word] = [p for p in spoken if p.label != SILENCE]
        return self._known[word]

    def segment(self, words: Sequence[tuple[str, float, float]], duration_s: float) -> list[Phone]:
        """Return phones that cover [0, duration_s]: each word's fill its (word, start, end)."""
        pieces = []
        for word, start_s, end_s in words:
            phones = [] if word in PAUSES else self.pronounce(word)
            if not phones or end_s <= start_s:
                continue
            begin_s = phones[0].start_s
            scale = (end_s - start_s) / (phones[-1].end_s - begin_s)
            pieces += [
                Phone(
                    p.label,
                    start_s + (p.start_s - begin_s) * scale,
                    start_s + (p.end_s - begin_s) * scale,
                )
                for p in phones
            ]
        return cover(pieces, duration_s)


def snap_contacts(
    phones: Sequence[Phone], time_s: np.ndarray, opening: np.ndarray, duration_s: float
) -> list[Phone]:
    """Move each /p b m/ to where the lips meet; one that never does becomes a weak bilabial.

    `opening` `[rows]` in face heights at `time_s` `[rows]`.
    """
    moved = list(phones)
    for index, phone in enumerate(phones):
        if phone.label != BILABIAL:
            continue
        span = _find_meeting(phone, time_s, opening)
        if span is None:
            moved[index] = replace(phone, label=WEAK_BILABIAL)
            continue
        moved[index] = Phone(BILABIAL, *span)
        if index > 0:
            before = moved[index - 1]
            moved[index - 1] = replace(before, end_s=max(span[0], before.start_s))
        if index + 1 < len(moved):
            after = moved[index + 1]
            moved[index + 1] = replace(after, start_s=min(span[1], after.end_s))
    return cover(moved, duration_s)


def _find_meeting(
    phone: Phone, time_s: np.ndarray, opening: np.ndarray
) -> tuple[float, float] | None:
    """Return from when to when the lips meet around a phone, or None."""
    near = (time_s >= phone.start_s - _REACH_S) & (time_s <= phone.end_s + _REACH_S)
    rows = np.flatnonzero(near & (opening < MEETING))
    if not len(rows):
        return None
    middle_s = (phone.start_s + phone.end_s) / 2
    center = rows[np.argmin(np.abs(time_s[rows] - middle_s))]
    first = last = int(center)
    while first > 0 and opening[first - 1] < MEETING:
        first -= 1
    while last + 1 < len(opening) and opening[last + 1] < MEETING:
        last += 1
    half_s = _LONGEST_CLOSURE_S / 2
    step_s = float(np.median(np.diff(time_s))) / 2
    return (
        max(time_s[first] - step_s, time_s[center] - half_s, 0.0),
        min(time_s[last] + step_s, time_s[center] + half_s),
    )
