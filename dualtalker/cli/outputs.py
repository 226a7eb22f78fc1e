"""The files of an animation: motion, report and vertices; each whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dualtalker.arkit import ARKIT_NAMES, HEAD_NAMES
from dualtalker.cli.plain_types import OptionalNumber
from dualtalker.options import TalkerOptions

if TYPE_CHECKING:
    from dualtalker.rig import Rig
    from dualtalker.stream import Animation

MotionFormat = Literal["csv", "livelink", "glb"]

# Frames posed at a time: a long recording's vertices would not fit in memory.
_BLOCK = 256


@dataclass(frozen=True)
class FileOptions(TalkerOptions):
    """Options of a talker whose frames go to a file."""

    fps: OptionalNumber = None  # type: ignore[assignment]
    """Frames per second (Hz), 1 to 120. Default: 30; 60 for livelink."""

    def settle(self, form: MotionFormat) -> TalkerOptions:
        """Return the options for a format, whose usual frame rate is taken where none is given.

        Raises:
            DualtalkerError: the format cannot tell the frame rate.
        """
        fps = self.fps if self.fps is not None else 60.0 if form == "livelink" else 30.0
        settled = TalkerOptions(**{**asdict(self), "fps": fps})
        if form == "livelink":
            from dualtalker.outputs import check_live_link_rate

            check_live_link_rate(fps)
        return settled


def write_motion(path: Path, animation: Animation, form: MotionFormat) -> None:
    """Write the weights of each frame."""
    if form == "livelink":
        from dualtalker.outputs import write_live_link_csv

        write_live_link_csv(path, animation.weights, animation.fps, animation.head)
        return
    from dualtalker.evaluation import write_motion_csv

    write_motion_csv(path, animation.times_s, animation.weights, animation.head)


def write_report(path: Path, animation: Animation, **more: Any) -> None:
    """Write a JSON with all that tells how the frames were made."""
    from dualtalker.cli.info import package_versions
    from dualtalker.files import write_whole

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
    import zipfile

    import numpy as np

    from dualtalker.files import written_whole

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
