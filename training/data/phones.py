"""Phone classes frame by frame, as the lip reader's targets."""

from __future__ import annotations

from collections.abc import Sequence

from dualtalker.speech import PHONE_CLASSES, SILENCE, Phone

CLASS_INDEX: dict[str, int] = {name: index for index, name in enumerate(PHONE_CLASSES)}


def class_ids(segments: Sequence[Phone], frames: int, rate_hz: float) -> list[int]:
    """Return the class index of each frame; frame k looks at time k / rate_hz."""
    ids = [CLASS_INDEX[SILENCE]] * frames
    for phone in segments:
        first = max(0, -(-round(phone.start_s * rate_hz * 1e6) // 1_000_000))
        last = min(frames, -(-round(phone.end_s * rate_hz * 1e6) // 1_000_000))
        for frame in range(first, last):
            ids[frame] = CLASS_INDEX[phone.label]
    return ids
