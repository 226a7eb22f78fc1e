"""The figures of a report: what each is called, its convention, what is required and aimed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from dualtalker.evaluation.accuracy import CAPTURED_COUNT, INTERVAL_ENDS
from dualtalker.evaluation.metrics import MOUTH_SHAPES


@dataclass(frozen=True)
class Figure:
    """One row of the table; `required` and `aim` are None where the figure is only reported."""

    key: str
    """Name under which it is measured and stored."""
    label: str
    """What the table calls it."""
    convention: str
    """How it is measured, in one sentence."""
    required: float | None = None
    aim: float | None = None
    better: str = "higher"
    """`higher`, `lower`, `zero` where the sign only tells the direction, or `one` where bounds are
    distances from 1."""
    digits: int = 3
    """Decimals in the table."""
    counted: str = ""
    """Key of the number of recordings that the figure rests on, where one of them decides
    nothing."""

    def bound(self, value: float | None) -> str:
        """Write a required or aimed value with its direction, as `>= 0.60`."""
        if value is None:
            return "report"
        if self.better == "one":
            return f"{1 - value:g} to {1 + value:g}"
        sign = {"higher": "≥ ", "lower": "≤ ", "zero": "± "}[self.better]
        return f"{sign}{value:g}"

    def meets(self, value: float, wanted: float) -> bool:
        """Tell whether `value` is as good as `wanted`."""
        if self.better == "higher":
            return value >= wanted
        if self.better == "one":
            return abs(value - 1.0) <= wanted
        return (abs(value) if self.better == "zero" else value) <= wanted

    def verdict(self, value: float | None, recordings: float | None = None) -> str:
        """`aim met`, `met`, `missed`; `not measured`; or `–` where nothing is required.

        `one clip` where one of `recordings` was all there was and figures differ by recording.
        """
        if self.required is None:
            return "–"
        if value is None:
            return "not measured"
        if self.counted and recordings == 1:
            return "one clip"
        if self.aim is not None and self.meets(value, self.aim):
            return "aim met"
        return "met" if self.meets(value, self.required) else "missed"


@dataclass(frozen=True)
class Table:
    """A table beside that of the figures: what stands in its head and in its cells."""

    heading: str
    caption: str
    head: list[str]
    rows: list[list[str]]

    def to_markdown(self) -> str:
        """Return the table alone as Markdown."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def to_html(self) -> str:
        """Return heading, table and caption as HTML."""
        lines = ["".join(f"<th>{escape(text)}</th>" for text in self.head)]
        lines += ["".join(f"<td>{escape(text)}</td>" for text in row) for row in self.rows]
        body = "\n".join(f"<tr>{line}</tr>" for line in lines)
        caption = f'<p class="facts">{escape(self.caption)}</p>'
        return f"<h2>{escape(self.heading)}</h2>\n<table>{body}\n</table>\n{caption}"


_CAPTURED = "captured recordings; speech frames lie within 35 dB of the loudest"
_GAP = "the gap is that of the central lip pairs on the rig's mesh, all blendshapes together"
_MET = "the share with at least one such frame in the phone widened by ±40 ms"
_SPEED = "90th percentile of the lip gap's speed, relative to that in speech frames"

AMPLITUDE = (
    "standard deviation over speech frames, over that of the capture, pooled over recordings; "
    "what an average of likely motions lacks, 1 is as lively"
)

# What captured recordings tell, whatever they are of.
CAPTURED: tuple[Figure, ...] = (
    Figure(
        "lip gap r", "lip gap r",
        f"Pearson r of the lip gap over speech frames, mean of {_CAPTURED}; {_GAP}",
        0.66, 0.75, counted=CAPTURED_COUNT,
    ),
    Figure(
        "jaw r", "jaw opening r", f"Pearson r of jawOpen over speech frames, mean of {_CAPTURED}",
        0.50, 0.60, counted=CAPTURED_COUNT,
    ),
    Figure(
        "rounding r", "lip rounding r",
        f"Pearson r of mouthFunnel + mouthPucker over speech frames, mean of {_CAPTURED}",
        0.48, 0.60, counted=CAPTURED_COUNT,
    ),
    Figure(
        "jaw amplitude", "jaw movement relative to capture", AMPLITUDE, 0.15, 0.05, "one",
        counted=CAPTURED_COUNT,
    ),
    Figure(
        "rounding amplitude", "rounding relative to capture", "the same of the lip rounding",
        0.15, 0.05, "one", counted=CAPTURED_COUNT,
    ),
    Figure(
        "offset ms", "audio–visual offset (ms)",
        "peak of the cross-correlation of jawOpen with the captured one; positive is late",
        20.0, 10.0, "zero", 1,
    ),
    Figure(
        "jitter ratio", "jitter relative to capture",
        "root mean square of the lip gap's third derivative over that of the capture",
        1.1, 1.0, "lower",
    ),
)  # fmt: skip

# What a default model must reach beside it; then what is only reported.
REQUIRED: tuple[Figure, ...] = (
    *CAPTURED,
    Figure(
        "closures met, unseen speakers", "lips meet on /p b m/, speakers not trained on",
        f"closed: within 5 % of the gap's range above rest ({_GAP}); {_MET}",
        0.95, 0.98,
    ),
    Figure(
        "false closures, unseen speakers", "open vowels wrongly closed, speakers not trained on",
        "share of /ɑ æ ɔ/ whose center frame is closed",
        0.02, 0.01, "lower",
    ),
    Figure(
        "lip-teeth contact, unseen speakers",
        "lip–teeth contact on /f v/, speakers not trained on",
        "contact: the lower lip's inner edge within 10 % of its drop's range below the upper "
        f"teeth; {_MET}",
        0.90, 0.97,
    ),
    Figure(
        "held jaw", "a vowel held for 3 s keeps of its jaw opening",
        "jawOpen over the hold's last second, over its peak in the vowel as it was spoken; open "
        "vowels of recorded speech, held by repeating the voice's periods (TD-PSOLA), sums of all",
        0.80, 0.90,
    ),
    Figure(
        "silence motion", "mouth motion in silence",
        f"{_SPEED}; digital silence and hiss at -60 dB", 0.02, 0.01, "lower",
    ),
    Figure(
        "pause motion", "mouth motion in recorded pauses",
        f"{_SPEED}; frames 0.2 s or more from any speech frame", 0.02, 0.01, "lower",
    ),
    Figure(
        "noise motion", "mouth motion in noise alone",
        f"{_SPEED}; fan, music, door and motor, 20 to 0 dB below speech, mean",
        0.07, 0.05, "lower",
    ),
    Figure(
        "noisy speech loss", "loss of jaw r in noise at 10 dB",
        "jaw r of the clean recording less that with each noise added 10 dB below it, mean",
        0.05, 0.02, "lower",
    ),
    Figure("lookahead ms", "stated lookahead (ms)", "from the bundle", 120.0, 100.0, "lower", 0),
    Figure(
        "step p99 ms", "time of a tick, 60 Hz, p99 (ms)",
        "push and frames of the Talker called at 60 Hz, sleeping in between, one thread, "
        "on this machine at this load",
        5.0, 3.0, "lower", 2,
    ),
    Figure("size MB", "size shipped (MB)", "graph and sidecar", 5.7, 5.0, "lower", 2),
)  # fmt: skip

INTERVAL = (
    "In brackets: 95 % intervals. Of one recording by the moving-block bootstrap over stretches "
    "of 2 s of speech: how far the figure would move with other words of the same speaker."
)


def describe_shapes() -> tuple[Figure, ...]:
    """Return the figures of the mouth's other shapes: how each follows, and how far it moves."""
    rows: list[Figure] = []
    for name, channels in MOUTH_SHAPES.items():
        if name not in ("jaw", "rounding"):
            told = f"of {' + '.join(channels)} where captured and not dead"
            rows.append(Figure(f"{name} r", f"{name} r", f"Pearson r over speech frames, {told}"))
            label = f"{name} relative to capture"
            rows.append(Figure(f"{name} amplitude", label, f"{AMPLITUDE}; {told}"))
    return tuple(rows)


_MANNERS = {
    "whispered": "noise through the vocal tract (linear prediction), 10 dB down",
    "shouted": "pitch times 1.5 (TD-PSOLA), first formants and vowels' length times 1.2, 3 dB an "
    "octave flatter, what has no voice 6 dB down",
    "childlike": "formants times 1.25 (resampled), pitch 264 Hz (TD-PSOLA)",
    "in a room": "60 dB of decay in 0.4 s, as much energy as the direct sound",
    "in a hall": "60 dB of decay in 0.8 s, 6 dB more energy than the direct sound",
    "beside a second voice": "another speaker, 10 dB less loud",
}


def _describe_manners() -> tuple[Figure, ...]:
    """Return the figures of speech in manners that few recordings have, and of other sounds."""
    rows: list[Figure] = []
    for manner, made in _MANNERS.items():
        follows = "Pearson r of the gap with that of the same speech as recorded, speech frames"
        rows.append(Figure(f"{manner} gap r", f"{manner}, lip gap r", f"{follows}; {made}"))
        if manner in ("whispered", "shouted"):
            label = f"{manner}, lip gap relative to full voice"
            told = "standard deviation over speech frames, pooled"
            rows.append(Figure(f"{manner} gap amplitude", label, told))
        label = f"{manner}, lips meet on /p b m/"
        rows.append(Figure(f"{manner} closures met", label, "as below, of all recorded speakers"))
    opening = "mean gap above rest, over that in the same speaker's speech"
    loss = "jaw r of the captured recording less that with"
    rows += [
        Figure("hall loss", "loss of jaw r in a hall", f"{loss} the hall's tail", better="lower"),
        Figure(
            "second voice loss", "loss of jaw r beside a second voice",
            f"{loss} another speaker 10 dB below it", better="lower",
        ),
        Figure("laughter gap", "lips open in laughter, relative to speech", opening),
        Figure(
            "laughter shut", "lips shut in laughter, share of time",
            "closed as above; eight notes, 4.8 a second", better="lower",
        ),
        Figure("coughs gap", "lips open in coughs, relative to speech", opening),
        Figure(
            "breath gap", "lips open while breathing in, relative to speech",
            f"{opening}; 10 dB less loud than the speech", better="lower",
        ),
    ]  # fmt: skip
    return tuple(rows)


REPORTED: tuple[Figure, ...] = (
    Figure(
        CAPTURED_COUNT, "captured recordings", "how many the figures against capture are of",
        digits=0,
    ),
    *(
        Figure(
            f"noise motion, {kind}", f"mouth motion in noise alone: {kind}",
            "the same of one noise, mean from 20 to 0 dB", better="lower",
        )
        for kind in ("fan", "music", "door", "motor")
    ),
    Figure("lip gap amplitude", "lip gap relative to capture", AMPLITUDE),
    *describe_shapes(),
    Figure("held lip gap", "a held vowel keeps of its lip gap", "the same of the gap above rest"),
    Figure(
        "sung jaw", "a sung vowel keeps of its jaw opening",
        "the same with vibrato of 3 % at 5.5 Hz",
    ),
    Figure("sung lip gap", "a sung vowel keeps of its lip gap", "as above"),
    *_describe_manners(),
    Figure("closures met", "lips meet on /p b m/, all recorded speakers", "as above"),
    Figure(
        "false closures", "open vowels wrongly closed, all recorded", "as above", better="lower"
    ),
    Figure("lip-teeth contact", "lip–teeth contact on /f v/, all recorded", "as above"),
    Figure("closures met, synthetic", "lips meet on /p b m/, synthetic speech", "as above"),
    Figure("false closures, synthetic", "open vowels wrongly closed, synthetic", "as above"),
    Figure("lip-teeth contact, synthetic", "lip–teeth contact, synthetic speech", "as above"),
    Figure("closures met, captured", "lips meet on /p b m/, labelled captures", "as above"),
    Figure("false closures, captured", "open vowels wrongly closed, captures", "as above"),
    Figure("lip-teeth contact, captured", "lip–teeth contact, labelled captures", "as above"),
    Figure(
        "lip gap error mm", "lip gap error (mm)",
        "mean absolute difference of the gap over speech frames, captured recordings",
        better="lower", digits=2,
    ),
    Figure(
        "LVE mm2", "LVE, squared (mm²)",
        "mean over frames of the maximum squared lip-vertex distance (CodeTalker, torchmetrics)",
        better="lower", digits=2,
    ),
    Figure("LVE root mm", "LVE, root (mm)", "its root", better="lower", digits=2),
    Figure(
        "LVE mm", "LVE, plain (mm)", "mean over frames of the maximum lip-vertex distance",
        better="lower", digits=2,
    ),
    Figure(
        "vertex error mm", "mean vertex error (mm)", "mean distance over all frames and vertices",
        better="lower", digits=3,
    ),
    Figure(
        "FDD signed", "FDD, signed (1e-5 m²)",
        "upper face: mean over vertices of std over time of the squared displacement, capture "
        "less model (CodeTalker)",
        better="zero", digits=4,
    ),
    Figure(
        "FDD absolute", "FDD, absolute (1e-5 m²)", "the same with absolute differences",
        better="lower", digits=4,
    ),
    Figure(
        "offset gap ms", "offset of the lip gap (ms)", "as the offset above, of the lip gap",
        better="zero", digits=1,
    ),
    Figure(
        "phone error rate, true", "lip reading of the true motion, phone error rate",
        "greedy CTC of the checkpoint's reader against the labels without silence (jiwer)",
        better="lower",
    ),
    Figure(
        "phone error rate", "lip reading of this motion, phone error rate", "as above",
        better="lower",
    ),
)  # fmt: skip

FIGURES = REQUIRED + REPORTED

Columns = dict[str, dict[str, float]]
"""Figures by contestant: `{"loudness": {"jaw r": 0.37, ...}, "model": {...}}`."""


def list_rows(
    columns: Columns, subject: str, figures: Sequence[Figure] = FIGURES
) -> list[dict[str, object]]:
    """Return the table's rows in order: all required figures, and what else was measured.

    Figures without a description here come last under their own keys. The ends of an interval
    (`KEY, low` and `KEY, high`) stand in the subject's own cell.
    """
    known = {figure.key for figure in figures}
    measured = list(dict.fromkeys(key for column in columns.values() for key in column))
    measured = [key for key in measured if not key.endswith(INTERVAL_ENDS)]
    unknown = [Figure(key, key, "") for key in measured if key not in known]
    rows: list[dict[str, object]] = []
    for figure in (*figures, *unknown):
        if figure.required is None and figure.key not in measured:
            continue
        values = {name: column.get(figure.key) for name, column in columns.items()}
        found = columns.get(subject, {})
        rows.append(
            {
                "figure": figure.label,
                "key": figure.key,
                "values": values,
                "cells": {n: format_value(v, figure.digits) for n, v in values.items()}
                | {subject: format_cell(found, figure.key, figure.digits)},
                "required": figure.bound(figure.required),
                "aim": figure.bound(figure.aim) if figure.aim is not None else "–",
                "verdict": figure.verdict(values.get(subject), found.get(figure.counted)),
                "convention": figure.convention,
            }
        )
    return rows


def format_cell(column: Mapping[str, float], key: str, digits: int = 3) -> str:
    """Write a figure of a column for the table, with its interval where it has one."""
    value = format_value(column.get(key), digits)
    ends = [column.get(key + end) for end in INTERVAL_ENDS]
    if None in ends:
        return value
    return f"{value} ({' to '.join(format_value(end, digits) for end in ends)})"


def format_value(value: float | None, digits: int = 3) -> str:
    """Write a figure for the table; a dash where it was not measured."""
    return "–" if value is None else f"{value:.{digits}f}"


def format_rows(rows: list[dict[str, object]], contestants: Sequence[str]) -> str:
    """Return the rows of `list_rows` as a Markdown table with requirements and verdicts."""
    head = ["figure", *contestants, "required", "aim", "verdict"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        cells: dict[str, str] = row["cells"]  # type: ignore[assignment]
        texts = [str(row["figure"]), *[cells[name] for name in contestants]]
        texts += [str(row[name]) for name in ("required", "aim", "verdict")]
        lines.append(f"| {' | '.join(texts)} |")
    return "\n".join(lines)
