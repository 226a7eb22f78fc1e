"""What can be chosen of a talker: one list of options for command, replay, node and library."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from dualtalker.errors import DualtalkerError


def _option(
    default: Any, meaning: str, low: float | None = None, high: float | None = None
) -> Any:
    """Declare a field with one line of meaning and, for numbers, the least and the most."""
    return dataclasses.field(
        default=default, metadata={"meaning": meaning, "low": low, "high": high}
    )


@dataclass(frozen=True)
class TalkerOptions:
    """What can be chosen of a talker, in the command, a replay and the ROS node alike."""

    fps: float = _option(30.0, "Frames per second (Hz)", 1.0, 120.0)
    engine: str = _option("auto", "Engine that runs the model: auto, onnxruntime or tensorrt")
    idle_motion: bool = _option(
        True, "Blinks, glances and small brow motion; the mouth is never touched"
    )
    prosody: bool = _option(
        True, "Brows, blinks and glances follow the voice; part of idle_motion"
    )
    head_motion: bool = _option(
        False,
        "The head sways and nods: headPitch, headYaw, headRoll (rad) come after the weights; "
        "needs idle_motion",
    )
    smoothing_ms: float = _option(
        0.0, "Time constant of a low-pass over the motion (ms), which lags by as much", 0.0, 500.0
    )
    seed: int = _option(0, "Seed of the idle motion; the same seed gives the same frames", 0)
    style: str = _option(
        "",
        "Manner of speaking: a style of the model (`dualtalker info` lists them), or a mixture as "
        "NAME:WEIGHT,NAME:WEIGHT; empty is the model's own",
    )
    intensity: float = _option(
        1.0, "How far the mouth moves; 1 is as trained, shut lips stay shut", 0.0, 2.0
    )

    def __post_init__(self) -> None:
        """Raise DualtalkerError for a number out of its range."""
        for field in dataclasses.fields(self):
            value, low, high = getattr(self, field.name), *_range_of(field)
            if (low is not None and not value >= low) or (high is not None and not value <= high):
                raise DualtalkerError(f"{field.name} is {value}; expected {tell_range(field)}")

    def keywords(self) -> dict[str, Any]:
        """Return these options as keyword arguments of `Talker` and `animate`."""
        plain = dataclasses.asdict(self)
        smoothing_s = plain.pop("smoothing_ms") / 1e3
        return {**plain, "smoothing_s": smoothing_s}


def tell_range(field: dataclasses.Field[Any]) -> str:
    """Return the range of an option in words; empty where it has none."""
    low, high = _range_of(field)
    if low is None:
        return ""
    return f"{low:g} or more" if high is None else f"{low:g} to {high:g}"


def _range_of(field: dataclasses.Field[Any]) -> tuple[float | None, float | None]:
    return field.metadata.get("low"), field.metadata.get("high")


def _describe(field: dataclasses.Field[Any]) -> str:
    bounds = tell_range(field)
    return f"    {field.name}: {field.metadata['meaning']}{bounds and f'; {bounds}'}."


# `help` and the command line show what the fields say.
TalkerOptions.__doc__ = "\n".join(
    [f"{TalkerOptions.__doc__}\n\nAttributes:", *map(_describe, dataclasses.fields(TalkerOptions))]
)
