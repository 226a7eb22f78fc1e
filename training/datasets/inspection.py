"""What was found wrong with a download, file by file, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ERROR, WARNING, NOTE = "error", "warning", "note"
_SHOWN = 20  # of one kind; a folder with 400 broken files is described by its first few


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
