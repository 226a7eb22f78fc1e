"""One self-contained HTML page from a report's parts: no script, no file beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

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


def write_page(
    title: str,
    facts: Mapping[str, str],
    rows: Sequence[Mapping[str, object]],
    contestants: Sequence[str],
    pictures: Sequence[Picture],
) -> str:
    """Return the page as HTML. `rows` are those of `figures.list_rows`."""
    told = "<br>".join(f"{escape(k)}: {escape(v)}" for k, v in facts.items())
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f'<h1>{escape(title)}</h1><p class="facts">{told}</p>',
            _write_table(rows, contestants),
            *[picture.to_html() for picture in pictures],
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
