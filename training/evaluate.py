"""Accuracy of a model bundle: `python -m training.evaluate NAME.onnx --corpus corpus_real`.

Runs the bundle through the same Talker that a robot runs, over the clips of a corpus that were
held out from training, and prints each figure beside those of the baselines (loudness drives the
jaw; the mean face; the nearest neighbor in audio) with what is required and aimed at, and those of
captured motion by source and talker, with intervals. With `--report DIR` it also writes one HTML
page with plots, error maps and a video, and JSON.

The conventions are those of `dualtalker/evaluation/table.py`; the formulas are in
`dualtalker/evaluation/metrics.py`.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import (
    CAPTURED,
    REPORTED,
    REQUIRED,
    SUBJECT,
    Columns,
    Picture,
    Recording,
    Report,
    ReportOptions,
    Tally,
    describe_shapes,
    draw_pictures,
    find_recorded_speech,
    gather_figures,
    measure_speeds,
    plan_report,
    tally_motions,
    write_report,
)
from dualtalker.files import ending_in_order, refuse_foreign, write_output
from dualtalker.model import Bundle, load_bundle
from dualtalker.rig import Rig
from training.data import Clip, digest_of
from training.evaluation import (
    CAPTURED_MOTION,
    Animate,
    Loudness,
    NearestNeighbor,
    Sweep,
    Voices,
    animate_by_model,
    bound_labelled,
    draw_training_clips,
    find_mean_face,
    list_groups,
    list_headline_figures,
    make_voices,
    measure_capture,
    measure_full_loudness,
    measure_group,
    measure_silence,
    measure_speech_level,
    measure_tick_ms,
    measure_voices,
    pick_headlines,
    read_held_out,
    read_training,
    sweep_noise,
    sweep_noisy_speech,
    tabulate_groups,
    to_recording,
)

NEIGHBOR_S = 600.0  # of each style's training clips that the nearest neighbor is sought in
HEADLINE_SNR_DB = 10.0
_BOUNDED = (
    "closures met, unseen speakers",
    "false closures, unseen speakers",
    "lip-teeth contact, unseen speakers",
    "closures met",
    "false closures",
    "lip-teeth contact",
)


@dataclass
class EvaluateConfig:
    """Measure one bundle on held-out clips."""

    model: tyro.conf.Positional[Path | None] = None
    """Bundle (.onnx); the shipped model if not given."""
    corpus: tuple[Path, ...] = (Path("corpus"),)
    """Folders of clips; those whose split is `validation` are measured."""
    suite: Literal["default", "clips"] = "default"
    """`default`: the whole table; `clips`: only what the recordings tell, without trials."""
    rig: Path | None = None
    """Face on which the lip gap is measured (.npz, .glb, folder of OBJs); the default head."""
    reader: Path | None = None
    """Checkpoint (.safetensors) whose lip reader gives the phone error rates."""
    report: Path | None = None
    """Folder for report.html and report.json."""
    json_out: Path | None = None
    """Also write the figures here as JSON (for `engines.export_onnx --metrics`)."""
    markdown: Path | None = None
    """Also write the facts and the tables here as Markdown (for a model card)."""
    video_s: float = 8.0
    """Length of the report's video, seconds; 0 for none."""
    trial_s: float = 4.0
    """Length of each silence and noise, seconds."""
    timing_s: float = 10.0
    """How long the paced timing runs, seconds; 0 leaves it out."""


def list_contestants(
    bundle: Bundle,
    clips: list[Clip],
    recordings: list[Recording],
    rig: Rig,
    config: EvaluateConfig,
) -> dict[str, Animate]:
    """Return the model and the baselines, loudness first, as functions from sound to motion."""
    training = read_training(config.corpus)
    drawn = list(draw_training_clips(config.corpus, training, NEIGHBOR_S))
    full = measure_full_loudness((r.audio, r.times_s) for r in recordings)
    loudness = Loudness(drawn, rig, full)
    contestants: dict[str, Animate] = {loudness.name: loudness.animate}
    if drawn:
        faces = {style: find_mean_face(drawn, style) for style in {c.style for c in clips}}
        neighbor = NearestNeighbor(drawn)
        contestants["mean face"] = lambda _, frames, style: np.tile(faces[style], (frames, 1))
        contestants["nearest neighbor"] = neighbor.animate
    contestants[SUBJECT] = lambda audio, frames, _: animate_by_model(audio, frames, bundle)
    return contestants


def try_contestant(
    animate: Animate,
    clips: list[Clip],
    recordings: list[Recording],
    motions: list[np.ndarray],
    voices: Voices,
    rig: Rig,
    trial_s: float,
) -> tuple[dict[str, float], dict[str, Sweep]]:
    """Return the figures of the trials, and the sweeps behind them for drawing."""
    speed, _ = measure_speeds(recordings, [rig.lip_gap(motion) for motion in motions])
    levels = [measure_speech_level(r.audio, find_recorded_speech(r)) for r in recordings]
    level, style = float(np.median(levels)), clips[0].style
    noise = sweep_noise(animate, rig, speed, level, style, trial_s)
    by_kind = {kind: float(np.mean(list(points.values()))) for kind, points in noise.items()}
    figures = {
        "silence motion": measure_silence(animate, rig, speed, style, trial_s),
        "noise motion": float(np.mean(list(by_kind.values()))),
        **{f"noise motion, {kind}": moved for kind, moved in by_kind.items()},
    }
    figures |= measure_voices(animate, rig, voices, clips, recordings, motions)
    sweeps = {"noise": noise}
    noisy = sweep_noisy_speech(animate, clips)
    if noisy:
        losses = [points[HEADLINE_SNR_DB] for points in noisy.values()]
        figures["noisy speech loss"] = float(np.mean(losses))
        sweeps["noisy speech"] = noisy
    return figures, sweeps


def measure_bundle(bundle: Bundle, timing_s: float) -> dict[str, float]:
    """Lookahead, size and time of a tick."""
    files = (bundle.onnx_path, bundle.onnx_path.with_suffix(".json"))
    figures = {
        "lookahead ms": bundle.sidecar.lookahead_s * 1e3,
        "size MB": sum(path.stat().st_size for path in files) / 1e6,
    }
    if timing_s > 1.0:
        figures["step p99 ms"] = measure_tick_ms(bundle, timing_s)
    return figures


def read_lips(
    checkpoint: Path, clips: list[Clip], motions: dict[str, list[np.ndarray]]
) -> dict[str, dict[str, float]]:
    """Phone error rates by contestant, on the clips that have labels; {} if none has."""
    from training.evaluation import LipReader, read_clips

    kept = [k for k, clip in enumerate(clips) if clip.phones]
    if not kept:
        return {}
    reader = LipReader.load(checkpoint)
    labelled = [clips[k] for k in kept]
    rates = {
        name: {"phone error rate": read_clips(reader, labelled, [tracks[k] for k in kept])}
        for name, tracks in motions.items()
    }
    truth = [c.motion for c in labelled if c.motion is not None]
    rates[SUBJECT]["phone error rate, true"] = read_clips(reader, labelled, truth)
    return rates


def measure_accuracy(
    recordings: list[Recording], motions: dict[str, list[np.ndarray]], rig: Rig
) -> tuple[Columns, ReportOptions]:
    """Return each contestant's figures on the recordings; options with rows and tables of them.

    Captured motion is also told by source and talker: those rows say what is required.
    """
    groups = list_groups(recordings)
    columns: Columns = {}
    by_group: dict[str, Columns] = {CAPTURED_MOTION: measure_capture(groups, recordings, rig)}
    for name, tracks in motions.items():
        tallies: list[Tally] = tally_motions(recordings, tracks, rig)
        found = gather_figures(recordings, tracks, rig, tallies)
        found |= bound_labelled(recordings, tallies, [key for key in _BOUNDED if key in found])
        by_group[name] = {g.name: measure_group(g, recordings, tallies) for g in groups}
        if groups:  # the further table tells the mouth's other shapes
            shapes = tuple(figure.key for figure in describe_shapes())
            found = {key: value for key, value in found.items() if not key.startswith(shapes)}
        columns[name] = found | pick_headlines(groups, by_group[name])
    options = ReportOptions(subject=SUBJECT, details={"groups": by_group})
    if groups:
        headlines = list_headline_figures(groups, list(columns[SUBJECT]))
        overall = [replace(f, required=None, aim=None) for f in CAPTURED]
        overall = [replace(f, label=f"{f.label}, all captured") for f in overall]
        rest = [figure for figure in REQUIRED if figure not in CAPTURED]
        options.figures = (*headlines, *rest, *overall, *REPORTED)
        baseline = next(iter(motions))
        options.tables = (tabulate_groups(groups, recordings, by_group, SUBJECT, baseline),)
    return columns, options


def run_evaluation(config: EvaluateConfig) -> Report:
    """Measure the model and the baselines and return the report; written where it is asked for.

    Raises:
        DualtalkerError: no corpus folder has a validation clip, or the bundle is broken.
    """
    from tqdm import tqdm

    from dualtalker.rig import load_rig
    from dualtalker.rig.robot_head import build_head

    if config.report is not None:
        plan_report(config.report)
    refuse_foreign(*filter(None, [config.json_out, config.markdown]))
    rig = load_rig(config.rig) if config.rig else build_head()
    bundle = load_bundle(config.model)
    clips = read_held_out(config.corpus)
    training = read_training(config.corpus)
    recordings = [to_recording(clip, training) for clip in clips]
    contestants = list_contestants(bundle, clips, recordings, rig, config)
    motions: dict[str, list[np.ndarray]] = {}
    for name, animate in contestants.items():
        bar = tqdm(clips, desc=name, unit="clip")
        motions[name] = [animate(clip.audio, clip.frames, clip.style) for clip in bar]
    columns, options = measure_accuracy(recordings, motions, rig)
    sweeps: dict[str, Sweep] = {}
    if config.suite == "default":
        voices = make_voices(clips, recordings)
        for name, animate in tqdm(contestants.items(), desc="trials", unit="contestant"):
            trials, sweeps = try_contestant(
                animate, clips, recordings, motions[name], voices, rig, config.trial_s
            )
            columns[name] |= trials
        columns[SUBJECT] |= measure_bundle(bundle, config.timing_s)
    if config.reader is not None:
        for name, rates in read_lips(config.reader, clips, motions).items():
            columns[name] |= rates
    options.title = f"Evaluation of {bundle.onnx_path.name}"
    options.filmed = (SUBJECT, next(iter(contestants)))
    options.video_s = config.video_s
    options.facts = _list_facts(bundle, config, rig, recordings)
    pictures = []
    if config.report is not None:
        pictures = draw_pictures(recordings, motions, rig, options) + _draw_sweeps(sweeps)
    return write_report(config.report, columns, [r.name for r in recordings], pictures, options)


def _draw_sweeps(sweeps: dict[str, Sweep]) -> list[Picture]:
    """Plots of the model's sweeps over the signal-to-noise ratio."""
    from dualtalker.evaluation import draw_sweep

    pictures = []
    x = "noise below speech (dB)"
    if "noise" in sweeps:
        drawn = draw_sweep(sweeps["noise"], x, "lip speed / speech")
        text = "90th percentile of the lip gap's speed in noise alone, relative to speech."
        pictures.append(Picture("Mouth motion in noise alone", text, "svg", drawn))
    if "noisy speech" in sweeps:
        drawn = draw_sweep(sweeps["noisy speech"], x, "loss of jaw r")
        text = "Jaw r of the clean recording less that in noise."
        pictures.append(Picture("Speech in noise", text, "svg", drawn))
    return pictures


def _list_facts(
    bundle: Bundle, config: EvaluateConfig, rig: Rig, recordings: list[Recording]
) -> dict[str, str]:
    """Lines that tell what was measured on what."""
    seconds = sum(r.frames / r.fps for r in recordings)
    corpora = ", ".join(f"{f.name} ({digest_of(f)[:12]})" for f in config.corpus)
    return {
        "Model": f"{bundle.onnx_path.name}, SHA-256 {bundle.digest[:12]}",
        "Validation clips": f"{len(recordings)}, {seconds:.0f} s, of {corpora}",
        "Rig": f"{rig.name}, {len(rig.lip_vertices)} lip vertices",
        "Machine": f"{platform.machine()}, Python {platform.python_version()}",
    }


@ending_in_order()
def main() -> None:
    """Parse the command line, measure, print the table with its conventions."""
    config = tyro.cli(EvaluateConfig, description=__doc__)
    try:
        report = run_evaluation(config)
        print(report.to_text())
        if config.json_out is not None:
            report.write_figures(config.json_out)
        if config.markdown is not None:
            write_output(config.markdown, report.to_markdown())
    except DualtalkerError as error:
        sys.exit(f"training.evaluate: {error}")


if __name__ == "__main__":
    main()
