"""Writes the report on a study: tables, plots, JSON and Markdown, from answers that count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.drawing import new_figure, to_svg
from dualtalker.errors import StudyError
from dualtalker.evaluation import Picture, Table, frame_page
from dualtalker.files import refuse_foreign, write_output
from dualtalker.study.plan import Key, list_pairs
from dualtalker.study.statistics import (
    Preference,
    bootstrap_scores,
    count_raters_needed,
    import_scipy,
    measure_agreement,
    measure_preference,
    score_contestants,
)
from dualtalker.study.tally import Gathering, Tally, gather_answers, list_files, tally_answers

_NAMES = ("report.html", "report.json", "report.md")
_REFERENCE_SHARE = 0.6
_COLORS = ("#2e6fbb", "#d1495b")


@dataclass(frozen=True)
class Row:
    """One question about two contestants."""

    question: str
    first: str
    second: str
    preference: Preference
    raters_needed: int | None
    """For 80 % power at the share seen; None where that is beyond 5,000 answers."""
    raters_for_60: int | None
    """For 80 % power at 60:40."""


@dataclass(frozen=True)
class StudyReport:
    """What a study tells, and where it was written."""

    facts: dict[str, str]
    tables: tuple[Table, ...]
    details: dict[str, Any]
    paths: tuple[Path, ...] = ()

    def to_markdown(self) -> str:
        """Return facts and tables."""
        parts = ["\n".join(f"- {name}: {text}" for name, text in self.facts.items())]
        for table in self.tables:
            parts += [f"## {table.heading}", table.to_markdown(), table.caption]
        return "\n\n".join(parts) + "\n"


def report_study(key: Key, paths: Sequence[Path], out: Path) -> StudyReport:
    """Report on files, or folders, of answers into folder `out`.

    Raises:
        StudyError: no answers count, or scipy is not installed.
    """
    import_scipy()
    outputs = tuple(out / name for name in _NAMES)
    refuse_foreign(*outputs)
    gathering = gather_answers(list_files(paths), key)
    if not gathering.raters:
        told = [f"{path}: {reason}" for path, reason in gathering.left_out]
        told += [f"participant {n} made {m} mistakes" for n, m in gathering.excluded]
        where = ", ".join(map(str, paths))
        raise StudyError(f"no answers of {where} count; {'; '.join(told[:3]) or 'found none'}")
    tallies = {name: tally_answers(gathering.raters, key, name) for name in key.plan.questions}
    rows = measure_rows(key, tallies)
    scores = {name: _measure_scores(tally.wins) for name, tally in tallies.items()}
    tables = (
        _write_preferences(key, rows),
        _write_scores(key, scores),
        _write_agreement(key, tallies),
        _write_power(key, rows),
        *_write_losses(gathering),
    )
    facts = _list_facts(key, gathering, tallies)
    report = StudyReport(facts, tables, _list_details(key, gathering, rows, scores, tallies))
    pictures = [_draw_preferences(key, rows), _draw_scores(key, scores)]
    parts = [*(p.to_html() for p in pictures), *(table.to_html() for table in tables)]
    out.mkdir(parents=True, exist_ok=True)
    write_output(outputs[0], frame_page(key.plan.title, facts, parts))
    write_output(outputs[1], json.dumps(report.details, indent=2, ensure_ascii=False) + "\n")
    write_output(outputs[2], f"# {key.plan.title}\n\n{report.to_markdown()}")
    return StudyReport(facts, tables, report.details, outputs)


def measure_rows(key: Key, tallies: dict[str, Tally]) -> list[Row]:
    """Measure each question about each two contestants that anybody saw together."""
    rows = []
    places = {name: place for place, name in enumerate(key.contestants)}
    for question, tally in tallies.items():
        for first, second in list_pairs(key.contestants):
            i, j = places[first], places[second]
            won = tally.wins[:, i, j]
            asked = won + tally.wins[:, j, i]
            saw = asked > 0
            if not saw.any():
                continue
            found = measure_preference(won[saw].tolist(), asked[saw].tolist(), key.seed)
            each = float(asked[saw].mean())
            needed = count_raters_needed(found.share, each, found.design_effect)
            for_60 = count_raters_needed(_REFERENCE_SHARE, each, found.design_effect)
            rows.append(Row(question, first, second, found, needed, for_60))
    return rows


def _measure_scores(wins: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Scores [contestants], and their intervals where there are two raters or more."""
    ends = bootstrap_scores(list(wins)) if len(wins) > 1 else None
    return score_contestants(wins.sum(0)), ends


# --- Tables --------------------------------------------------------------------------------------


def _list_facts(key: Key, gathering: Gathering, tallies: dict[str, Tally]) -> dict[str, str]:
    seconds = [answer.seconds for rater in gathering.raters for answer in rater.answers]
    lefts = [f"{name} {t.left[0]} of {t.left[1]}" for name, t in tallies.items()]
    side = "left" if key.plan.layout == "side" else "first"
    files = len(gathering.raters) + len(gathering.excluded) + len(gathering.left_out)
    return {
        "study": key.digest,
        "contestants": ", ".join(key.contestants),
        "recordings": ", ".join(key.recordings),
        "files": f"{files}, of which {len(gathering.left_out)} left out",
        "participants": f"{len(gathering.raters)} count, {len(gathering.excluded)} excluded",
        "rule, stated before": key.rule,
        "median time for a pair": f"{np.median(seconds):.1f} s",
        f"the {side} one chosen (all answers)": ", ".join(lefts),
    }


def _write_preferences(key: Key, rows: Sequence[Row]) -> Table:
    body = []
    for row in rows:
        found = row.preference
        body.append(
            [
                key.plan.questions[row.question],
                f"{row.first} over {row.second}",
                f"{found.wins} of {found.count}",
                f"{100 * found.share:.0f} %",
                _format_share(found.clustered),
                _format_share(found.exact),
                f"{found.p_value:.2g}",
            ]
        )
    head = ["question", "preference", "answers", "share", "95 % over raters", "95 % exact", "p"]
    caption = (
        "Share of answers that preferred the first. Over raters: expanded percentile bootstrap, "
        "raters drawn with all of their answers; – where no rater differs from the others. Exact: "
        "Clopper and Pearson; p: exact binomial test against one half, two-sided; both take each "
        "answer for independent, and p is not corrected for the number of rows. Checks and second "
        "showings are not counted."
    )
    return Table("Preference", caption, head, body)


def _write_scores(key: Key, scores: dict[str, tuple[np.ndarray, np.ndarray | None]]) -> Table:
    body = []
    for question, (values, ends) in scores.items():
        for place in np.argsort(-values):
            interval = "–" if ends is None else f"{ends[place, 0]:+.2f} to {ends[place, 1]:+.2f}"
            name = key.contestants[place]
            body.append([key.plan.questions[question], name, f"{values[place]:+.2f}", interval])
    caption = (
        "Bradley–Terry: one is preferred to another with odds of exp(the difference of their "
        "scores); mean 0; half a win added to both sides of each pair. 95 % interval over raters "
        "by expanded percentile bootstrap."
    )
    head = ["question", "contestant", "score", "95 % over raters"]
    return Table("Scores", caption, head, body)


def _write_agreement(key: Key, tallies: dict[str, Tally]) -> Table:
    body = []
    for question, tally in tallies.items():
        alpha = measure_agreement(tally.units)
        alike, repeats = tally.repeated
        told = "–" if alpha is None else f"{alpha:.2f}"
        body.append([key.plan.questions[question], told, f"{alike} of {repeats}"])
    caption = (
        "Krippendorff's alpha of the contestant chosen, by pair of videos: 1 is full agreement, 0 "
        "is chance given how often each is chosen, also where one wins everywhere by as much. "
        "Repeated: raters who answered the pair that came again, sides swapped, as before."
    )
    return Table("Agreement", caption, ["question", "alpha", "repeated alike"], body)


def _write_power(key: Key, rows: Sequence[Row]) -> Table:
    body = [
        [
            key.plan.questions[row.question],
            f"{row.first} over {row.second}",
            f"{row.preference.design_effect:.1f}",
            "–" if row.raters_needed is None else str(row.raters_needed),
            "–" if row.raters_for_60 is None else str(row.raters_for_60),
        ]
        for row in rows
    ]
    caption = (
        "Raters for 80 % power of the exact test at 5 %, each answering as many pairs as here; "
        "more of them by the design effect, for a rater's answers are alike. – is more than "
        "5,000 answers."
    )
    head = ["question", "preference", "design effect", "raters, as seen", "raters, 60:40"]
    return Table("For the next study", caption, head, body)


def _write_losses(gathering: Gathering) -> list[Table]:
    tables = []
    if gathering.excluded:
        rows = [[str(number), str(mistakes)] for number, mistakes in gathering.excluded]
        tables.append(Table("Excluded by the rule", "", ["participant", "mistakes"], rows))
    if gathering.left_out:
        # A file's name and what is wrong with it may hold anything.
        clean = [[_clean(path), _clean(reason)] for path, reason in gathering.left_out]
        tables.append(Table("Files left out", "", ["file", "reason"], clean))
    return tables


def _clean(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text).replace("|", "¦")[:300]


def _format_share(ends: tuple[float, float] | None) -> str:
    return "–" if ends is None else f"{100 * ends[0]:.0f} to {100 * ends[1]:.0f} %"


def _list_details(
    key: Key,
    gathering: Gathering,
    rows: Sequence[Row],
    scores: dict[str, tuple[np.ndarray, np.ndarray | None]],
    tallies: dict[str, Tally],
) -> dict[str, Any]:
    return {
        "study": key.digest,
        "rule": key.rule,
        "participants": [rater.participant for rater in gathering.raters],
        "excluded": [{"participant": n, "mistakes": m} for n, m in gathering.excluded],
        "left_out": [{"file": path, "reason": reason} for path, reason in gathering.left_out],
        "preferences": [{**asdict(row), "share": row.preference.share} for row in rows],
        "scores": {
            question: {
                name: {
                    "score": float(values[place]),
                    "interval": None if ends is None else ends[place].tolist(),
                }
                for place, name in enumerate(key.contestants)
            }
            for question, (values, ends) in scores.items()
        },
        "agreement": {
            question: {
                "alpha": measure_agreement(tally.units),
                "repeated_alike": tally.repeated[0],
                "repeated": tally.repeated[1],
                "left": tally.left[0],
                "answers": tally.left[1],
            }
            for question, tally in tallies.items()
        },
    }


# --- Plots ---------------------------------------------------------------------------------------


def _draw_preferences(key: Key, rows: Sequence[Row]) -> Picture:
    figure = new_figure((9, 1.0 + 0.45 * len(rows)))
    axis = figure.subplots()
    questions = list(key.plan.questions)
    for place, row in enumerate(reversed(rows)):
        found = row.preference
        color = _COLORS[questions.index(row.question) % len(_COLORS)]
        axis.barh(place, 100 * found.share, color=color, alpha=0.35, height=0.6)
        low, high = found.clustered or found.exact
        axis.plot([100 * low, 100 * high], [place, place], color=color, linewidth=2)
        axis.plot(100 * found.share, place, "o", color=color)
    labels = [f"{row.first} over {row.second}\n({row.question})" for row in reversed(rows)]
    axis.set_yticks(range(len(rows)), labels)
    axis.axvline(50, color="#222222", linewidth=1)
    axis.set_xlim(0, 100)
    axis.set_xlabel("share of answers (%)")
    caption = "Bars are 95 % intervals over raters, exact ones where no rater differs."
    return Picture("Who is preferred", caption, "svg", to_svg(figure))


def _draw_scores(key: Key, scores: dict[str, tuple[np.ndarray, np.ndarray | None]]) -> Picture:
    figure = new_figure((9, 1.2 + 0.4 * len(key.contestants)))
    axes = figure.subplots(1, len(scores), sharex=True, squeeze=False)[0]
    for axis, (question, (values, ends)), color in zip(axes, scores.items(), _COLORS, strict=True):
        order = np.argsort(values)
        axis.plot(values[order], range(len(order)), "o", color=color)
        if ends is not None:
            axis.hlines(range(len(order)), ends[order, 0], ends[order, 1], color=color)
        axis.set_yticks(range(len(order)), [key.contestants[place] for place in order])
        axis.axvline(0, color="#888888", linewidth=0.8)
        axis.set_title(question, fontsize=10)
        axis.set_xlabel("score (log odds)")
        axis.margins(y=0.3)
    caption = "Bradley–Terry scores with 95 % intervals over raters."
    return Picture("Scores", caption, "svg", to_svg(figure))
