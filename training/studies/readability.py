"""Can the words be read from the lips? A reader taught on captured motion judges any motion.

    python -m training.studies.readability --corpus corpus_grid --out runs/readability \\
        --models NAME.onnx CHECKPOINT.safetensors

Teaches a reader of words (`training.studies.word_reader`) on the captured training clips, and
lets it read the held-out sentences from the captured motion, from that of models and baselines,
and from captured motion that is smoothed: word accuracy by talker, with 95 % intervals over
sentences. Each model's motion is also read by a reader that was taught on that model's own motion
of the training sentences: what only that one reads is there, but not as in a face. Writes
`readability.md`, `readability.json` and `readability.svg`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from dualtalker.drawing import new_figure, to_svg
from dualtalker.errors import DualtalkerError
from dualtalker.files import claim_folder, ending_in_order, write_output
from dualtalker.rig.robot_head import build_head
from training.data import (
    CHANNELS,
    MOTION_RATE_HZ,
    Clip,
    load_clips,
    rule_motion,
)
from training.evaluation import Loudness, animate_by_model, measure_full_loudness
from training.learning import load_network
from training.studies.ablation import animate_clip
from training.studies.word_reader import (
    Pattern,
    WordReader,
    normalize,
    show_lips,
    smooth,
    teach_reader,
)

Move = Callable[[Clip], np.ndarray | None]
"""Weights `[frames, 52]` for a clip, or None where this way of moving cannot tell any."""
TRUE = "captured motion"
PLAIN = "reader that saw captured motion as it is"
VARIED = "reader"
OWN = "reader taught on this motion"
SMOOTHINGS_MS = (20, 40, 60, 80, 120)


@dataclass
class ReadabilityConfig:
    """Read words from motion, and say how many are right."""

    corpus: tuple[Path, ...]
    """Folders of captured clips whose transcripts are sentences of one pattern."""
    models: tuple[Path, ...] = ()
    """Bundles (.onnx) and checkpoints (.safetensors) whose animation is read."""
    out: Path = Path("runs/readability")
    """Folder to fill."""
    seed: int = 0
    """Seed of the readers' variation."""
    own_readers: bool = True
    """Also teach a reader on each model's own motion."""
    threads: int = 1
    """CPU threads for torch."""


@dataclass
class Material:
    """The sentences, and the pattern that they follow."""

    train: list[Clip]
    held: list[Clip]
    pattern: Pattern

    @classmethod
    def read(cls, folders: Sequence[Path]) -> Material:
        """Read the captured clips with words. DualtalkerError where there is nothing to learn."""
        clips = [c for folder in folders for c in load_clips(folder)]
        clips = [c for c in clips if c.motion is not None and c.transcript]
        clips = [c for c in clips if c.style.startswith("captured")]
        train = [c for c in clips if c.split == "train"]
        held = [c for c in clips if c.split == "validation"]
        if not train or not held:
            raise DualtalkerError(
                f"found {len(train)} training and {len(held)} held-out captured clips with words "
                f"in {[str(f) for f in folders]}, expected both: `python -m training.corpus "
                "--lips DIR --holdout NAME` makes them"
            )
        return cls(train, held, Pattern.of([c.transcript or "" for c in train]))

    @property
    def talkers(self) -> list[str]:
        """Talkers of held-out sentences."""
        return sorted({clip.speaker for clip in self.held})


def list_ways(config: ReadabilityConfig, material: Material) -> dict[str, Move]:
    """Return the ways of moving that are read, by name: captured, models, baselines."""
    head = build_head()
    ways: dict[str, Move] = {TRUE: lambda clip: clip.motion}
    for path in config.models:
        ways[name_model(path, config.models)] = move_by(path)
    full = measure_full_loudness(
        (c.audio, np.arange(c.frames) / MOTION_RATE_HZ) for c in material.held
    )
    loudness = Loudness(material.train, head, full)
    ways["loudness"] = lambda clip: loudness.animate(clip.audio, clip.frames, clip.style)
    ways["rules, from known phones"] = move_by_rule
    ways["a face at rest"] = lambda clip: np.zeros((clip.frames, CHANNELS), np.float32)
    return ways


def name_model(path: Path, others: Sequence[Path]) -> str:
    """What a model is called: its file's name, or with its folder's where others are called so."""
    alike = [other for other in others if other.name == path.name]
    return path.stem if len(alike) == 1 else f"{path.parent.name}/{path.stem}"


def move_by(path: Path) -> Move:
    """Return how a bundle or a checkpoint moves. DualtalkerError where the file is broken."""
    if path.suffix == ".onnx":
        return lambda clip: animate_by_model(clip.audio, clip.frames, path)
    network, _ = load_network(path)
    return lambda clip: animate_clip(network, clip)


def move_by_rule(clip: Clip) -> np.ndarray | None:
    """Return the motion that the clip's known phones ask for, or None where nobody knows them."""
    if clip.phones is None:
        return None
    moved = rule_motion(clip.phones, clip.duration_s, MOTION_RATE_HZ)[: clip.frames]
    return np.pad(moved, ((0, clip.frames - len(moved)), (0, 0)), mode="edge")


def see(clips: Sequence[Clip], move: Move) -> dict[str, np.ndarray]:
    """Return what the lips show, by clip's name, each talker's curves scaled by all of them."""
    head = build_head()
    seen: dict[str, np.ndarray] = {}
    for speaker in {clip.speaker for clip in clips}:
        moved = [(c, m) for c in clips if c.speaker == speaker and (m := move(c)) is not None]
        curves = normalize([show_lips(m, head) for _, m in moved]) if moved else []
        seen |= {c.name: shown for (c, _), shown in zip(moved, curves, strict=True)}
    return seen


def count_words(
    reader: WordReader, clips: Sequence[Clip], seen: dict[str, np.ndarray]
) -> np.ndarray | None:
    """Return 1 where a word was read right `[sentences, places]`; None where nothing was seen."""
    own = [clip for clip in clips if clip.name in seen]
    if not own:
        return None
    read = reader.read([seen[clip.name] for clip in own])
    said = [(clip.transcript or "").split() for clip in own]
    return np.array(
        [[a == b for a, b in zip(*pair, strict=True)] for pair in zip(read, said, strict=True)]
    )


def bound_accuracy(hits: np.ndarray) -> tuple[float, float, float]:
    """Return word accuracy and its 95 % interval by the bootstrap over sentences."""
    from scipy.stats import bootstrap

    each = hits.mean(1)
    if len(each) < 2 or each.std() == 0:
        return float(each.mean()), float(each.mean()), float(each.mean())
    interval = bootstrap(
        (each,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return float(each.mean()), float(interval.low), float(interval.high)


def study_readability(config: ReadabilityConfig) -> list[dict[str, Any]]:
    """Teach, read, and return a row for each reader, way of moving and talker.

    Raises:
        DualtalkerError: the corpus has no such sentences, or a model is broken.
    """
    torch.set_num_threads(config.threads)
    claim_folder(config.out, "readability.json")
    material = Material.read(config.corpus)
    ways = list_ways(config, material)
    rows: list[dict[str, Any]] = []
    true = see([*material.train, *material.held], ways[TRUE])
    held = {name: see(material.held, move) for name, move in ways.items() if name != TRUE}
    held = {TRUE: true} | held
    readers = {VARIED: _teach(config, material, true, varied=True)}
    readers[PLAIN] = _teach(config, material, true, varied=False)
    for kind, reader in readers.items():
        for name, seen in held.items():
            rows += _judge(kind, name, reader, material, seen)
    for smoothing_ms in SMOOTHINGS_MS:
        dulled = {n: smooth(curves, smoothing_ms / 1e3) for n, curves in true.items()}
        name = f"{TRUE}, smoothed {smoothing_ms} ms"
        rows += _judge(VARIED, name, readers[VARIED], material, dulled)
    for path in config.models if config.own_readers else ():
        name = name_model(path, config.models)
        own = see(material.train, ways[name]) | held[name]
        rows += _judge(OWN, name, _teach(config, material, own, varied=True), material, own)
    return rows


def _teach(
    config: ReadabilityConfig, material: Material, seen: dict[str, np.ndarray], varied: bool
) -> WordReader:
    return teach_reader(
        material.train,
        [seen[clip.name] for clip in material.train],
        material.pattern,
        config.seed,
        varied,
    )


def _judge(
    kind: str, way: str, reader: WordReader, material: Material, seen: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for talker in material.talkers:
        hits = count_words(reader, [c for c in material.held if c.speaker == talker], seen)
        if hits is not None:
            accuracy, low, high = bound_accuracy(hits)
            rows.append(
                {
                    "reader": kind,
                    "motion": way,
                    "talker": talker,
                    "sentences": len(hits),
                    "accuracy": accuracy,
                    "low": low,
                    "high": high,
                    "by place": hits.mean(0).round(4).tolist(),
                }
            )
    return rows


def format_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table: a row for each reader and way of moving, a column a talker."""
    counts = {row["talker"]: row["sentences"] for row in rows if row["motion"] == TRUE}
    heads = [f"{talker} ({count} sentences)" for talker, count in counts.items()]
    lines = [f"| motion | read by | {' | '.join(heads)} |", "|---" * (len(heads) + 2) + "|"]
    for way, kind in dict.fromkeys((row["motion"], row["reader"]) for row in rows):
        cells = []
        for talker in counts:
            found = [
                r for r in rows if (r["motion"], r["reader"], r["talker"]) == (way, kind, talker)
            ]
            cells.append(_tell(found[0]) if found else "–")
        lines.append(f"| {way} | {kind} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _tell(row: dict[str, Any]) -> str:
    return f"{row['accuracy']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def draw(rows: Sequence[dict[str, Any]]) -> str:
    """Draw the accuracy of each way of moving with its interval, talker by talker, as SVG."""
    shown = [row for row in rows if row["reader"] in (VARIED, OWN)]
    names = list(dict.fromkeys((r["motion"], r["reader"]) for r in shown))
    talkers = list(dict.fromkeys(r["talker"] for r in shown))
    figure = new_figure((7.5, 1.2 + 0.3 * len(names)))
    axis = figure.subplots()
    for number, talker in enumerate(talkers):
        own = [row for row in shown if row["talker"] == talker]
        places = [names.index((r["motion"], r["reader"])) + 0.18 * number for r in own]
        middle = np.array([r["accuracy"] for r in own])
        spread = [middle - [r["low"] for r in own], np.array([r["high"] for r in own]) - middle]
        axis.errorbar(middle, places, xerr=np.abs(spread), fmt="o", capsize=2, label=talker)
    labels = [way if kind == VARIED else f"{way}, by its own reader" for way, kind in names]
    axis.set_yticks(range(len(names)), labels)
    axis.invert_yaxis()
    axis.set_xlim(0.0, 1.0)
    axis.set_xlabel("words read right (95 % interval over sentences)")
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8)
    return to_svg(figure)


@ending_in_order()
def main() -> None:
    """Teach, read, write."""
    config = tyro.cli(ReadabilityConfig, description=__doc__)
    try:
        rows = study_readability(config)
    except DualtalkerError as error:
        sys.exit(f"training.studies.readability: {error}")
    write_output(config.out / "readability.json", json.dumps(rows, indent=1) + "\n")
    write_output(config.out / "readability.svg", draw(rows))
    table = format_table(rows)
    write_output(config.out / "readability.md", table)
    print(table)


if __name__ == "__main__":
    main()
