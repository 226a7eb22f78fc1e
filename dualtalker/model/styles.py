"""Which styles a model offers, and what a user's choice of them means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

import numpy as np

from dualtalker.errors import DualtalkerError
from dualtalker.model.sidecar import DEFAULT_STYLE, EXPORT_COMMAND, Sidecar

# A name, "name:weight,name:weight", weights by name, or None for the model's own default.
Style = str | Mapping[str, float] | None


def list_styles(sidecar: Sidecar) -> dict[str, np.ndarray]:
    """Return what may be asked for by name: weights [styles] float32 of the trained styles.

    `default` first, then the public names, then the styles as they were trained; empty for a
    model that has no style input.
    """
    if not sidecar.style_input:
        return {}
    single = np.eye(len(sidecar.style_names), dtype=np.float32)
    return {
        DEFAULT_STYLE: np.asarray(sidecar.default_style, np.float32),
        **{name: np.asarray(w, np.float32) for name, w in sidecar.style_presets.items()},
        **dict(zip(sidecar.style_names, single, strict=True)),
    }


def mix_style(style: Style, sidecar: Sidecar) -> np.ndarray | None:
    """Return the weights [1, styles] float32 for the graph's style input, their sum 1.

    None for a model without that input, which has its default and nothing else.

    Raises:
        DualtalkerError: a name is unknown, or the weights mix nothing.
    """
    offered = list_styles(sidecar)
    if not offered:
        if style not in (None, "", DEFAULT_STYLE):
            raise DualtalkerError(
                f"style {style!r}: this model has one style, fixed when it was exported. Export "
                f"it anew to choose at run time: {EXPORT_COMMAND}"
            )
        return None
    parts = _weigh_parts(style, list(offered))
    total = sum(parts.values())
    shares = np.array([[weight / total for weight in parts.values()]])
    return (shares @ np.stack([offered[name] for name in parts])).astype(np.float32)


def parse_style(text: str, names: list[str]) -> dict[str, float]:
    """Read "name" or "name:weight,name:weight" into weights by name; `names` are those known.

    Names may hold colons (`captured:facegood`): a part that is a name as a whole has weight 1.

    Raises:
        DualtalkerError: says which part cannot be read.
    """
    parts: dict[str, float] = {}
    for part in text.split(","):
        name, weight = part.strip(), 1.0
        if name not in names and ":" in name:
            name, _, number = (piece.strip() for piece in name.rpartition(":"))
            try:
                weight = float(number)
            except ValueError:
                name = part.strip()
        if name in parts:
            raise DualtalkerError(f"style {text!r} names {name!r} twice")
        parts[name] = weight
    return parts


def _weigh_parts(style: Style, names: list[str]) -> dict[str, float]:
    """Return the choice as positive weights of offered names."""
    if style is None or style == "":
        style = DEFAULT_STYLE
    if isinstance(style, str):
        style = parse_style(style, names)
    if not isinstance(style, Mapping) or not style:
        raise DualtalkerError(f"style is {style!r}; expected a name or weights by name")
    for name, weight in style.items():
        if name not in names:
            raise DualtalkerError(
                f"style {str(name)[:200]!r} is unknown; this model has {', '.join(names)}, and "
                "mixtures such as NAME:0.3,NAME:0.7"
            )
        if not isinstance(weight, Real) or not 0 <= weight <= 1e6:
            raise DualtalkerError(f"weight of style {name!r} is {weight!r}; expected 0 or more")
    parts = {name: float(weight) for name, weight in style.items() if weight > 0}
    if not parts or not math.isfinite(sum(parts.values())):
        raise DualtalkerError(f"style {dict(style)!r} has no positive weight")
    return parts
