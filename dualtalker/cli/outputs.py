"""Writes an animation to files: CSV, JSON, vertices, video. Each appears whole or not at all."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dualtalker.arkit import ARKIT_NAMES, HEAD_NAMES
from dualtalker.files import write_whole, written_whole
from dualtalker.stream import Animation

if TYPE_CHECKING:
    from dualtalker.rig import Rig

# Frames posed at a time: a long recording's vertices would not fit in memory.
_BLOCK = 256


class Curves(Protocol):
    """What is written: an `Animation`, or frames that came from elsewhere."""

    @property
    def times_s(self) -> np.ndarray:
        """Return the time of each frame, [frames]."""

    @property
    def weights(self) -> np.ndarray:
        """Return the ARKit weights, [frames, 52]."""

    @property
    def fps(self) -> float:
        """Return the frames per second."""


def write_csv(path: Path, animation: Curves, head: np.ndarray | None = None) -> None:
    """Write `time_s` and the 52 ARKit weights, in Apple's order, one line a frame.

    `head` [frames, 3] radians adds the columns `HEAD_NAMES`.
    """
    names, values = ARKIT_NAMES, animation.weights
    if head is not None:
        names, values = (*ARKIT_NAMES, *HEAD_NAMES), np.concatenate([values, head], axis=1)
    with written_whole(path) as temporary, temporary.open("w", encoding="ascii") as file:
        file.write(",".join(("time_s", *names)) + "\n")
        for time_s, row in zip(animation.times_s, values, strict=True):
            file.write(f"{time_s:.6f}," + ",".join(f"{value:.6g}" for value in row) + "\n")


def write_report(path: Path, animation: Animation, **more: Any) -> None:
    """Write a JSON with all that tells how the frames were made."""
    from dualtalker.cli.info import package_versions

    bundle = animation.bundle
    report = {
        **more,
        "model": bundle.onnx_path.name,
        "model_sha256": bundle.digest,
        "backend": animation.backend,
        "fps": animation.fps,
        "frames": len(animation.times_s),
        "duration_s": animation.duration_s,
        "lookahead_s": bundle.sidecar.lookahead_s,
        "latency_s": animation.latency_s,
        "compute_s": animation.compute_s,
        "real_time_factor": animation.real_time_factor,
        "style": animation.style,
        "intensity": animation.intensity,
        "counters": animation.counters,
        "names": [*ARKIT_NAMES, *(HEAD_NAMES if animation.head is not None else ())],
        "versions": package_versions(),
    }
    write_whole(path, json.dumps(report, indent=2) + "\n")


def write_vertices(
    path: Path, animation: Animation, rig: Rig, progress: Callable[[int], object]
) -> None:
    """Write an `.npz`: vertices [frames, V, 3] float32 in metres, triangles [T, 3], fps."""
    frames = len(animation.weights)
    shape = (frames, *rig.neutral.shape)
    with written_whole(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in (("triangles", rig.triangles), ("fps", np.float64(animation.fps))):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
        with archive.open("vertices.npy", "w", force_zip64=True) as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, frames, _BLOCK):
                block = rig.pose(animation.weights[start : start + _BLOCK])
                file.write(np.ascontiguousarray(block, "<f4").tobytes())
                progress(len(block))


def write_face_video(
    path: Path,
    animation: Curves,
    rig: Rig,
    samples: np.ndarray,
    rate_hz: int,
    progress: Callable[[int], object],
) -> None:
    """Write an MP4 of the rig with the sound that it says."""
    from dualtalker.drawing import Renderer, write_video

    renderer = Renderer(rig, 480, 480)

    def pictures() -> Iterator[np.ndarray]:
        for weights in animation.weights:
            yield renderer.render(weights)
            progress(1)

    with written_whole(path) as temporary:
        write_video(temporary, pictures(), animation.fps, audio=samples, audio_rate_hz=rate_hz)
