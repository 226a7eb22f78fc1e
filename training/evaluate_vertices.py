"""Accuracy of a checkpoint on meshes of VOCASET or BIWI; blendshapes: `training.evaluate`.

    python -m training.evaluate_vertices CHECKPOINT --vertices vocaset/ --split test

Measures the vertex head of a checkpoint on clips of `python -m training.prepare vocaset|biwi`,
beside baselines: the face at rest, the mean face, loudness, the nearest neighbor in audio. Prints
the conventions and which lip and upper-face vertices were used.
"""

from __future__ import annotations

import itertools
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import tyro

from dualtalker.errors import DualtalkerError
from dualtalker.evaluation import (
    SUBJECT,
    Columns,
    Picture,
    Report,
    ReportOptions,
    plan_report,
    write_report,
)
from dualtalker.files import ending_in_order, refuse_foreign
from training.data import VertexClip, VertexCorpus, VertexSet, read_clip, read_corpus
from training.datasets import read_vertex_set
from training.evaluation import (
    VERTEX_FIGURES,
    MeshTally,
    Perform,
    Pose,
    Ruler,
    UnitReader,
    find_clip_speech,
    learn_baselines,
)
from training.learning import name_head, name_style

if TYPE_CHECKING:
    from training.network import DualTalker


@dataclass
class EvaluateVerticesConfig:
    """Measure the vertex head of one checkpoint on recorded meshes."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint of `python -m training.train` (.safetensors) with a head for this data."""
    vertices: Path = Path("vertices")
    """Folder written by `python -m training.prepare vocaset|biwi`."""
    split: str = "validation"
    """Which clips are measured: `validation`; `test`, or BIWI's `test-a` and `test-b`."""
    condition: Literal["mean", "each"] = "mean"
    """How subjects move who were never trained on: in the `mean` of the trained styles, or in
    `each` in turn, with the figures' mean over styles (as VOCA and FaceFormer condition)."""
    lips: Path | None = None
    """File of lip vertices (.txt, .npy, .json, .pkl) instead of the prepared set."""
    upper_face: Path | None = None
    """File of upper-face vertices, likewise."""
    reader: Path | None = None
    """Checkpoint whose lip reader judges; by default the one that is measured."""
    clips: int = 0
    """Most clips that are measured; 0 for all."""
    report: Path | None = None
    """Folder for report.html and report.json."""
    json_out: Path | None = None
    """Also write the bare figures here as JSON."""
    video_s: float = 8.0
    """Length of the report's video, seconds; 0 for none."""


class MeshModel:
    """A network on one data set, in every style that it is to be measured in."""

    def __init__(self, network: DualTalker, corpus: VertexCorpus, condition: str) -> None:
        """Raises `DualtalkerError` where the network has no head for this mesh."""
        plans = {plan.name: plan for plan in network.head_plans}
        head = name_head(corpus)
        if head not in plans or plans[head].vertices != corpus.vertex_count:
            found = [f"{plan.name} ({plan.vertices} vertices)" for plan in plans.values()]
            raise DualtalkerError(
                f"the checkpoint has heads {found or 'for blendshapes only'}, expected {head} "
                f"({corpus.vertex_count} vertices): train it with --data.vertices "
                f"{corpus.folder}, or evaluate a blendshape bundle with `python -m "
                "training.evaluate`"
            )
        self.network, self.corpus, self.condition = network, corpus, condition
        indices = network.styles_of(head)
        assert indices is not None
        self.styles = [network.animation.styles[i] for i in indices.tolist()]

    def knows(self, subject: str) -> bool:
        """Tell whether the subject was trained on."""
        return name_style(self.corpus, subject) in self.styles

    def list_performers(self, subjects: set[str]) -> dict[str, Perform]:
        """Contestants by name: the model, or one for each style strangers are shown in."""
        if self.condition == "mean" or all(self.knows(subject) for subject in subjects):
            return {SUBJECT: self.perform}
        return {f"{SUBJECT} as {s}": partial(self.perform, style=s) for s in self.styles}

    def perform(self, clip: VertexClip, style: str | None = None) -> Pose:
        """Animate a clip: known subjects as themselves, others in `style` or the mean of all."""
        from training.learning import move_mesh, pose_mesh

        mixture = None if style is None or self.knows(clip.subject) else {style: 1.0}
        moved = move_mesh(self.network, clip, self.corpus, mixture)
        return lambda frames: pose_mesh(self.network, moved[frames], clip, self.corpus)


def run_vertex_evaluation(config: EvaluateVerticesConfig) -> Report:
    """Measure the model and the baselines; written to files where that is asked for.

    Raises:
        DualtalkerError: the checkpoint or the folder is broken, they do not belong together, or
            the split has no clips.
    """
    from tqdm import tqdm

    from training.learning import load_network

    if config.report is not None:
        plan_report(config.report)
    refuse_foreign(*filter(None, [config.json_out]))
    corpus = _choose_sets(read_corpus(config.vertices), config)
    network, checkpoint = load_network(config.checkpoint)
    model = MeshModel(network, corpus, config.condition)
    chosen = list_clips(corpus, config)
    subjects = {row["subject"] for row in corpus.index["clips"] if row["name"] in set(chosen)}
    baselines = learn_baselines(corpus)
    ruler = Ruler(corpus, corpus.lips, corpus.upper_face, baselines.opening)
    shown = model.list_performers(subjects)
    performers: dict[str, Perform] = {
        "rest": baselines.rest,
        "mean face": baselines.mean_face,
        "loudness": baselines.loudness,
        "nearest neighbor": baselines.nearest_neighbor,
        **shown,
    }
    reader = UnitReader.load(
        config.reader or config.checkpoint, name_head(corpus), corpus.vertex_count
    )
    bar = tqdm(chosen, desc=corpus.dataset, unit="clip")
    clips = (read_clip(corpus, name) for name in bar)
    measured = measure_meshes(clips, performers, ruler, reader)
    columns, by_style = _combine(measured, list(shown))
    same = any(row.get("digest") == corpus.digest for row in checkpoint.meta.get("data", []))
    facts = {
        "Model": f"{config.checkpoint.name}, step {checkpoint.meta.get('step', '?')}, "
        + ("trained on this folder" if same else "NOT trained on this folder as it is now"),
        **_list_facts(config, corpus, model, subjects, len(chosen), reader is not None),
    }
    pictures: list[Picture] = []
    if config.report is not None:
        first = read_clip(corpus, chosen[0])
        pictures = _draw(config, ruler, first, performers, measured, next(iter(shown)))
    options = ReportOptions(
        title=f"Evaluation of {config.checkpoint.name} on {corpus.dataset}",
        subject=SUBJECT,
        facts=facts,
        figures=VERTEX_FIGURES,
        details={"split": config.split, "by_style": by_style, "digest": corpus.digest},
    )
    return write_report(config.report, columns, chosen, pictures, options)


def list_clips(corpus: VertexCorpus, config: EvaluateVerticesConfig) -> tuple[str, ...]:
    """Names of the clips to measure. Raises `DualtalkerError` where there are none."""
    names = corpus.splits.get(config.split, ())
    if not names:
        found = {split: len(members) for split, members in corpus.splits.items()}
        raise DualtalkerError(
            f"{corpus.folder} has no clips of split {config.split!r}, only {found}: give --split"
        )
    return names[: config.clips or None]


def measure_meshes(
    clips: Iterator[VertexClip],
    performers: dict[str, Perform],
    ruler: Ruler,
    reader: UnitReader | None = None,
) -> dict[str, MeshTally]:
    """Measure all contestants on all clips; of vertices one block of frames is in memory."""
    measured = {name: MeshTally(ruler) for name in performers}
    for clip in clips:
        speech = find_clip_speech(clip)
        truth: tuple[int, int] | None = None
        if reader is not None:
            truth = reader.count_errors(clip, show_recording(clip))
        for name, perform in performers.items():
            pose = perform(clip)
            measured[name].add(clip, pose, speech)
            if reader is not None and truth is not None:
                reading = measured[name].tally
                reading.count("unit error rate", *reader.count_errors(clip, pose))
                if name.startswith(SUBJECT):
                    reading.count("unit error rate, true", *truth)
    return measured


def show_recording(clip: VertexClip) -> Pose:
    """The recorded motion itself."""
    return lambda frames: np.asarray(clip.vertices[frames])


def _combine(measured: dict[str, MeshTally], shown: list[str]) -> tuple[Columns, Columns]:
    """Figures by contestant, the model's as the mean over styles; and its figures by style."""
    by_style = {name: measured[name].result() for name in shown}
    columns = {name: tally.result() for name, tally in measured.items() if name not in shown}
    keys = next(iter(by_style.values()))
    columns[SUBJECT] = {
        key: float(np.mean([figures[key] for figures in by_style.values() if key in figures]))
        for key in keys
    }
    return columns, by_style if len(by_style) > 1 else {}


def _choose_sets(corpus: VertexCorpus, config: EvaluateVerticesConfig) -> VertexCorpus:
    """The corpus with the vertex sets that the user gave in place of its own."""
    sets: dict[str, VertexSet] = {}
    for part in ("lips", "upper_face"):
        path: Path | None = getattr(config, part)
        if path is not None:
            sets[part] = read_vertex_set(path, part, corpus.vertex_count)
    return replace(corpus, **sets)  # type: ignore[arg-type]


def _list_facts(
    config: EvaluateVerticesConfig,
    corpus: VertexCorpus,
    model: MeshModel,
    subjects: set[str],
    clips: int,
    reads: bool,
) -> dict[str, str]:
    """Lines that tell what was measured on what, and by which convention."""
    strangers = sorted(s for s in subjects if not model.knows(s))
    manner = {
        "mean": "in the mean of the trained styles",
        "each": f"in each of the {len(model.styles)} trained styles in turn, figures averaged",
    }[config.condition]
    facts = {
        "Clips": f"{clips} of split {config.split} of {corpus.folder.name} "
        f"({corpus.digest[:12]}), {corpus.fps:g} Hz, {corpus.vertex_count} vertices, unit: "
        f"{corpus.unit}",
        "Lips": _describe(corpus.lips, "LVE"),
        "Upper face": _describe(corpus.upper_face, "FDD"),
        "Subjects": f"{len(subjects) - len(strangers)} trained on, in their own style; "
        f"{len(strangers)} not trained on" + (f", shown {manner}" if strangers else ""),
        "Frames": "errors are means over the frames of all clips together; a motion of other "
        "length than the recording is refused, not cut",
    }
    if not reads:
        facts["Lip reading"] = "not measured: the checkpoint's reader has no acoustic units here"
    if find_spec("torchmetrics") is None:
        facts["torchmetrics"] = "not installed, so its LVE is left out: pip install torchmetrics"
    if not len(corpus.triangles):
        facts["Pictures"] = (
            "no triangles, so neither video nor error map: prepare with --topology FILE"
        )
    facts["Machine"] = f"{platform.machine()}, Python {platform.python_version()}"
    return facts


def _describe(found: VertexSet, figure: str) -> str:
    if not len(found.indices):
        return f"no set known, so no {figure}: give one with a flag"
    return f"{len(found.indices)} vertices ({found.source})"


def _draw(
    config: EvaluateVerticesConfig,
    ruler: Ruler,
    clip: VertexClip,
    performers: dict[str, Perform],
    measured: dict[str, MeshTally],
    shown: str,
) -> list[Picture]:
    """Video and curves of one clip beside loudness; error maps of all contestants."""
    from training.evaluation import draw_mesh_pictures

    poses = {name: performers[name](clip) for name in (shown, "loudness")}
    kept = itertools.chain((n for n in performers if not n.startswith(SUBJECT)), (shown,))
    maps = {name: measured[name].map_errors() for name in kept}
    return draw_mesh_pictures(ruler, clip, poses, maps, config.video_s)


@ending_in_order()
def main() -> None:
    """Parse the command line, measure, print the table with its conventions."""
    config = tyro.cli(EvaluateVerticesConfig, description=__doc__)
    try:
        report = run_vertex_evaluation(config)
        print(report.to_text())
        if config.json_out is not None:
            report.write_figures(config.json_out)
    except DualtalkerError as error:
        sys.exit(f"training.evaluate_vertices: {error}")


if __name__ == "__main__":
    main()
