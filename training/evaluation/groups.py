"""Figures of captured recordings by source and by talker, each with its 95 % interval.

A source is one way of capture (markers, animators, video); a talker is who speaks in it. Figures
of one recording are those of `dualtalker.evaluation`; here they are gathered, and bounded by the
bootstrap over clips, or over talkers where there are several (the cluster bootstrap: clips of one
talker tell the same).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dualtalker.evaluation import (
    AMPLITUDE,
    CAPTURED,
    INTERVAL,
    INTERVAL_ENDS,
    Columns,
    Figure,
    Recording,
    Table,
    Tally,
    describe_shapes,
    format_cell,
    metrics,
    tally_motions,
)

if TYPE_CHECKING:
    from dualtalker.rig import Rig

DRAWS = 2000
_NAMED_TALKERS = 3
CLIPS, TALKERS = "clips", "talkers"
_UNSEEN = "speakers not trained on"
# Required and aimed at on a source whose recordings tell it: of running speech by the captured
# performer, and of lips in video.
_ASKED: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "facegood": {"jaw r": (0.50, 0.60), "rounding r": (0.48, 0.60)},
    "grid": {"lip gap r": (0.66, 0.75), "rounding r": (0.52, 0.65)},
}
CAPTURED_MOTION = "capture"  # the contestant that is the captured motion itself
_CORRELATIONS = ("lip gap r", "jaw r", "rounding r")
_CONTACTS = ("closures met, captured", "false closures, captured")
_ASKED_SHAPES = (
    "smile", "stretch", "lower lip down", "upper lip up", "lower lip roll", "upper lip roll",
)  # fmt: skip
_HEADLINES: tuple[Figure, ...] = (
    *CAPTURED,
    *(
        replace(figure, required=0.6)
        for figure in describe_shapes()
        if figure.key in [f"{shape} amplitude" for shape in _ASKED_SHAPES]
    ),
)
GROUP_FIGURES: tuple[Figure, ...] = (
    *CAPTURED,
    Figure("lip gap amplitude", "lip gap relative to capture", AMPLITUDE),
    *describe_shapes(),
    *(
        Figure(f"{key}, captured", f"{label}, labelled captures", "")
        for key, label in (
            ("closures met", "lips meet on /p b m/"),
            ("false closures", "open vowels wrongly closed"),
        )
    ),
    Figure("lip gap error mm", "lip gap error (mm)", "", digits=2),
    Figure("LVE mm", "LVE, plain (mm)", "", digits=2),
)


@dataclass(frozen=True)
class Group:
    """Some of the recordings, by their indices."""

    name: str
    """What its figures' keys end with."""
    source: str
    members: tuple[int, ...]


def list_groups(recordings: Sequence[Recording]) -> list[Group]:
    """Return each source of captured recordings, its unseen speakers, and each of its talkers.

    A source whose speakers all are unseen is the group of these; talkers are groups where there
    are several.
    """
    captured = [
        k for k, r in enumerate(recordings) if r.captured and r.reference is not None and r.source
    ]
    groups = []
    for source in dict.fromkeys(recordings[k].source for k in captured):
        members = tuple(k for k in captured if recordings[k].source == source)
        unseen = tuple(k for k in members if recordings[k].unseen)
        if len(unseen) < len(members):
            groups.append(Group(source, source, members))
        if unseen:
            groups.append(Group(f"{source}, {_UNSEEN}", source, unseen))
        talkers = dict.fromkeys(recordings[k].talker for k in members)
        for talker in talkers if len(talkers) > 1 else ():
            own = tuple(k for k in members if recordings[k].talker == talker)
            groups.append(Group(f"{source} {talker}", source, own))
    return groups


def measure_group(
    group: Group, recordings: Sequence[Recording], tallies: Sequence[Tally]
) -> dict[str, float]:
    """Return a group's figures, the ends of their intervals, and what it is made of.

    `tallies` are those of one contestant, one for each recording.
    """
    talkers = list(dict.fromkeys(recordings[k].talker for k in group.members))
    units = [
        [tallies[k] for k in group.members if recordings[k].talker == talker] for talker in talkers
    ]
    if len(units) == 1:
        units = [[tally] for tally in units[0]]
    merged = [_merge(unit) for unit in units]
    whole = _merge(merged)
    figures = whole.result()
    if len(merged) > 1:  # the mean of ends is not the end of the mean
        figures = {n: v for n, v in figures.items() if not n.endswith(INTERVAL_ENDS)}
        figures |= bound_figures(merged, list(figures))
    return {**figures, CLIPS: float(len(group.members)), TALKERS: float(len(talkers))}


def measure_capture(groups: Sequence[Group], recordings: Sequence[Recording], rig: Rig) -> Columns:
    """Return by group what the captured motion itself does: how often its lips meet."""
    captured = {k for group in groups for k in group.members}
    references = [r.reference for k, r in enumerate(recordings) if k in captured]
    own = [recordings[k] for k in sorted(captured)]
    found = tally_motions(own, [m for m in references if m is not None], rig) if own else []
    tallies = [Tally() for _ in recordings]
    for index, tally in zip(sorted(captured), found, strict=True):
        tallies[index] = tally
    return {group.name: measure_group(group, recordings, tallies) for group in groups}


def bound_figures(units: Sequence[Tally], names: Sequence[str]) -> dict[str, float]:
    """Return the ends of the 95 % intervals of figures, by the bootstrap over units.

    A unit is what is drawn: a clip, or all of a talker's. Figures that fewer than two units tell
    have none.
    """
    from scipy.stats import bootstrap

    found: dict[str, float] = {}
    for name in names:
        own = [unit for unit in units if unit.sums.get(name, (0, 0))[1] or name in unit.lags]
        if len(own) < 2:
            continue

        def draw(chosen: np.ndarray, axis: int, name: str = name, own: list[Tally] = own) -> Any:
            assert axis == -1
            return _pool_draws(own, name, chosen.astype(int))

        interval = bootstrap(
            (np.arange(len(own)),),
            draw,
            vectorized=True,
            n_resamples=DRAWS,
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        for end, value in zip(INTERVAL_ENDS, interval, strict=True):
            found[name + end] = float(value)
    return found


def _pool_draws(units: Sequence[Tally], name: str, chosen: np.ndarray) -> np.ndarray:
    """Return a figure `[...]` of each draw of units, by their indices `[..., units]`."""
    if name in units[0].lags:
        scores = np.stack([unit.lags[name][0] for unit in units])[chosen].sum(-2)
        rate_hz = units[0].lags[name][1]
        return np.apply_along_axis(metrics.find_peak_ms, -1, scores, rate_hz)
    sums = np.array([unit.sums[name] for unit in units])[chosen].sum(-2)
    ratio = sums[..., 0] / sums[..., 1]
    return np.asarray(np.sqrt(ratio) if name in units[0].roots else ratio)


def bound_labelled(
    recordings: Sequence[Recording], tallies: Sequence[Tally], names: Sequence[str]
) -> dict[str, float]:
    """Return intervals of figures of labelled speech, drawn over speakers (one: over clips)."""
    speakers = dict.fromkeys(r.talker for r in recordings)
    found: dict[str, float] = {}
    for name in names:
        told = [k for k, tally in enumerate(tallies) if tally.sums.get(name, (0, 0))[1]]
        units = [_merge([tallies[k] for k in told if recordings[k].talker == s]) for s in speakers]
        units = [unit for unit in units if unit.sums]
        if len(units) == 1:
            units = [tallies[k] for k in told]
        found |= bound_figures(units, [name])
    return found


def _merge(tallies: Sequence[Tally]) -> Tally:
    whole = Tally()
    for tally in tallies:
        whole.merge(tally)
    return whole


def choose_headlines(groups: Sequence[Group]) -> list[Group]:
    """Return the group of each source that decides: of its unseen speakers where it has some."""
    chosen = {group.source: group for group in groups if group.name == group.source}
    chosen |= {group.source: group for group in groups if group.name.endswith(_UNSEEN)}
    return list(chosen.values())


def list_headline_figures(groups: Sequence[Group], measured: Sequence[str]) -> list[Figure]:
    """Return the rows that say whether a model is good enough, for each source.

    `measured` are the keys that were measured: what a source does not show is not asked of it.
    """
    rows: list[Figure] = []
    for group in choose_headlines(groups):
        clips = f"{CLIPS}, {group.name}"
        for figure in _HEADLINES:
            key = f"{figure.key}, {group.name}"
            if key in measured:
                required, aim = figure.required, figure.aim
                if figure.key in _CORRELATIONS:
                    required, aim = _ASKED.get(group.source, {}).get(figure.key, (None, None))
                told = replace(figure, key=key, label=f"{figure.label}, {group.name}")
                rows.append(replace(told, required=required, aim=aim, counted=clips))
        rows.append(Figure(clips, f"clips of {group.name}", "captured, kept aside", digits=0))
    return rows


def pick_headlines(
    groups: Sequence[Group], measured: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Return what the rows of `list_headline_figures` show: by figure and group.

    `measured` are one contestant's figures by group.
    """
    ends = ("", *INTERVAL_ENDS)
    wanted = [(f.key + end, end) for f in _HEADLINES for end in ends] + [(CLIPS, "")]
    return {
        f"{key.removesuffix(end)}, {group.name}{end}": measured[group.name][key]
        for group in choose_headlines(groups)
        for key, end in wanted
        if key in measured[group.name]
    }


def tabulate_groups(
    groups: Sequence[Group],
    recordings: Sequence[Recording],
    measured: Mapping[str, Columns],
    subject: str,
    baseline: str,
) -> Table:
    """Return a table of the figures of `subject` by group.

    Correlations stand above those of `baseline`, contacts above those of the capture itself.
    `measured` are the figures by group, by contestant.
    """
    shown = {group.members: group for group in reversed(groups)}  # equal groups once
    columns = [group for group in groups if shown[group.members] is group]
    rows = []
    for figure in GROUP_FIGURES:
        beside = baseline if figure.key in _CORRELATIONS else None
        beside = CAPTURED_MOTION if figure.key in _CONTACTS else beside
        for name in (subject, beside):
            own = [measured[name][group.name] for group in columns] if name else []
            if any(figure.key in column for column in own):
                cells = [format_cell(column, figure.key, min(figure.digits, 2)) for column in own]
                rows.append([figure.label if name == subject else f"… {name}", *cells])
    heads = [_head(group, recordings) for group in columns]
    return Table(
        "Captured motion by source and talker",
        f"{INTERVAL} Of several clips by the bootstrap over clips, of several talkers over "
        "talkers with all of their clips.",
        ["figure", *heads],
        rows,
    )


def _head(group: Group, recordings: Sequence[Recording]) -> str:
    own = [recordings[k] for k in group.members]
    talkers = {r.talker: "not trained on" if r.unseen else "trained on" for r in own}
    named = [f"{talker} {how}" for talker, how in talkers.items()]
    if len(named) > _NAMED_TALKERS:
        kinds = dict.fromkeys(talkers.values())
        named = [f"{list(talkers.values()).count(kind)} talkers {kind}" for kind in kinds]
    clips = f"{len(own)} clip{'s' if len(own) > 1 else ''}"
    return f"{group.source}: {clips}, {', '.join(named)}"
