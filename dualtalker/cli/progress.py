"""What a command tells while it works: bars, lines above them, and each warning once."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")

log = logging.getLogger("dualtalker")


class Bar(Protocol):
    """What is told how far the work is."""

    def update(self, done: float) -> object:
        """So much more is done."""


class _NoBar:
    def update(self, done: float) -> None:
        """Nobody looks."""


@contextlib.contextmanager
def open_bar(label: str, total: float | None, unit: str) -> Iterator[Bar]:
    """Give a bar that goes at the end of the `with`; there is none where output is no terminal.

    Then tqdm is not imported either, which takes as long as to animate some seconds.
    """
    if not sys.stderr.isatty():
        yield _NoBar()
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=label, unit=unit, leave=False) as bar:
        yield bar


def show_progress(recordings: Sequence[Item]) -> Iterable[Item]:
    """Return what is to be gone through; where it is several, a bar tells how many are done."""
    if len(recordings) == 1 or not sys.stderr.isatty():
        return recordings
    from tqdm import tqdm

    return tqdm(recordings, desc="recordings", unit="file")


@contextlib.contextmanager
def told_once() -> Iterator[None]:
    """Log nothing in the `with` that was logged in it before, as of a file that is read twice."""
    told: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        is_known = text in told
        told.add(text)
        return not is_known

    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)


def print_line(text: str) -> None:
    """Print a line above the bars."""
    if not sys.stderr.isatty():
        print(text)
        return
    from tqdm import tqdm

    with tqdm.external_write_mode():
        print(text)
