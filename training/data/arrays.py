"""Opens .npy files that others made, so that whatever is wrong with one is told in one way."""

from __future__ import annotations

import tokenize
from pathlib import Path

import numpy as np

from training.data.clips import CorpusError


def map_array(path: Path) -> np.ndarray:
    """Return the array of an .npy file, memory-mapped and read-only.

    Raises `CorpusError` for a file that is cut short, broken, no .npy or an array of objects.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (
        ValueError,
        TypeError,
        OSError,
        EOFError,
        SyntaxError,
        OverflowError,
        MemoryError,
        tokenize.TokenError,  # numpy tries to mend headers of Python 2
    ) as error:
        raise CorpusError(f"not a readable .npy ({error})") from error
