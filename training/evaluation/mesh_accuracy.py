"""Measures moving meshes against recorded ones, block by block; formulas are in `metrics`."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec

import numpy as np

from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import Figure, Tally, metrics
from training.data import SAMPLE_RATE_HZ, VertexClip, VertexCorpus, VertexSet
from training.evaluation.mesh_baselines import Pose, iterate_blocks

_OPENING = "the lips' displacement along the direction in which loudness moves them in training"

VERTEX_FIGURES: tuple[Figure, ...] = (
    Figure(
        "LVE mm2", "LVE, squared (mm²)",
        "mean over all frames of all clips of the maximum squared lip-vertex distance "
        "(FaceFormer's, CodeTalker's code)",
        better="lower", digits=3,
    ),
    Figure(
        "LVE unit2", "LVE, squared (1e-4 unit²)",
        "the same in the data set's own unit, as printed for BIWI", better="lower", digits=4,
    ),
    Figure(
        "LVE torchmetrics", "LVE of torchmetrics (1e-6 unit²)",
        "torchmetrics' lip_vertex_error in the data set's unit, lengths checked before (it cuts "
        "to the shorter by itself)",
        better="lower", digits=3,
    ),
    Figure("LVE root mm", "LVE, root (mm)", "root of the squared", better="lower", digits=3),
    Figure(
        "LVE mm", "LVE, plain (mm)", "mean over frames of the maximum lip-vertex distance",
        better="lower", digits=3,
    ),
    Figure(
        "FDD signed", "FDD, signed (1e-5 unit²)",
        "upper face: standard deviation over time of the squared displacement from the template, "
        "recorded less shown, mean over vertices, then over clips (CodeTalker)",
        better="zero", digits=4,
    ),
    Figure(
        "FDD absolute", "FDD, absolute (1e-5 unit²)", "the same with absolute differences",
        better="lower", digits=4,
    ),
    Figure(
        "vertex error mm", "mean vertex error (mm)",
        "mean distance over all frames and vertices", better="lower", digits=3,
    ),
    Figure(
        "opening r", "mouth opening r",
        "Pearson r over speech frames (within 35 dB of the loudest), mean of the clips; "
        f"{_OPENING}",
    ),
    Figure(
        "offset ms", "audio–visual offset (ms)",
        "peak of the cross-correlation of the mouth opening with the recorded one; positive is "
        "late; mean of the clips over 1 s",
        better="zero", digits=1,
    ),
    Figure(
        "jitter ratio", "jitter relative to the recording",
        "root mean square of the mouth opening's third derivative over the recording's",
        better="lower",
    ),
    Figure(
        "unit error rate, true", "lip reading of the true motion, unit error rate",
        "share of speech frames (50 Hz) whose acoustic unit the checkpoint's reader names wrongly",
        better="lower",
    ),
    Figure(
        "unit error rate", "lip reading of this motion, unit error rate", "as above",
        better="lower",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Ruler:
    """What all contestants on a data set are measured with.

    opening: float32 [vertices, 3], the direction in which loudness moves the face.
    """

    corpus: VertexCorpus
    lips: VertexSet
    upper_face: VertexSet
    opening: np.ndarray

    def metres_per_unit(self, subject: str) -> float | None:
        """Metres in the data set's unit for this subject's face; None where it is unknown."""
        if self.corpus.unit == "m":
            return 1.0
        kind = self.corpus.index.get("normalization")
        if kind == "area":
            scale = self.corpus.index.get("template_scales", {}).get(subject)
            return None if scale is None else float(scale) / 1000.0
        return 0.001 if kind == "none" else None

    def measure_opening(self, moved: np.ndarray) -> np.ndarray:
        """Opening `[n]` of displacements `[n, vertices, 3]`, in the data set's unit.

        That of the lip vertex which opens farthest; of the whole face where no lips are known.
        """
        lips = self.lips.indices if len(self.lips.indices) else slice(None)
        direction = self.opening[lips].astype(np.float64)
        reach = float(np.linalg.norm(direction, axis=-1).max())
        along = np.tensordot(moved[:, lips], direction, axes=2)
        return np.asarray(along / max(float((direction**2).sum()), 1e-20) * reach)


@dataclass
class Spread:
    """Mean and standard deviation over time of many values at once (Chan et al. 1979)."""

    count: int = 0
    mean: np.ndarray = field(default_factory=lambda: np.zeros(0))
    squares: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def add(self, values: np.ndarray) -> None:
        """Take in values `[n, k]`."""
        values = np.asarray(values, np.float64)
        mean = values.mean(axis=0)
        squares = ((values - mean) ** 2).sum(axis=0)
        if not self.count:
            self.mean, self.squares = np.zeros_like(mean), np.zeros_like(mean)
        total = self.count + len(values)
        apart = mean - self.mean
        self.squares = self.squares + squares + apart**2 * (self.count * len(values) / total)
        self.mean = self.mean + apart * (len(values) / total)
        self.count = total

    def deviation(self) -> np.ndarray:
        """Standard deviation of each value, `[k]`."""
        return np.asarray(np.sqrt(self.squares / max(self.count, 1)))


@dataclass
class MeshTally:
    """One contestant's figures, gathered clip by clip; memory is that of a block of frames."""

    ruler: Ruler
    tally: Tally = field(default_factory=Tally)
    sums: dict[str, float] = field(default_factory=dict)
    frames: int = 0
    errors: np.ndarray | None = None
    """Sum over frames of each vertex's distance, `[vertices]` metres (or units)."""

    def add(self, clip: VertexClip, pose: Pose, speech: np.ndarray) -> None:
        """Measure one clip; `speech` `[frames]` are the frames of it that count as speech.

        Raises:
            DualtalkerError: the motion has another number of frames or vertices than the clip.
        """
        scale = self.ruler.metres_per_unit(clip.subject) or 1.0
        true_spread, own_spread = Spread(), Spread()
        openings: list[tuple[np.ndarray, np.ndarray]] = []
        for block in iterate_blocks(clip.frames, len(clip.template)):
            truth, shown = np.asarray(clip.vertices[block]), pose(block)
            if shown.shape != truth.shape:
                raise DualtalkerError(
                    f"{clip.name}: found motion {list(shown.shape)} in frames {block.start} to "
                    f"{block.stop}, expected {list(truth.shape)}: resample it to {clip.fps:g} Hz"
                )
            self._add_errors(truth, shown, scale)
            upper = self.ruler.upper_face.indices
            for spread, vertices in ((true_spread, truth), (own_spread, shown)):
                moved = (vertices[:, upper] - clip.template[upper]).astype(np.float64)
                spread.add((moved**2).sum(-1))
            pair = (shown - clip.template, truth - clip.template)
            openings.append((self.ruler.measure_opening(pair[0]),
                             self.ruler.measure_opening(pair[1])))  # fmt: skip
        if len(self.ruler.upper_face.indices):
            apart = true_spread.deviation() - own_spread.deviation()
            self.tally.add("FDD signed", float(apart.mean()) * 1e5)
            self.tally.add("FDD absolute", float(np.abs(apart).mean()) * 1e5)
        shown_opening, true_opening = (np.concatenate(c) for c in zip(*openings, strict=True))
        self._compare_openings(shown_opening, true_opening, speech, clip.fps)

    def result(self) -> dict[str, float]:
        """The figures by the keys of `VERTEX_FIGURES`; those of lips only where they are known."""
        pooled = {name: total / max(self.frames, 1) for name, total in self.sums.items()}
        if "LVE mm2" in pooled:
            pooled["LVE root mm"] = float(np.sqrt(pooled["LVE mm2"]))
        if self.errors is not None and self._known():
            pooled["vertex error mm"] = float(self.map_errors().mean()) * 1e3
        return {**pooled, **self.tally.result()}

    def map_errors(self) -> np.ndarray:
        """Mean distance of each vertex, `[vertices]`, metres (units where those are unknown)."""
        assert self.errors is not None
        return np.asarray(self.errors / max(self.frames, 1))

    def _known(self) -> bool:
        return all(self.ruler.metres_per_unit(s) is not None for s in self.ruler.corpus.subjects)

    def _add_errors(self, truth: np.ndarray, shown: np.ndarray, scale: float) -> None:
        count = len(truth)
        self.frames += count
        distance = np.linalg.norm((shown - truth).astype(np.float64), axis=-1).sum(0) * scale
        self.errors = distance if self.errors is None else self.errors + distance
        lips = self.ruler.lips.indices
        if not len(lips):
            return
        left, right = (part[:, lips].astype(np.float64) for part in (shown, truth))
        if self._known():
            found = metrics.measure_lip_error(left * scale, right * scale)
            self._sum("LVE mm2", found["lve_squared_mm2"] * count)
            self._sum("LVE mm", found["lve_mm"] * count)
        if self.ruler.corpus.unit != "m":
            found = metrics.measure_lip_error(left, right)
            self._sum("LVE unit2", found["lve_squared_mm2"] * 1e-6 * 1e4 * count)
        if find_spec("torchmetrics") is not None:
            self._sum("LVE torchmetrics", _ask_torchmetrics(left, right) * 1e6 * count)

    def _sum(self, name: str, value: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value

    def _compare_openings(
        self, shown: np.ndarray, truth: np.ndarray, speech: np.ndarray, fps: float
    ) -> None:
        self.tally.add("opening r", metrics.correlate(shown, truth, speech))
        if len(truth) < 4:
            return
        jitter = metrics.measure_jitter(truth, fps)
        if jitter > 0:
            self.tally.add("jitter ratio", metrics.measure_jitter(shown, fps) / jitter)
        moves = min(np.ptp(shown), np.ptp(truth)) > 1e-4 * max(np.ptp(truth), 1e-12)
        if moves and len(truth) > fps:  # the search for the offset reaches 0.3 s each way
            self.tally.add("offset ms", metrics.estimate_offset_ms(shown, truth, fps))


def find_clip_speech(clip: VertexClip) -> np.ndarray:
    """Speech frames `[frames]` bool of a clip; see `metrics.find_speech_frames`."""
    times_s = np.arange(clip.frames) / clip.fps
    return metrics.find_speech_frames(clip.audio, SAMPLE_RATE_HZ, times_s)


def _ask_torchmetrics(shown: np.ndarray, truth: np.ndarray) -> float:
    """torchmetrics' LVE of lip vertices `[n, lips, 3]` of equal shapes, in their unit squared."""
    import torch
    from torchmetrics.functional.multimodal import lip_vertex_error

    lips = list(range(truth.shape[1]))
    return float(lip_vertex_error(torch.from_numpy(shown), torch.from_numpy(truth), lips))
