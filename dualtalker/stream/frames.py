"""What a Talker gives for each instant to show, and the same with its times on the way out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One face to show."""

    index: int  # grows by one from frame to frame (but for `skipped_frames`)
    time_s: float  # stream time that it depicts: index / fps
    stamp_ns: int | None  # stamp of the audio it depicts; None where no stamp was pushed
    weights: np.ndarray  # [52] float32 in [0, 1], ARKit order
    idle: bool  # made without the model, because there was no audio
    head: np.ndarray | None = None  # [3] float32 radians, `arkit.HEAD_NAMES`; None where off


@dataclass(frozen=True)
class TimedFrame:
    """A frame that a jitter buffer sends, and the instant that it depicts on two clocks."""

    frame: Frame
    stamp_ns: int  # on the clock of the audio stamps
    depicted_ns: int  # on the node's clock
