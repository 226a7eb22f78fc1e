"""Types of options that tyro reads by itself.

Of `Path | None` and `tuple[Path, ...]` it asks typeguard, whose import takes half as long as
numpy's: commands that are to start fast use these.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

from tyro.constructors import PrimitiveConstructorSpec

OptionalPath = Optional[Path]  # noqa: UP045
OptionalNumber = Optional[float]  # noqa: UP045

if TYPE_CHECKING:
    Paths = tuple[Path, ...]
else:
    Paths = Annotated[
        tuple,
        PrimitiveConstructorSpec(
            nargs="*",
            metavar="PATH...",
            instance_from_str=lambda texts: tuple(map(Path, texts)),
            is_instance=lambda value: isinstance(value, tuple),
            str_from_instance=lambda paths: list(map(str, paths)),
        ),
    ]
