"""Accuracy of a model bundle: `python -m training.evaluate NAME.onnx --corpus corpus_real`.

Runs the bundle through the same Talker that a robot runs, over the clips of a corpus that were
held out from training, and prints each figure beside the loudness baseline (root mean square of
the audio drives `jawOpen`). The conventions are those of `dualtalker/metrics.py`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro

from dualtalker import metrics
from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.errors import DualtalkerError
from dualtalker.rig import Rig
from training.augmentation import make_noise
from training.clips import MOTION_RATE_HZ, SAMPLE_RATE_HZ, Clip, iterate_clips

SILENCE_S = 5.0


@dataclass
class EvaluateConfig:
    """Measure one bundle on held-out clips."""

    model: tyro.conf.Positional[Path | None] = None
    """Bundle (.onnx); the shipped model if not given."""
    corpus: tuple[Path, ...] = (Path("corpus"),)
    """Folders of clips; those whose split is `validation` are measured."""
    rig: Path | None = None
    """Face on which the lip gap is measured (.npz, .glb, folder of OBJs); the default head."""
    json_out: Path | None = None
    """Also write the figures here as JSON (for `engines.export_onnx --metrics`)."""


@dataclass
class Tally:
    """Figures gathered over clips for one contestant (the model or a baseline)."""

    values: dict[str, list[float]] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Add one clip's figure."""
        self.values.setdefault(name, []).append(value)

    def count(self, name: str, part: int, whole: int) -> None:
        """Add one clip's share as (part, whole)."""
        total = self.counts.setdefault(name, [0, 0])
        total[0] += part
        total[1] += whole

    def result(self) -> dict[str, float]:
        """Means of the figures and shares of the counts."""
        means = {name: float(np.mean(values)) for name, values in self.values.items()}
        shares = {name: part / whole for name, (part, whole) in self.counts.items() if whole}
        return {**means, **shares}


def animate_by_loudness(audio: np.ndarray, frames: int) -> np.ndarray:
    """The baseline: `jawOpen` follows the loudness, 0.5 at its 95th percentile; `[frames, 52]`."""
    times_s = np.arange(frames) / MOTION_RATE_HZ
    loudness = metrics.measure_loudness(audio, SAMPLE_RATE_HZ, times_s)
    weights = np.zeros((frames, len(ARKIT_NAMES)), np.float32)
    scale = max(float(np.percentile(loudness, 95.0)), 1e-9)
    weights[:, ARKIT_INDEX["jawOpen"]] = np.clip(0.5 * loudness / scale, 0.0, 1.0)
    return weights


def animate_by_model(audio: np.ndarray, frames: int, model: Path | None) -> np.ndarray:
    """The bundle through the Talker at the corpus' motion rate, idle life off; `[frames, 52]`."""
    from dualtalker.animation import animate

    animation = animate(
        audio, SAMPLE_RATE_HZ, model=model, fps=float(MOTION_RATE_HZ), idle_motion=False
    )
    weights = animation.weights[:frames]
    return np.pad(weights, ((0, frames - len(weights)), (0, 0)), mode="edge")


def measure_clip(weights: np.ndarray, clip: Clip, rig: Rig, span: float, tally: Tally) -> None:
    """Add the figures of one clip's motion `[frames, 52]` to the tally."""
    times_s = np.arange(len(weights)) / MOTION_RATE_HZ
    gap = rig.lip_gap(weights)
    rest = float(rig.lip_gap(np.zeros((1, len(ARKIT_NAMES)), np.float32))[0])
    if clip.motion is not None and clip.style.startswith("captured"):
        truth = clip.motion
        loudness = metrics.measure_loudness(clip.audio, SAMPLE_RATE_HZ, times_s)
        speech = metrics.find_speech(loudness)
        jaw, true_jaw = metrics.jaw_opening(weights), metrics.jaw_opening(truth)
        tally.add("jaw r", metrics.correlate(jaw, true_jaw, speech))
        rounding, true_rounding = metrics.lip_rounding(weights), metrics.lip_rounding(truth)
        tally.add("rounding r", metrics.correlate(rounding, true_rounding, speech))
        true_gap = rig.lip_gap(truth)
        tally.add("lip gap r", metrics.correlate(gap, true_gap, speech))
        tally.add("offset ms", metrics.estimate_offset_ms(jaw, true_jaw, MOTION_RATE_HZ))
        jitter = metrics.measure_jitter(gap, MOTION_RATE_HZ)
        tally.add("jitter ratio", jitter / metrics.measure_jitter(true_gap, MOTION_RATE_HZ))
        lips = rig.lip_vertices
        errors = metrics.measure_lip_error(rig.pose(weights)[:, lips], rig.pose(truth)[:, lips])
        tally.add("LVE mm", errors["lve_mm"])
        tally.add("LVE mm2", errors["lve_squared_mm2"])
    if clip.phones:
        phones = [(p.label, p.start_s, p.end_s) for p in clip.phones]
        closed = metrics.find_closed(gap, rest, span)
        tally.count("closures met", *metrics.measure_closure_recall(closed, times_s, phones))
        wrong = metrics.measure_false_closures(closed, times_s, phones)
        tally.count("false closures", *wrong)


def measure_rest(rig: Rig, model: Path | None, speech_speed: float, tally: Tally) -> None:
    """Add the motion in silence and in noise, relative to speech (90th percentile of speed)."""
    samples = int(SILENCE_S * SAMPLE_RATE_HZ)
    frames = int(SILENCE_S * MOTION_RATE_HZ)
    rng = np.random.default_rng(0)
    quiet = [np.zeros(samples, np.float32), 1e-3 * make_noise(samples, rng)]
    loud = [level * make_noise(samples, rng) for level in (0.01, 0.03, 0.1) for _ in range(4)]
    for name, sounds in (("silence motion", quiet), ("noise motion", loud)):
        for sound in sounds:
            sound = np.clip(sound, -1.0, 1.0).astype(np.float32)
            gap = rig.lip_gap(animate_by_model(sound, frames, model))
            speed = metrics.measure_speed(gap, MOTION_RATE_HZ)
            tally.add(name, speed / max(speech_speed, 1e-9))


def evaluate(config: EvaluateConfig) -> dict[str, dict[str, float]]:
    """Return the figures of the model and of the loudness baseline.

    Raises:
        DualtalkerError: no corpus folder has a validation clip.
    """
    from tqdm import tqdm

    from dualtalker.head import build_head
    from dualtalker.rig_files import load_rig

    rig = load_rig(config.rig) if config.rig else build_head()
    clips = [c for folder in config.corpus for c in iterate_clips(folder, "validation")]
    clips = [c for c in clips if c.motion is not None]
    if not clips:
        raise DualtalkerError(
            f"found no validation clip with motion in {[str(f) for f in config.corpus]}; "
            "make some with `python -m training.corpus --holdout NAME`"
        )
    rest = float(rig.lip_gap(np.zeros((1, len(ARKIT_NAMES)), np.float32))[0])
    result = {}
    for contestant in ("loudness", "model"):
        motions = []
        for clip in tqdm(clips, desc=contestant, unit="clip"):
            if contestant == "model":
                motions.append(animate_by_model(clip.audio, clip.frames, config.model))
            else:
                motions.append(animate_by_loudness(clip.audio, clip.frames))
        gaps = np.concatenate([rig.lip_gap(motion) for motion in motions])
        span = float(np.percentile(gaps, 98.0)) - rest
        tally = Tally()
        for motion, clip in zip(motions, clips, strict=True):
            measure_clip(motion, clip, rig, span, tally)
        if contestant == "model":
            speed = metrics.measure_speed(gaps, MOTION_RATE_HZ)
            measure_rest(rig, config.model, speed, tally)
        result[contestant] = tally.result()
    return result


def format_table(figures: dict[str, dict[str, float]]) -> str:
    """Return the figures as a Markdown table, one row a figure."""
    names = list(dict.fromkeys(n for column in figures.values() for n in column))
    lines = [f"| figure | {' | '.join(figures)} |", "|---" * (len(figures) + 1) + "|"]
    for name in names:
        cells = [f"{c[name]:.3f}" if name in c else "–" for c in figures.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, print the table."""
    config = tyro.cli(EvaluateConfig, description=__doc__)
    try:
        figures = evaluate(config)
    except DualtalkerError as error:
        sys.exit(f"training.evaluate: {error}")
    print(format_table(figures))
    if config.json_out:
        config.json_out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
