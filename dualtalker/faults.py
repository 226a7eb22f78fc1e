"""Counts what went wrong and says each kind once in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

log = logging.getLogger("dualtalker")


class Faults:
    """Counters by kind, from zero; the first of each kind is logged as a warning."""

    def __init__(self, kinds: Iterable[str], warn: Callable[[str], object] = log.warning) -> None:
        """`warn` is another logger's, where not the library's own is to tell."""
        self.counters = dict.fromkeys(kinds, 0)
        self._warn = warn

    def count(self, kind: str, message: str, amount: int = 1) -> None:
        """Add `amount` to a counter; log `message` the first time."""
        first = self.counters[kind] == 0
        self.counters[kind] += amount
        if first and amount:
            self._warn(f"{kind}: {message} (further ones are only counted)")
