"""What a reader of mesh recordings hands over: clips to make and what they share. No formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

MAX_DIFFERENCE_S = 0.5  # between a clip's sound and its motion, before it is told
MISLABELED_SHARE = 0.5  # of the longer one: then the two do not belong together


@dataclass(frozen=True)
class PlannedClip:
    """One sentence that can be converted.

    frames: how many at the source's (final) fps. read_audio: float32 [samples] at 16 kHz.
    read_frames: float32 [V, 3] each, in the source's final unit and axes, one at a time.
    """

    name: str
    subject: str
    sentence: str
    split: str
    frames: int
    read_audio: Callable[[], np.ndarray]
    read_frames: Callable[[], Iterator[np.ndarray]]


@dataclass
class MeshSource:
    """A data set that was found readable.

    options: whatever else decides what the clips hold; it joins the index. files: all that was
    looked at; sizes and dates tell whether anything changed.
    """

    dataset: str
    fps: float
    unit: str
    license: str
    styles: tuple[str, ...]
    templates: dict[str, np.ndarray]
    triangles: np.ndarray
    clips: list[PlannedClip]
    files: list[Path]
    options: dict[str, object] = field(default_factory=dict)


def describe_stray(path: Path) -> str | None:
    """Tell what a file of the wrong kind is, as downloads go wrong; None where nothing shows."""
    with path.open("rb") as stream:
        head = stream.read(512)
    if not head:
        return "is empty: download it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file: run `git lfs pull` where it came from"
    if head.lstrip()[:1] == b"<" and b"html" in head.lower():
        return "is a web page (a login page?): sign in, accept the license and download again"
    if head.startswith(b"PK\x03\x04"):
        return "is a zip archive: unpack it here"
    if head.startswith(b"\x1f\x8b"):
        return "is a gzip archive: unpack it here"
    return None


def describe_mismatch(audio_s: float, motion_s: float) -> tuple[bool, str] | None:
    """Compare the lengths of sound and motion; return None, or (are they no pair, in words).

    Half a second is common (recorders stop when they stop) and the longer one is cut.
    """
    difference_s = abs(audio_s - motion_s)
    if difference_s <= MAX_DIFFERENCE_S:
        return None
    told = f"sound lasts {audio_s:.2f} s, motion {motion_s:.2f} s"
    return difference_s > MISLABELED_SHARE * max(audio_s, motion_s), told
