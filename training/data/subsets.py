"""Corpora with less paired data: a fraction of the *duration*, for data-efficiency experiments.

A few long recordings cannot be thinned by whole clips, so they are cut into pieces at quiet spots
and pieces are kept. What is trained on the result lives in `training/ablate.py`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.evaluation import metrics
from dualtalker.files import write_whole
from training.data.clips import (
    INDEX_NAME,
    MOTION_RATE_HZ,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    Clip,
    CorpusError,
    Phone,
    claim_clips,
    digest_of,
    iterate_clips,
    save_clips,
)
from training.data.records import read_earlier

PLAN_NAME = "reduction.json"
_PIECE_S = 6.0
_SHORTEST_S = 1.0
_SEARCH_S = 1.0  # a cut moves this far to a quiet spot


def cut_clip(clip: Clip, first: int, last: int) -> Clip:
    """Return frames `first` to `last` (exclusive) of a clip with their sound and phones.

    The transcript is dropped, because nobody knows which of its words are left.
    """
    start, end = first * SAMPLES_PER_FRAME, min(last * SAMPLES_PER_FRAME, len(clip.audio))
    start_s, end_s = start / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ
    phones = None
    if clip.phones is not None:
        inside = [p for p in clip.phones if p.start_s < end_s and p.end_s > start_s]
        phones = [
            Phone(p.label, max(p.start_s, start_s) - start_s, min(p.end_s, end_s) - start_s)
            for p in inside
            if min(p.end_s, end_s) - max(p.start_s, start_s) > 1e-3
        ]
    whole = first == 0 and last >= clip.frames
    return replace(
        clip,
        name=clip.name if whole else f"{clip.name}@{start_s:.2f}",
        audio=clip.audio[start:end],
        motion=None if clip.motion is None else clip.motion[first:last],
        phones=phones,
        transcript=clip.transcript if whole else None,
    )


def find_cuts(clip: Clip) -> list[int]:
    """Return the frames between which the clip is cut: 0, quiet spots, the end.

    The pieces are about `_PIECE_S` long; each cut is the quietest frame within a second of where
    equal pieces would end, but never leaves a piece shorter than half of its share.
    """
    count = max(1, round(clip.duration_s / _PIECE_S))
    times_s = np.arange(clip.frames) / MOTION_RATE_HZ
    loudness = metrics.measure_loudness(clip.audio, SAMPLE_RATE_HZ, times_s)
    share = clip.frames / count
    reach = int(min(_SEARCH_S * MOTION_RATE_HZ, share / 4))
    cuts = [0]
    for number in range(1, count):
        middle = round(number * share)
        near = np.arange(middle - reach, middle + reach + 1)
        cuts.append(int(near[np.argmin(loudness[near])]))
    return [*cuts, clip.frames]


def choose_pieces(
    clips: Sequence[Clip], fraction: float, seed: int
) -> tuple[list[Clip], list[Clip]]:
    """Split paired clips into (kept, left over): `fraction` of each style's duration is kept.

    With one seed, what a smaller fraction keeps is part of what a larger one keeps, but for the
    last piece of each style, which is cut to fit.
    """
    kept: list[Clip] = []
    left: list[Clip] = []
    for style in sorted({clip.style for clip in clips}):
        spans = [
            (clip, first, last)
            for clip in clips
            if clip.style == style
            for first, last in itertools.pairwise(find_cuts(clip))
        ]
        order = np.random.default_rng([seed, len(spans)]).permutation(len(spans))
        budget = max(1, round(fraction * sum(last - first for _, first, last in spans)))
        for place, index in enumerate(order):
            clip, first, last = spans[index]
            taken = min(last - first, budget)
            budget -= taken
            if taken < min(_SHORTEST_S * MOTION_RATE_HZ, last - first) and place > 0:
                taken = 0  # too short a rest to learn from
            if taken > 0:
                kept.append(cut_clip(clip, first, first + taken))
            if first + taken < last:
                left.append(cut_clip(clip, first + taken, last))
    return kept, left


def without_motion(clip: Clip) -> Clip:
    """The same sound as an unpaired clip."""
    return replace(clip, motion=None, motion_mask=np.zeros_like(clip.motion_mask), style="none")


def reduce_corpus(
    folders: Sequence[Path],
    out: Path,
    fraction: float,
    seed: int,
    holdout: Sequence[str] = (),
    leftover_unpaired: bool = False,
) -> Path:
    """Write into `out` what `folders` hold, with `fraction` of the paired training duration.

    Validation clips, and clips whose name contains one of `holdout`, stay whole and become
    validation; unpaired clips stay. `leftover_unpaired` keeps the rest of the paired clips as
    sound without motion. Nothing is done where `out` is complete already.

    Raises:
        CorpusError: the fraction is not in (0, 1], nothing is paired, or `out` holds another
            reduction or does not tell which.
    """
    if not 0.0 < fraction <= 1.0:
        raise CorpusError(f"found fraction {fraction}, expected more than 0 and at most 1")
    plan = {
        "sources": [digest_of(folder) for folder in folders],
        "fraction": fraction,
        "seed": seed if fraction < 1.0 else None,
        "holdout": list(holdout),
        "leftover_unpaired": leftover_unpaired and fraction < 1.0,
    }
    if (out / INDEX_NAME).exists():
        mend = f"delete {out} to reduce again"
        found = read_earlier(out / PLAN_NAME, dict[str, Any], CorpusError, mend)
        if found != plan:
            raise CorpusError(
                f"{out} was reduced as {found}, expected {plan}: delete it or give another folder"
            )
        return out
    clips = [clip for folder in folders for clip in iterate_clips(folder)]
    for clip in clips:
        if any(part in clip.name for part in holdout):
            clip.split = "validation"
    paired = [c for c in clips if c.split == "train" and c.motion is not None]
    others = [c for c in clips if c.split != "train" or c.motion is None]
    if not paired:
        raise CorpusError(
            f"found no paired training clip in {[str(f) for f in folders]}; "
            "make some with `python -m training.corpus`"
        )
    kept, left = (paired, []) if fraction == 1.0 else choose_pieces(paired, fraction, seed)
    if leftover_unpaired:
        others += [without_motion(clip) for clip in left if clip.duration_s >= _SHORTEST_S]
    claim_clips(out)
    write_whole(out / PLAN_NAME, json.dumps(plan, indent=1) + "\n")
    save_clips(out, [*kept, *others])
    return out
