"""Which ARKit shapes the names in other programs' files mean, also where shapes are halved."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.errors import RigError

_log = logging.getLogger("dualtalker")

_BY_LOWER_NAME = {name.lower(): name for name in ARKIT_NAMES}


def gather_shapes(
    source: str, raw_names: Sequence[str], raw_deltas: Sequence[np.ndarray]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Turn a file's shapes into ARKit's: names in ARKit order and deltas [shapes, vertices, 3].

    Names that are none of ARKit's are left out and logged. RigError where none is left, or where
    two have the same meaning.
    """
    found: dict[str, np.ndarray] = {}
    halves: dict[str, list[tuple[str, np.ndarray]]] = {}
    ignored: list[str] = []
    for raw, delta in zip(raw_names, raw_deltas, strict=True):
        name, is_half = arkit_name(raw)
        if name is None:
            ignored.append(raw)
        elif is_half:
            halves.setdefault(name, []).append((raw.lower(), delta))
        elif name in found:
            raise RigError(f"{source}: two shapes mean {name}; keep one (the second is {raw!r})")
        else:
            found[name] = delta
    for name, parts in halves.items():
        if len({raw for raw, _ in parts}) != len(parts):
            raise RigError(f"{source}: a half of {name} comes twice; keep one of each side")
        if name not in found:
            found[name] = np.sum([delta for _, delta in parts], axis=0)
    if ignored:
        _log.warning("%s: ignored shapes that ARKit does not have: %s", source, ", ".join(ignored))
    if not found:
        raise RigError(
            f"{source}: found no ARKit shape among {list(raw_names)[:8]}; "
            "expected names such as jawOpen or mouthSmile_L"
        )
    names = tuple(sorted(found, key=ARKIT_INDEX.__getitem__))
    return names, np.stack([found[name] for name in names])


def arkit_name(raw: str) -> tuple[str | None, bool]:
    """Return the ARKit name that a shape's name in a file means, and whether it is a half of it.

    `head.MouthSmile_L` -> (mouthSmileLeft, False), `browInnerUp_R` -> (browInnerUp, True).
    """
    plain = raw.replace(":", ".").rsplit(".", 1)[-1].strip().lower()
    if plain in _BY_LOWER_NAME:
        return _BY_LOWER_NAME[plain], False
    for ending, side in (("_l", "left"), ("_r", "right"), ("_left", "left"), ("_right", "right")):
        if plain.endswith(ending):
            stem = plain[: -len(ending)]
            if stem + side in _BY_LOWER_NAME:
                return _BY_LOWER_NAME[stem + side], False
            if stem in _BY_LOWER_NAME:
                return _BY_LOWER_NAME[stem], True
    return None, False
