"""Builds the report on motions of recordings: table, JSON and one HTML page with pictures.

The page is self-contained: no script, no file beside it. A training corpus, a folder of CSVs and a
replayed robot recording are reported alike.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.errors import DualtalkerError
from dualtalker.evaluation.accuracy import Recording, find_recorded_speech, measure_motions
from dualtalker.evaluation.table import (
    FIGURES,
    INTERVAL,
    Columns,
    Figure,
    Table,
    format_rows,
    list_rows,
)
from dualtalker.files import refuse_foreign, write_output
from dualtalker.rig import Rig

HTML_NAME = "report.html"
JSON_NAME = "report.json"
SUBJECT = "model"  # the contestant that a report is about, where none is named
SHOWN_RECORDINGS = 4  # drawn as curves; all are measured

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; max-width: 1080px;
  margin: 2em auto; padding: 0 1em; }
h1 { margin-bottom: 0; } .facts { color: #5b6b7c; }
table { border-collapse: collapse; width: 100%; margin: 1em 0; }
th, td { text-align: right; padding: .3em .6em; border-bottom: 1px solid #dde3ea; }
th:first-child, td:first-child { text-align: left; }
td small { color: #7b8794; display: block; font-size: 11.5px; line-height: 1.3; }
.aim-met { background: #d8f3e4; } .met { background: #edf8ee; } .missed { background: #fde2e2; }
.not-measured { background: #fff3d6; }
svg, img, video { max-width: 100%; height: auto; } figure { margin: 1.5em 0; }
figcaption { color: #5b6b7c; font-size: 13px; }
"""


@dataclass(frozen=True)
class Picture:
    """One thing to look at: SVG text, PNG bytes or MP4 bytes, with a heading and a caption."""

    heading: str
    caption: str
    kind: str
    """`svg`, `png` or `mp4`."""
    content: str | bytes

    def to_html(self) -> str:
        """Return the picture as a `<figure>` that needs no other file."""
        if isinstance(self.content, str):
            body = self.content
        else:
            data = base64.b64encode(self.content).decode("ascii")
            body = (
                f'<video controls src="data:video/mp4;base64,{data}"></video>'
                if self.kind == "mp4"
                else f'<img alt="{escape(self.heading)}" src="data:image/png;base64,{data}">'
            )
        caption = f"<figcaption>{escape(self.caption)}</figcaption>"
        return f"<h2>{escape(self.heading)}</h2>\n<figure>{body}{caption}</figure>"


@dataclass(frozen=True)
class Report:
    """What was measured, and where it was written."""

    figures: Columns
    rows: list[dict[str, object]]
    table: str
    """The table as Markdown."""
    html: Path | None
    json: Path | None
    facts: dict[str, str] = field(default_factory=dict)
    """What was measured on what."""
    tables: tuple[Table, ...] = ()
    """Further tables."""

    def to_markdown(self) -> str:
        """What was measured, the table of figures, and the further tables, each with its text."""
        facts = "\n".join(f"- {name}: {text}" for name, text in self.facts.items())
        parts = [facts, self.table, INTERVAL]
        for table in self.tables:
            parts += [f"## {table.heading}", table.to_markdown(), table.caption]
        return "\n\n".join(part for part in parts if part) + "\n"

    def to_text(self) -> str:
        """All of `to_markdown`, the convention of each figure in the table, and the files."""
        lines = [self.to_markdown()]
        lines += [f"{row['figure']}: {row['convention']}" for row in self.rows]
        if self.html is not None:
            lines += ["", f"report: {self.html}", f"JSON:   {self.json}"]
        return "\n".join(lines)

    def write_figures(self, path: Path) -> None:
        """Write the bare figures by contestant as JSON."""
        write_output(path, json.dumps(self.figures, indent=2) + "\n")


@dataclass
class ReportOptions:
    """How a report looks."""

    title: str = "Evaluation"
    subject: str = SUBJECT
    """The contestant whose figures get verdicts."""
    filmed: tuple[str, ...] = (SUBJECT,)
    """Contestants shown beside the reference in the video."""
    video_s: float = 8.0
    """Length of the video, seconds; 0 for none."""
    facts: dict[str, str] = field(default_factory=dict)
    """Lines under the title: model, corpus, date, machine."""
    figures: tuple[Figure, ...] = FIGURES
    """Rows of the table, in order."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else the JSON holds."""
    tables: tuple[Table, ...] = ()
    """Further tables under that of the figures."""


def build_report(
    out: Path | None,
    recordings: Sequence[Recording],
    motions: Mapping[str, Sequence[np.ndarray]],
    rig: Rig,
    more: Mapping[str, Mapping[str, float]] | None = None,
    pictures: Sequence[Picture] = (),
    options: ReportOptions | None = None,
) -> Report:
    """Measure every contestant's motions and write the report into folder `out` (None: nowhere).

    `motions` are, by contestant, weights `[frames, 52]` for each recording; `more` are figures
    measured elsewhere (latency, noise) that join the contestants' own; `pictures` come last.

    Raises:
        DualtalkerError: there is no recording, or a motion does not fit its recording.
    """
    options = options or ReportOptions()
    if not recordings:
        raise DualtalkerError("found no recording to report on, expected at least one")
    figures: Columns = {}
    for name, tracks in motions.items():
        own = measure_motions(recordings, tracks, rig)
        figures[name] = {**own, **(more or {}).get(name, {})}
    shown = [*draw_pictures(recordings, motions, rig, options), *pictures] if out else []
    return write_report(out, figures, [r.name for r in recordings], shown, options)


def write_report(
    out: Path | None,
    figures: Columns,
    names: Sequence[str],
    pictures: Sequence[Picture],
    options: ReportOptions,
) -> Report:
    """Put figures by contestant into a table, and write it with pictures into folder `out`.

    `names` are those of the recordings that were measured.
    """
    rows = list_rows(figures, options.subject, options.figures)
    table = format_rows(rows, list(figures))
    if out is None:
        return Report(figures, rows, table, None, None, options.facts, options.tables)
    html, data = plan_report(out)
    out.mkdir(parents=True, exist_ok=True)
    page = write_page(options.title, options.facts, rows, list(figures), pictures, options.tables)
    content: dict[str, Any] = {
        "title": options.title,
        "facts": options.facts,
        "figures": figures,
        "rows": rows,
        "recordings": list(names),
        **options.details,
    }
    write_output(html, page)
    write_output(data, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return Report(figures, rows, table, html, data, options.facts, options.tables)


def plan_report(out: Path) -> tuple[Path, Path]:
    """Return the paths of page and JSON in folder `out`.

    Raises:
        DualtalkerError: files that are not ours have their names.
    """
    html, data = out / HTML_NAME, out / JSON_NAME
    refuse_foreign(html, data)
    return html, data


def draw_pictures(
    recordings: Sequence[Recording],
    motions: Mapping[str, Sequence[np.ndarray]],
    rig: Rig,
    options: ReportOptions,
) -> list[Picture]:
    """Video, error maps and curves of all recordings' motions."""
    from dualtalker.evaluation.pictures import draw_curves, draw_error_maps, film_side_by_side

    pictures = []
    # Captured recordings show the most: there is a real face to compare with.
    order = sorted(range(len(recordings)), key=lambda k: not recordings[k].captured)
    filmed = {name: motions[name][order[0]] for name in options.filmed if name in motions}
    first = recordings[order[0]]
    start_s = find_start(first)
    if options.video_s > 0:
        film = film_side_by_side(first, filmed, rig, options.video_s, start_s)
        text = f"{first.name} from {start_s:.1f} s, on {rig.name}."
        pictures.append(Picture("Side by side", text, "mp4", film))
    heat = draw_error_maps(recordings, motions, rig)
    if heat is not None:
        text = "Mean distance to the captured face, all captured recordings, one scale."
        pictures.append(Picture("Where the errors are", text, "png", heat))
    for index in order[:SHOWN_RECORDINGS]:
        recording = recordings[index]
        tracks = {name: motions[name][index] for name in options.filmed if name in motions}
        curves = draw_curves(recording, tracks, rig, find_start(recording))
        text = "Speech is shaded; /p b m/ are marked red where they are labelled."
        pictures.append(Picture(recording.name, text, "svg", curves))
    return pictures


def find_start(recording: Recording) -> float:
    """Half a second before the first speech, where a look is worth the most."""
    spoken = np.flatnonzero(find_recorded_speech(recording))
    start_s = spoken[0] / recording.fps - 0.5 if len(spoken) else 0.0
    return max(0.0, float(start_s))


def write_page(
    title: str,
    facts: Mapping[str, str],
    rows: Sequence[Mapping[str, object]],
    contestants: Sequence[str],
    pictures: Sequence[Picture],
    tables: Sequence[Table] = (),
) -> str:
    """Return the page as HTML. `rows` are those of `list_rows`."""
    parts = [
        _write_table(rows, contestants),
        f'<p class="facts">{escape(INTERVAL)}</p>',
        *[table.to_html() for table in tables],
        *[picture.to_html() for picture in pictures],
    ]
    return frame_page(title, facts, parts)


def frame_page(title: str, facts: Mapping[str, str], parts: Sequence[str]) -> str:
    """Return a page as HTML: a heading, facts under it, and `parts`, which are HTML."""
    told = "<br>".join(f"{escape(k)}: {escape(v)}" for k, v in facts.items())
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f'<h1>{escape(title)}</h1><p class="facts">{told}</p>',
            *parts,
            "</body></html>\n",
        ]
    )


def _write_table(rows: Sequence[Mapping[str, object]], contestants: Sequence[str]) -> str:
    names = ("figure", *contestants, "required", "aim", "verdict")
    lines = ["<table><tr>" + "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr>"]
    for row in rows:
        cells: Mapping[str, str] = row["cells"]  # type: ignore[assignment]
        verdict = str(row["verdict"])
        first = f"{escape(str(row['figure']))}<small>{escape(str(row['convention']))}</small>"
        texts = [first, *[escape(cells[name]) for name in contestants]]
        texts += [escape(str(row["required"])), escape(str(row["aim"]))]
        mark = verdict.replace(" ", "-") if verdict != "–" else "none"
        lines.append(
            "<tr>"
            + "".join(f"<td>{text}</td>" for text in texts)
            + f'<td class="{mark}">{escape(verdict)}</td></tr>'
        )
    return "\n".join([*lines, "</table>"])
