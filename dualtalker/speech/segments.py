"""From timed phones of synthesizers and aligners to classes that cover a sound; no motion."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dualtalker.speech.espeak import Phoneme
from dualtalker.speech.phones import (
    BILABIAL,
    SILENCE,
    Phone,
    arpabet_classes,
    divide,
    ipa_classes,
    strip_ipa,
)

# A voiceless stop has no sound while it is closed. Measured on espeak-ng 1.52 (English, German,
# French, Spanish, Mandarin; energy in 10 ms steps around the events of p t k): 40-60 ms of digital
# silence lie BEFORE the event, which marks the release. For voiced stops, nasals and fricatives
# (b d g m n f v) the event marks the START of the closure, which lasts until 15-25 ms before the
# next event, where the transition into the vowel has begun to sound.
RELEASE_CLOSURE_S = 0.050
TRANSITION_S = 0.022
_SHORTEST_S = 0.015
# Empty events of up to 0.1 s inside a phrase are glottal onsets or the very closures, no pauses.
SHORTEST_PAUSE_S = 0.12
_SHORTEST_CLOSURE_S = 0.040

# Aligners and concatenative synthesizers put a plosive's burst inside its segment; the lips have
# parted by then.
BURST_S = 0.025
PLOSIVES = ("P", "B", "T", "D", "K", "G", "Ɡ")
_VOICELESS_CLOSURES = frozenset("ptkqcʔʈ")


def segment_labels(
    labels: Sequence[tuple[str, float, float]],
    duration_s: float,
    classes_of: Callable[[str], tuple[str, ...]] = arpabet_classes,
) -> list[Phone]:
    """Turn (label, start, end) rows into classes that cover [0, duration_s] in order.

    `classes_of` knows the notation: `arpabet_classes` or `ipa_classes`. Diphthongs become two
    halves. Gaps become silence. The burst of P, B, T, D, K, G is given to the phone that follows
    it, since the mouth has opened by then.
    """
    pieces: list[Phone] = []
    burst_start_s: float | None = None
    for row, (label, start_s, end_s) in enumerate(labels):
        classes = classes_of(label)
        if burst_start_s is not None:
            start_s, burst_start_s = burst_start_s, None
        if label.upper() in PLOSIVES and _is_followed(labels, row, classes_of):
            burst_start_s = max(end_s - BURST_S, start_s + 0.6 * (end_s - start_s))
            end_s = burst_start_s
        pieces += divide(classes, start_s, end_s)
    return cover(pieces, duration_s)


def _is_followed(
    labels: Sequence[tuple[str, float, float]],
    row: int,
    classes_of: Callable[[str], tuple[str, ...]],
) -> bool:
    """Tell whether a sounding phone comes right after this one."""
    if row + 1 == len(labels) or abs(labels[row + 1][1] - labels[row][2]) > 1e-3:
        return False
    return classes_of(labels[row + 1][0]) != (SILENCE,)


def segment_espeak(phonemes: Sequence[Phoneme], duration_s: float) -> list[Phone]:
    """Turn espeak-ng events into classes that cover [0, duration_s] in order.

    Where each closure lies relative to its event: see the note on `RELEASE_CLOSURE_S`.
    """
    events = _timed_classes(phonemes, duration_s)
    pieces: list[Phone] = []
    for index, (letters, classes, start_s) in enumerate(events[:-1]):
        next_letters, _, next_s = events[index + 1]
        end_s = next_s
        if letters[:1] in _VOICELESS_CLOSURES:
            room_s = start_s - (pieces[-1].start_s + _SHORTEST_S if pieces else 0.0)
            closure_s = min(RELEASE_CLOSURE_S, max(room_s, 0.0))
            _trim(pieces, start_s - closure_s)
            if len(letters) == 1 or classes[0] == BILABIAL:
                pieces += divide(classes[:1], start_s - closure_s, start_s)
                # The breath after a release has the shape of what follows; at an end, no shape.
                classes = classes[1:] or (() if next_letters else ("HH",))
            else:
                start_s -= closure_s
        elif classes == (BILABIAL,) and next_letters:
            end_s = max(end_s - TRANSITION_S, min(start_s + _SHORTEST_CLOSURE_S, next_s))
        pieces += divide(classes, start_s, end_s)
    return cover(_fill_small_gaps(pieces), duration_s)


def _timed_classes(
    phonemes: Sequence[Phoneme], duration_s: float
) -> list[tuple[str, tuple[str, ...], float]]:
    """Return (letters, classes, event time) with silences as ("", ("sil",), time), and an end."""
    events: list[tuple[str, tuple[str, ...], float]] = []
    for index, phoneme in enumerate(phonemes):
        classes = ipa_classes(phoneme.ipa)
        if not classes and index + 1 < len(phonemes):
            after = phonemes[index + 1]
            if after.ipa and after.start_s - phoneme.start_s < SHORTEST_PAUSE_S:
                continue
        letters = strip_ipa(phoneme.ipa) if classes else ""
        events.append((letters, classes or (SILENCE,), min(phoneme.start_s, duration_s)))
    events.append(("", (SILENCE,), duration_s))
    return events


def _trim(pieces: list[Phone], end_s: float) -> None:
    """Shorten the last piece so that it ends at `end_s` at the latest."""
    if pieces and pieces[-1].end_s > end_s:
        last = pieces.pop()
        pieces.append(Phone(last.label, last.start_s, max(end_s, last.start_s)))


def _fill_small_gaps(pieces: list[Phone]) -> list[Phone]:
    """Start each phone where the one before it ends, if less than 80 ms are missing."""
    filled: list[Phone] = []
    for piece in pieces:
        if piece.end_s - piece.start_s <= 1e-6:
            continue
        start_s = piece.start_s
        if filled and 0 < start_s - filled[-1].end_s < 0.08 and piece.label != SILENCE:
            start_s = filled[-1].end_s
        filled.append(Phone(piece.label, start_s, piece.end_s))
    return filled


def cover(pieces: Sequence[Phone], duration_s: float) -> list[Phone]:
    """Return the pieces cut to [0, duration_s], gaps filled with silence, silences merged."""
    covered: list[Phone] = []
    now_s = 0.0

    def add(label: str, start_s: float, end_s: float) -> None:
        if end_s - start_s <= 1e-6:
            return
        if covered and label == SILENCE == covered[-1].label:
            covered[-1] = Phone(label, covered[-1].start_s, end_s)
        else:
            covered.append(Phone(label, start_s, end_s))

    for piece in pieces:
        start_s, end_s = max(piece.start_s, now_s), min(piece.end_s, duration_s)
        if end_s - start_s <= 1e-6:
            continue
        add(SILENCE, now_s, start_s)
        add(piece.label, start_s if start_s - now_s > 1e-6 else now_s, end_s)
        now_s = end_s
    add(SILENCE, now_s, duration_s)
    return covered
