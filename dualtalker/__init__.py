"""dualtalker: speech in, a moving face out, at frame rate. The runtime: no torch, no rclpy.

    talker = dualtalker.Talker(fps=30)
    talker.push(samples, sample_rate_hz)    # as the audio comes, in any chunks
    for frame in talker.frames():           # 52 ARKit weights each, frame k at k / fps seconds
        ...

`dualtalker.animate("speech.wav")` does a whole file at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from dualtalker.model import load_bundle
    from dualtalker.rig import load_rig, save_rig
    from dualtalker.stream import Animation, Frame, Talker, animate

__all__ = [
    "Animation",
    "Frame",
    "Talker",
    "__version__",
    "animate",
    "load_bundle",
    "load_rig",
    "save_rig",
]

_HOMES = {
    "Animation": "dualtalker.stream",
    "animate": "dualtalker.stream",
    "load_bundle": "dualtalker.model",
    "load_rig": "dualtalker.rig.files",
    "save_rig": "dualtalker.rig.files",
    "Frame": "dualtalker.stream",
    "Talker": "dualtalker.stream",
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that `import dualtalker` is cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
