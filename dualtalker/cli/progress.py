"""The bar of what takes long."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm


def open_bar(label: str, total: float, unit: str) -> tqdm:
    """Return a bar that goes when it is closed; there is none where output is no terminal."""
    from tqdm import tqdm

    return tqdm(total=total, desc=label, unit=unit, disable=None, leave=False)
