"""What phones say frame by frame: their classes, and where a face rests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualtalker.speech import PHONE_CLASSES, SILENCE, Phone

CLASS_INDEX: dict[str, int] = {name: index for index, name in enumerate(PHONE_CLASSES)}
PAUSE_S = 0.4  # a shorter silence is a part of speech
AFTER_SOUND_S, BEFORE_SOUND_S = 0.06, 0.12  # from when on, and until when, a face rests in a pause


def class_ids(segments: Sequence[Phone], frames: int, rate_hz: float) -> list[int]:
    """Return the class index of each frame; frame k looks at time k / rate_hz."""
    ids = [CLASS_INDEX[SILENCE]] * frames
    for phone in segments:
        first = max(0, -(-round(phone.start_s * rate_hz * 1e6) // 1_000_000))
        last = min(frames, -(-round(phone.end_s * rate_hz * 1e6) // 1_000_000))
        for frame in range(first, last):
            ids[frame] = CLASS_INDEX[phone.label]
    return ids


def find_speech(phones: Sequence[Phone], times_s: np.ndarray) -> np.ndarray:
    """Return how much of a face's motion is speech at `times_s`: 0 in pauses, 1 else `[frames]`.

    People open their mouths before they speak, and leave them open in thought; a robot that does
    so when a fan hums looks broken. In a silence of `PAUSE_S` and more the face goes to rest, and
    is back before the next sound, in a tenth of a second each. Without phones all is speech.
    """
    speech = np.ones(len(times_s), np.float32)
    for phone in phones:
        if phone.label == SILENCE and phone.end_s - phone.start_s >= PAUSE_S:
            since = times_s - (phone.start_s + AFTER_SOUND_S if phone.start_s > 0 else -1.0)
            until = phone.end_s - BEFORE_SOUND_S - times_s
            depth = np.minimum(since, until) / 0.1
            speech = np.minimum(speech, 1.0 - np.clip(depth, 0.0, 1.0))
    return np.asarray(speech, np.float32)
