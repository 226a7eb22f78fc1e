"""How far two runs of a model differ, in the figures that matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dualtalker.errors import DualtalkerError
from dualtalker.model import Sidecar
from dualtalker.model.backends import Backend


@dataclass(frozen=True)
class Difference:
    """Two motions of the same audio compared, `[frames, 52]` each."""

    frames: int
    largest: float  # of any weight
    mean: float
    relative: float  # largest difference of a channel over that channel's range
    worst_channel: int
    channel_max: np.ndarray  # [52]
    channel_relative: np.ndarray  # [52]; 0 for channels that do not move
    first_max: float  # largest in the first sixth of the time
    last_max: float  # largest in the last sixth: larger than the first means drift
    lip_gap_max_mm: float
    lip_gap_p99_mm: float
    gap_range_mm: float  # how far the reference moves the lips

    def summary(self) -> dict[str, Any]:
        """Return the scalar figures, ready for JSON."""
        return {k: v for k, v in vars(self).items() if not isinstance(v, np.ndarray)}


def measure_difference(reference: np.ndarray, other: np.ndarray) -> Difference:
    """Compare motions `[frames, 52]`; the lip gap is that of the default head (`Rig.lip_gap`).

    Raises:
        DualtalkerError: the shapes differ, or a motion holds NaN: any figure would be a lie.
    """
    from dualtalker.rig.robot_head import build_head

    if reference.shape != other.shape or reference.ndim != 2 or len(reference) == 0:
        raise DualtalkerError(f"motions of shapes {reference.shape} and {other.shape} differ")
    if not (np.isfinite(reference).all() and np.isfinite(other).all()):
        raise DualtalkerError("a motion holds NaN or infinity")
    error = np.abs(other.astype(np.float64) - reference)
    moves = np.ptp(reference, axis=0)
    relative = np.divide(error.max(0), moves, out=np.zeros_like(moves, float), where=moves > 1e-3)
    part = max(1, len(error) // 6)
    rig = build_head()
    gaps_mm = [1000.0 * rig.lip_gap(m) for m in (reference, other)]
    gap_error_mm = np.abs(gaps_mm[1] - gaps_mm[0])
    return Difference(
        frames=len(error),
        largest=float(error.max()),
        mean=float(error.mean()),
        relative=float(relative.max()),
        worst_channel=int(error.max(0).argmax()),
        channel_max=error.max(0),
        channel_relative=relative,
        first_max=float(error[:part].max()),
        last_max=float(error[-part:].max()),
        lip_gap_max_mm=float(gap_error_mm.max()),
        lip_gap_p99_mm=float(np.percentile(gap_error_mm, 99)),
        gap_range_mm=float(np.ptp(gaps_mm[0])),
    )


def run_stream(
    backend: Backend, sidecar: Sidecar, audio: np.ndarray, style: np.ndarray | None = None
) -> np.ndarray:
    """Run audio `[samples]` hop by hop, with one state throughout; return `[frames, 52]`.

    `style` are weights `[1, styles]` where the graph takes them; None is its default.
    """
    hop = sidecar.hop_samples
    state = backend.new_state()
    frames = []
    for start in range(0, len(audio) - hop + 1, hop):
        motion, state = backend.step(audio[np.newaxis, start : start + hop], state, style)
        frames.append(motion[0].copy())
    return np.concatenate(frames)
