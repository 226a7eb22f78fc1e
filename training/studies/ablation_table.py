"""Tables and plot of an ablation, written into a section of a Markdown file. Trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.drawing import new_figure, to_svg
from dualtalker.errors import DualtalkerError
from dualtalker.files import refuse_foreign, write_whole

BASE_VARIANT = "single"
# The dual terms that are on. Each addition stands on the dual task, without which it has no
# meaning: the reader must have learned, and both encoders must be in use.
VARIANTS: dict[str, tuple[str, ...]] = {
    "single": (),
    "dual": ("lipread_true",),
    "predicted": ("lipread_true", "lipread_predicted"),
    "consistency": ("lipread_true", "consistency"),
    "duality": ("lipread_true", "duality"),
    "all": ("lipread_true", "lipread_predicted", "consistency", "duality"),
}
VARIANT_LABELS = {
    "single": "single task",
    "dual": "+ dual",
    "predicted": "+ dual + lip reading on predicted motion",
    "consistency": "+ dual + consistency",
    "duality": "+ dual + duality",
    "all": "all",
}
# What figures' names end with where held-out talkers of both kinds are measured.
UNSEEN_TALKERS, TRAINED_TALKERS = ", unseen talkers", ", trained talkers"
# (key, label, decimals, better)
JUDGED = (
    ("lip gap error mm", "lip gap error (mm)", 3, "lower"),
    ("LVE mm2", "LVE, squared (mm²)", 2, "lower"),
    ("jaw r", "jaw opening r", 3, "higher"),
    ("rounding r", "lip rounding r", 3, "higher"),
)
# Where talkers are told apart: lips from video have a gain of each talker, so that correlations
# tell more than millimetres.
JUDGED_BY_TALKER = (
    (f"lip gap r{UNSEEN_TALKERS}", f"lip gap r{UNSEEN_TALKERS}", 3, "higher"),
    (f"rounding r{UNSEEN_TALKERS}", f"lip rounding r{UNSEEN_TALKERS}", 3, "higher"),
    (f"lip gap r{TRAINED_TALKERS}", f"lip gap r{TRAINED_TALKERS}", 3, "higher"),
    (f"rounding r{TRAINED_TALKERS}", f"lip rounding r{TRAINED_TALKERS}", 3, "higher"),
)
# Over-smoothing (`training.studies.dynamics`), of all held-out clips: relative to the capture.
SMOOTHNESS = (
    ("lip gap explained", "share of the lip gap's variance told", 3, "higher"),
    ("lip gap kept", "variance of the lip gap kept", 3, "nearer to 1"),
    ("rounding explained", "share of rounding's variance told", 3, "higher"),
    ("rounding kept", "variance of rounding kept", 3, "nearer to 1"),
    ("lip speed 2-4 Hz", "power of lip speed kept, 2 to 4 Hz", 3, "nearer to 1"),
    ("lip speed 4-6 Hz", "power of lip speed kept, 4 to 6 Hz", 3, "nearer to 1"),
    ("lip speed 6-8 Hz", "power of lip speed kept, 6 to 8 Hz", 3, "nearer to 1"),
    ("lip FDD signed", "lip FDD, signed", 3, "nearer to 0"),
    ("lip FDD absolute", "lip FDD, absolute", 3, "lower"),
)
Row = tuple[str, str, int, str]


@dataclass(frozen=True)
class Cell:
    """One finished training."""

    variant: str
    fraction: float
    seed: int
    digest: str
    figures: dict[str, float]
    paired_s: float
    """Paired sound it was trained on, seconds."""
    train_s: float
    """Wall-clock time of its training, seconds."""
    curve: list[dict[str, float]] = field(default_factory=list)
    """Figures on held-out clips during training, by step."""


def list_judged(cells: Sequence[Cell]) -> list[Row]:
    """Return the rows that are told of cells: by talker where these were told apart."""
    rows = JUDGED_BY_TALKER if _know(cells, JUDGED_BY_TALKER[0][0]) else JUDGED
    return [row for row in rows if _know(cells, row[0])]


def _know(cells: Sequence[Cell], key: str) -> bool:
    return all(key in cell.figures for cell in cells)


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None where there is one value alone."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def pair_differences(
    cells: Sequence[Cell], key: str, variant: str, fraction: float
) -> tuple[list[float], list[float]]:
    """Differences of a variant from single-task, seed by seed, absolute and relative (1 = 100 %).

    Only seeds for which both are finished count.
    """
    found = {(c.variant, c.seed): c.figures[key] for c in cells if c.fraction == fraction}
    seeds = sorted(s for v, s in found if v == variant and (BASE_VARIANT, s) in found)
    base = [found[BASE_VARIANT, s] for s in seeds]
    own = [found[variant, s] for s in seeds]
    absolute = [b - a for a, b in zip(base, own, strict=True)]
    relative = [d / abs(a) if a else float("nan") for a, d in zip(base, absolute, strict=True)]
    return absolute, relative


def format_tables(cells: Sequence[Cell]) -> str:
    """Return one Markdown table for each judged figure: means by fraction, then differences.

    Cells of a grid that has no figures of over-smoothing come without that table.
    """
    fractions = sorted({cell.fraction for cell in cells}, reverse=True)
    variants = [name for name in VARIANTS if any(c.variant == name for c in cells)]
    parts = []
    for key, label, digits, better in list_judged(cells):
        heads = [f"{100 * f:g} %" for f in fractions]
        heads += [f"Δ at {100 * f:g} %" for f in fractions]
        lines = [
            f"**{label}** ({better} is better)",
            "",
            f"| variant | {' | '.join(heads)} |",
            "|---" * (len(heads) + 1) + "|",
        ]
        for variant in variants:
            texts = [_mean_text(cells, key, variant, f, digits) for f in fractions]
            texts += [_difference_text(cells, key, variant, f, digits) for f in fractions]
            lines.append(f"| {VARIANT_LABELS[variant]} | {' | '.join(texts)} |")
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, *_format_smoothness(cells, fractions, variants)])


def _format_smoothness(
    cells: Sequence[Cell], fractions: Sequence[float], variants: Sequence[str]
) -> list[str]:
    """Return a table of over-smoothing: a row for each figure and fraction, a column a variant."""
    shown = [row for row in SMOOTHNESS if _know(cells, row[0])]
    if not shown:
        return []
    lines = [
        "**Over-smoothing**, relative to the capture, all held-out clips",
        "",
        f"| figure | paired data | {' | '.join(VARIANT_LABELS[v] for v in variants)} |",
        "|---" * (len(variants) + 2) + "|",
    ]
    for key, label, digits, better in shown:
        for fraction in fractions:
            texts = [_mean_text(cells, key, v, fraction, digits) for v in variants]
            name = f"{label} ({better})"
            lines.append(f"| {name} | {100 * fraction:g} % | {' | '.join(texts)} |")
    return ["\n".join(lines)]


def _mean_text(cells: Sequence[Cell], key: str, variant: str, fraction: float, digits: int) -> str:
    values = [c.figures[key] for c in cells if c.variant == variant and c.fraction == fraction]
    if not values:
        return "–"
    mean, deviation = spread(values)
    text = f"{mean:.{digits}f}"
    return text if deviation is None else f"{text} ± {deviation:.{digits}f}"


def _difference_text(
    cells: Sequence[Cell], key: str, variant: str, fraction: float, digits: int
) -> str:
    if variant == BASE_VARIANT:
        return "–"
    absolute, relative = pair_differences(cells, key, variant, fraction)
    if not absolute:
        return "–"
    mean, deviation = spread(absolute)
    text = f"{mean:+.{digits}f}"
    if deviation is not None:
        text += f" ± {deviation:.{digits}f}"
    return f"{text} ({100 * float(np.mean(relative)):+.1f} %)"


def write_results(path: Path, name: str, cells: Sequence[Cell], command: str, steps: int) -> None:
    """Write the section of grid `name` in the Markdown file `path`, and its plot beside it.

    All else in the file stays as it is; a file or section that is missing is begun.

    Raises:
        DualtalkerError: the file has only one of the section's two markers, or something else
            has the plot's name.
    """
    if not cells:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    plot = path.parent / f"ablation_{name}.svg"
    text = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    if f"({plot.name})" not in text:
        refuse_foreign(plot)
    draw_plot(plot, cells)
    seeds = sorted({cell.seed for cell in cells})
    paired = {
        f: np.mean([c.paired_s for c in cells if c.fraction == f]) for f in _fractions(cells)
    }
    data = ", ".join(f"{100 * f:g} %: {s / 60:.1f} min" for f, s in paired.items())
    body = "\n\n".join(
        [
            f"### Ablation: {name}",
            f"`{command}`",
            f"{len(cells)} cells, seeds {', '.join(map(str, seeds))}, {steps} steps each. "
            f"Paired data: {data}. Mean ± standard deviation over seeds; Δ is the difference "
            "from single task, seed by seed. Held-out clips, default head.",
            format_tables(cells),
            f"![Ablation: {name}]({plot.name})",
        ]
    )
    write_whole(path, replace_section(text, f"ablation {name}", body))


def replace_section(text: str, marker: str, body: str) -> str:
    """Put `body` between the begin and end comments of `marker`, appending them if missing."""
    begin, end = f"<!-- {marker}: begin -->", f"<!-- {marker}: end -->"
    if (begin in text) != (end in text):
        raise DualtalkerError(
            f"found only one of {begin!r} and {end!r}: add the other or delete it"
        )
    section = f"{begin}\n{body}\n{end}"
    if begin not in text:
        return f"{text.rstrip()}\n\n{section}\n"
    head, rest = text.split(begin, 1)
    return head + section + rest.split(end, 1)[1]


def draw_plot(path: Path, cells: Sequence[Cell]) -> None:
    """Draw each judged figure over the fraction of paired data, one line a variant."""
    shown = list_judged(cells)
    curves = _list_curves(cells)
    columns = max(len(shown), len(curves), 1)
    rows = 2 if curves else 1
    figure = new_figure((3.4 * columns, 3.6 * rows))
    grid = figure.subplots(rows, columns, squeeze=False)
    axes = grid[0]
    for axis in grid.flat:
        axis.set_visible(False)
    for axis, fraction in zip(grid[-1] if curves else (), curves, strict=False):
        _draw_curves(axis, [cell for cell in cells if cell.fraction == fraction and cell.curve])
    for axis, (key, label, _, _) in zip(axes, shown, strict=False):
        axis.set_visible(True)
        for number, variant in enumerate(VARIANTS):
            own = [c for c in cells if c.variant == variant]
            fractions = _fractions(own)
            if not fractions:
                continue
            found = [spread([c.figures[key] for c in own if c.fraction == f]) for f in fractions]
            axis.errorbar(
                # Side by side, so that the bars can be told apart.
                [f * 1.03 ** (number - 2.5) for f in fractions],
                [mean for mean, _ in found],
                [deviation or 0.0 for _, deviation in found],
                fmt="o-",
                capsize=2,
                markersize=3,
                linewidth=1.2,
                label=VARIANT_LABELS[variant],
            )
        axis.set_xscale("log")
        axis.set_xticks(_fractions(cells), [f"{100 * f:g} %" for f in _fractions(cells)])
        axis.minorticks_off()
        axis.set_xlabel("paired data")
        axis.set_title(label, fontsize=10)
        axis.grid(alpha=0.25)
    axes[0].legend(fontsize=7)
    write_whole(path, to_svg(figure))


def _list_curves(cells: Sequence[Cell]) -> list[float]:
    """Fractions of which there are learning curves of more than one step."""
    return _fractions([cell for cell in cells if len(cell.curve) > 1])


def _draw_curves(axis: Any, cells: Sequence[Cell]) -> None:
    """Draw how the held-out lip gap is followed as training goes on: mean over seeds."""
    axis.set_visible(True)
    for variant in VARIANTS:
        own = [cell.curve for cell in cells if cell.variant == variant]
        if own:
            steps = [row["step"] for row in own[0]]
            heights = np.mean([[row["gap_r"] for row in curve] for curve in own], axis=0)
            axis.plot(steps, heights, ".-", linewidth=1.2, label=VARIANT_LABELS[variant])
    axis.set_title(f"lip gap r, {100 * cells[0].fraction:g} % of the pairs", fontsize=10)
    axis.set_xlabel("step")
    axis.grid(alpha=0.25)


def _fractions(cells: Sequence[Cell]) -> list[float]:
    return sorted({cell.fraction for cell in cells}, reverse=True)
