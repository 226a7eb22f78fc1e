"""Why a term does nothing: how hard each pulls on each part of the network, and which way.

    python -m training.studies.gradients --corpus corpus_real --out runs/gradients

Trains one small network of `training.ablate` with all terms and, every so many steps, measures
each weighted term's gradient on the parts that the tasks share: its norm, and its cosine with that
of the terms that compare motion. Beside them stand what the consistency term tells apart, and
its temperature. Writes `gradients.md`, `gradients.json` and `gradients.svg`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from dualtalker.drawing import new_figure, to_svg
from dualtalker.errors import DualtalkerError
from dualtalker.files import claim_folder, ending_in_order, write_output
from training.configs import TrainConfig
from training.learning import Batch, Run, prepare, take_step
from training.network import DualTalker, contrast_instants
from training.studies.ablation import DUAL_TERMS, small_run

PRIMARY = "primary"
"""The terms that compare motion and contacts, together."""
PARTS = ("audio encoder", "animation", "likelihood scale", "motion encoder", "lip reader")
_NEAR_FRAMES = 5  # 100 ms: what is so near in a clip is hardly another instant


@dataclass
class GradientsConfig:
    """Measure the terms' gradients during one training."""

    corpus: tuple[Path, ...] = (Path("corpus"),)
    """Folders written by `python -m training.corpus`."""
    out: Path = Path("runs/gradients")
    """Folder to fill."""
    every: int = 50
    """Steps from one measurement to the next."""
    batches: int = 4
    """Batches of a measurement; norms and cosines are means over them."""
    train: TrainConfig = field(default_factory=small_run)
    """The training; its corpus and folder are set by the command."""


def list_parts(network: DualTalker) -> dict[str, list[nn.Parameter]]:
    """Return the parameters of each part of `PARTS`."""
    scale = network.animation.log_scale
    return {
        "audio encoder": list(network.audio_encoder.parameters()),
        "animation": [p for p in network.animation.parameters() if p is not scale],
        "likelihood scale": [scale],
        "motion encoder": list(network.motion_encoder.parameters()),
        "lip reader": list(network.lip_reader.parameters()),
    }


def measure_gradients(run: Run, batch: Batch, number: int) -> dict[str, dict[str, Tensor]]:
    """Return each weighted term's gradient on each part, flat, by term and part.

    The terms of the primary task are one, `PRIMARY`. Nothing is learned.
    """
    generator = torch.Generator().manual_seed(number)
    on = run.step >= run.config.dual_start_step
    terms, _ = run.objective.measure(batch, generator, on)
    weighted = {name: getattr(run.config.loss, name) * value for name, value in terms.items()}
    pulls = {name: value for name, value in weighted.items() if name in DUAL_TERMS}
    pulls[PRIMARY] = torch.stack([v for n, v in weighted.items() if n not in DUAL_TERMS]).sum()
    parts = list_parts(run.network)
    parameters = [p for part in parts.values() for p in part]
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in pulls.items():
        each = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        flat = [
            (torch.zeros_like(p) if g is None else g).flatten()
            for p, g in zip(parameters, each, strict=True)
        ]
        pieces = iter(flat)
        found[name] = {
            part: torch.cat([next(pieces) for _ in own]).detach() for part, own in parts.items()
        }
    return found


def tell_apart(network: DualTalker, batch: Batch) -> dict[str, float]:
    """Return what the consistency term's scores tell of a batch.

    `own first`: share of instants whose own motion latent fits best among those drawn. The rest
    of the softmax' mass lies `nearby` (within 100 ms in the clip), `in the clip` elsewhere, or in
    `other clips`. Empty where too few frames are captured.
    """
    with torch.no_grad():
        audio = network.audio_joint(network.animate(batch.audio, batch.style).latents)
        motion = network.motion_joint(network.motion_encoder(batch.motion))
        known = (batch.paired * batch.speech)[:, None] * (batch.mask.amax(-1) > 0)
        generator = torch.Generator().manual_seed(0)
        scores, drawn = contrast_instants(
            audio, motion, known, network.joint_temperature, generator
        )
        if len(scores) < 2:
            return {}
        mass = scores.softmax(-1)
        frames = batch.motion.shape[1]
        clip = drawn // frames
        together = clip[:, None] == clip[None, :]
        apart = (drawn[:, None] - drawn[None, :]).abs()
        own = torch.eye(len(drawn), dtype=torch.bool)
        near = together & (apart <= _NEAR_FRAMES) & ~own
        best = mass.argmax(-1) == torch.arange(len(drawn))
        kinds = {"nearby": near, "in the clip": together & ~near & ~own, "other clips": ~together}
        found = {name: float((mass * kind).sum(-1).mean()) for name, kind in kinds.items()}
    return {"own first": float(best.float().mean()), **found}


def measure_pulls(run: Run, batches: Sequence[tuple[int, Batch]]) -> list[dict[str, Any]]:
    """Return a row for each term and part: norm, relative to the primary one's, and cosine.

    A part on which the primary task does not pull has no relative norm and no cosine.
    """
    sums: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for number, batch in batches:
        found = measure_gradients(run, batch, number)
        for term, parts in found.items():
            for part, pull in parts.items():
                base = found[PRIMARY][part]
                norm, whole = float(pull.norm()), float(base.norm())
                cosine = float(pull @ base) / (norm * whole) if norm * whole > 0 else float("nan")
                sums.setdefault((term, part), []).append((norm, whole, cosine))
    rows = []
    for (term, part), values in sums.items():
        norm, whole, cosine = np.mean(values, axis=0)
        share = norm / whole if whole > 0 else None
        told = None if np.isnan(cosine) else float(cosine)
        rows.append(
            {"step": run.step, "term": term, "part": part, "norm": float(norm), "share": share}
            | {"cosine": told}
        )
    return rows


def study_gradients(config: GradientsConfig) -> dict[str, Any]:
    """Train and measure; returns rows of pulls and of what consistency tells apart.

    Raises:
        DualtalkerError: the folder is somebody else's.
    """
    claim_folder(config.out, "gradients.json")
    data = replace(config.train.data, corpus=config.corpus)
    run = prepare(replace(config.train, out=config.out, data=data))
    pulls: list[dict[str, Any]] = []
    told: list[dict[str, float]] = []
    while run.step < config.train.steps:
        take_step(run)
        if run.step % config.every == 0 or run.step == config.train.steps:
            # Batches of later numbers than any that is learned from.
            numbers = [config.train.steps + run.step + k for k in range(config.batches)]
            batches = [(number, run.batches.make(number)) for number in numbers]
            pulls += measure_pulls(run, batches)
            apart = [tell_apart(run.network, batch) for _, batch in batches]
            means = {n: float(np.mean([a[n] for a in apart])) for n in apart[0]}
            temperature = float(torch.exp(run.network.joint_temperature.detach()))
            told.append({"step": run.step, "temperature": temperature, **means})
    return {"pulls": pulls, "consistency": told}


def format_report(found: dict[str, Any]) -> str:
    """Return tables of the pulls, means over the second half of the training, in Markdown."""
    last = max(row["step"] for row in found["pulls"])
    late = [row for row in found["pulls"] if row["step"] > last / 2]
    terms = [t for t in DUAL_TERMS if any(row["term"] == t for row in late)]
    lines = ["| part | primary: norm | " + " | ".join(terms) + " |"]
    lines.append("|---" * (len(terms) + 2) + "|")
    for part in PARTS:
        base = _mean(late, PRIMARY, part, "norm")
        cells = []
        for term in terms:
            share, cosine = (_mean(late, term, part, key) for key in ("share", "cosine"))
            norm = _mean(late, term, part, "norm")
            text = "0" if not norm else f"{norm:.2g}"
            if share:
                text = f"{share:.2g} of primary"
                text += "" if cosine is None else f", cos {cosine:+.2f}"
            cells.append(text)
        lines.append(f"| {part} | {base or 0:.3g} | {' | '.join(cells)} |")
    told = found["consistency"]
    heads = list(told[0])
    lines += ["", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines += ["| " + " | ".join(f"{row[head]:.3g}" for head in heads) + " |" for row in told]
    return "\n".join(lines) + "\n"


def _mean(rows: Sequence[dict[str, Any]], term: str, part: str, key: str) -> float | None:
    values = [r[key] for r in rows if r["term"] == term and r["part"] == part]
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def draw(found: dict[str, Any]) -> str:
    """Draw the terms' pull on the audio encoder and its direction over the training, as SVG."""
    figure = new_figure((8.0, 3.4))
    left, right = figure.subplots(1, 2)
    for term in DUAL_TERMS:
        own = [r for r in found["pulls"] if r["term"] == term and r["part"] == "audio encoder"]
        moved = [r for r in own if r["norm"] > 0]
        if moved:
            steps = [r["step"] for r in moved]
            left.plot(steps, [r["share"] for r in moved], ".-", label=term)
            right.plot(steps, [r["cosine"] for r in moved], ".-", label=term)
    left.set_yscale("log")
    left.set_title("gradient on the audio encoder, of the primary task's", fontsize=10)
    right.set_title("cosine with the primary task's", fontsize=10)
    right.axhline(0.0, color="gray", linewidth=0.8)
    for axis in (left, right):
        axis.set_xlabel("step")
        axis.grid(alpha=0.25)
        axis.legend(fontsize=8)
    return to_svg(figure)


@ending_in_order()
def main() -> None:
    """Train, measure, write."""
    config = tyro.cli(GradientsConfig, description=__doc__)
    try:
        found = study_gradients(config)
    except (DualtalkerError, ValueError) as error:
        sys.exit(f"training.studies.gradients: {error}")
    write_output(config.out / "gradients.json", json.dumps(found, indent=1) + "\n")
    write_output(config.out / "gradients.svg", draw(found))
    report = format_report(found)
    write_output(config.out / "gradients.md", report)
    print(report)


if __name__ == "__main__":
    main()
