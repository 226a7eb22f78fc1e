"""What a reader of recordings hands over: clips to make, what they share, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dualtalker.files import tell_fault

MAX_DIFFERENCE_S = 0.5  # between a clip's sound and its motion, before it is told
MISLABELED_SHARE = 0.5  # of the longer one: then the two do not belong together

ERROR, WARNING, NOTE = "error", "warning", "note"
_SHOWN = 20  # of one kind; a folder with 400 broken files is described by its first few


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
    if (fault := tell_fault(path)) is not None:
        return f"is {fault}"
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


# ---- What is wrong with it ---------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """One thing that is not as expected.

    level: "error" stops the conversion, "warning" leaves something out, "note" only informs.
    """

    level: str
    path: str
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"\n         {self.remedy}" if self.remedy else ""
        return f"{self.level:7s}  {self.path}: {self.problem}{remedy}"


@dataclass
class Inspection:
    """All findings on one download, and what is there."""

    folder: Path
    findings: list[Finding] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)

    def error(self, path: Path | str, problem: str, remedy: str = "") -> None:
        """Add something that stops the conversion."""
        self._add(ERROR, path, problem, remedy)

    def warn(self, path: Path | str, problem: str, remedy: str = "") -> None:
        """Add something that leaves a part of the data out."""
        self._add(WARNING, path, problem, remedy)

    def note(self, path: Path | str, problem: str) -> None:
        """Add something worth knowing."""
        self._add(NOTE, path, problem)

    def count_splits(
        self, clips: Sequence[PlannedClip], full: dict[str, int], path: Path | str, remedy: str
    ) -> None:
        """Tell how many sentences of each split there are; none to train on is an error."""
        counts = Counter(clip.split for clip in clips)
        self.facts += [f"{split}: {counts[split]} of {n} sentences" for split, n in full.items()]
        if not counts["train"] and not self.errors:
            self.error(path, "no sentence to train on", remedy)

    @property
    def errors(self) -> list[Finding]:
        """Return what stops the conversion."""
        return [finding for finding in self.findings if finding.level == ERROR]

    def lines(self) -> Iterable[str]:
        """Yield the report: what is there, then every finding, the gravest first."""
        yield from self.facts
        for level in (ERROR, WARNING, NOTE):
            found = [finding for finding in self.findings if finding.level == level]
            yield from (str(finding) for finding in found[:_SHOWN])
            if len(found) > _SHOWN:
                yield f"{level:7s}  … and {len(found) - _SHOWN} more of the same level"

    def _add(self, level: str, path: Path | str, problem: str, remedy: str = "") -> None:
        for prefix in (f"{path}: ", f"{self.folder / path}: "):
            problem = problem.removeprefix(prefix)  # errors of readers begin with the path
        self.findings.append(Finding(level, self._relative(path), problem, remedy))

    def _relative(self, path: Path | str) -> str:
        try:
            return str(Path(path).relative_to(self.folder))
        except ValueError:
            return str(path)


def name_some(names: Iterable[str], shown: int = 6) -> str:
    """Return the first names of a list and how many more there are."""
    names = list(names)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
