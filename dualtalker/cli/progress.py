"""The bar of what takes long, and lines above it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol


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


def show_progress(paths: Sequence[Path]) -> Iterable[Path]:
    """Return `paths`; where there are several, a bar tells how many are done."""
    if len(paths) == 1 or not sys.stderr.isatty():
        return paths
    from tqdm import tqdm

    return tqdm(paths, desc="recordings", unit="file")


def print_line(text: str) -> None:
    """Print a line above the bars."""
    if not sys.stderr.isatty():
        print(text)
        return
    from tqdm import tqdm

    with tqdm.external_write_mode():
        print(text)
