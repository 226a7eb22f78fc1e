"""A study's plan: which videos are shown as pairs, to whom in which order, and what is left out.

The plan is public; the key, which tells whose video is whose, is not.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from dualtalker.errors import StudyError
from dualtalker.files import check_file, read_json, sha256, write_whole

FORMAT = 1
KEY_NAME = "key.json"
MAX_KEY_BYTES = 1 << 26
# As peers ask: FaceFormer's and CodeTalker's studies have these two.
QUESTIONS = {
    "sync": "Which face's lips match the sound better?",
    "natural": "Which face looks more natural?",
}
_LEAST_SCHEDULES = 48

Layout = Literal["side", "turn"]
Kind = Literal["pair", "shifted", "frozen"]
# Questions that a check has a right answer to: who moves late may still look natural.
CHECKED = {"shifted": ("sync",), "frozen": ("sync", "natural")}


class Trial(msgspec.Struct, frozen=True, array_like=True):
    """One showing of a pair: its index in the plan, and whether its second video is left."""

    pair: int
    swapped: bool


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page needs; it tells nothing of contestants."""

    title: str
    layout: Layout
    """`side` by side, or one after the other in `turn`."""
    consent: tuple[tuple[str, str], ...]
    """Tags (`h2`, `p`, `li`) and texts; without any the page does not begin."""
    questions: dict[str, str]
    pairs: tuple[tuple[str, str], ...]
    """Names of videos, those of checks last."""
    schedules: tuple[tuple[Trial, ...], ...]
    """Participant n has the one at n modulo their number."""

    def schedule_of(self, participant: int) -> tuple[Trial, ...]:
        """Return what a participant is shown, in order."""
        return self.schedules[participant % len(self.schedules)]

    def sides_of(self, trial: Trial) -> tuple[str, str]:
        """Return the videos of a trial, the left (or first) one first."""
        first, second = self.pairs[trial.pair]
        return (second, first) if trial.swapped else (first, second)


class Video(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a video shows: the contestant as it is, moving late, or frozen."""

    contestant: str
    recording: str
    kind: Kind


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of a study. Its digest stands in every answer, so that no rule changes afterwards."""

    format: int
    seed: int
    contestants: tuple[str, ...]
    recordings: tuple[str, ...]
    videos: dict[str, Video]
    most_mistakes: int
    """A participant with more mistakes is excluded. A mistake is a wrong answer to a check, or
    the repeated pair answered otherwise to every question."""
    plan: Plan

    @property
    def digest(self) -> str:
        """Return the SHA-256 of all that was decided."""
        return sha256(json.dumps(msgspec.to_builtins(self), sort_keys=True))

    @property
    def rule(self) -> str:
        """Say in words who is excluded."""
        return (
            f"A participant with more than {self.most_mistakes} mistakes is excluded. A mistake "
            "is each wrong answer to a check (face moved 300 ms after the sound: lip sync; frozen "
            "face: both questions), and a repeated pair that is answered otherwise to every "
            "question."
        )

    def kind_of(self, pair: int) -> Kind:
        """Tell whether a pair of the plan is one of contestants, or which check."""
        kinds = [self.videos[name].kind for name in self.plan.pairs[pair]]
        return next((kind for kind in kinds if kind != "pair"), "pair")


def draw_schedules(
    pairs: int, recordings: int, checks: int, trials: int, seed: int
) -> tuple[tuple[Trial, ...], ...]:
    """Draw who sees what: `trials` of the pairs on the recordings, all checks, one pair again.

    Pair p on recording r is number p * recordings + r; checks follow. Over all schedules each is
    shown equally often, on each side equally often; over any participants in a row, numbers of
    showings differ by one at most. Within a schedule pairs are spread evenly, too. The pair that
    comes first comes again, its sides swapped, in the second half.
    """
    items = pairs * recordings
    period = 2 * items // math.gcd(2 * items, trials)
    period = math.lcm(period, 2)
    count = period * -(-_LEAST_SCHEDULES // period)
    return tuple(
        _draw_schedule(number, pairs, recordings, checks, trials, seed) for number in range(count)
    )


def _draw_schedule(
    number: int, pairs: int, recordings: int, checks: int, trials: int, seed: int
) -> tuple[Trial, ...]:
    rng = np.random.default_rng([seed, number])
    items = [
        _find_item(place, pairs, recordings)
        for place in range(number * trials, (number + 1) * trials)
    ]
    begun, *others = (items[k] for k in rng.permutation(trials))
    others += [
        Trial(pairs * recordings + check, bool((number + check) % 2)) for check in range(checks)
    ]
    rest = [others[k] for k in rng.permutation(len(others))]
    place = int(rng.integers(-(-len(rest) // 2), len(rest) + 1))
    rest.insert(place, Trial(begun.pair, not begun.swapped))
    return (begun, *rest)


def _find_item(place: int, pairs: int, recordings: int) -> Trial:
    """Return what stands at a place of the endless row that participants take their trials from.

    Neighbors in it differ in pair and recording; each round of all has the other sides.
    """
    turn, place = divmod(place, pairs * recordings)
    block, pair = divmod(place, pairs)
    recording = (block + pair) % recordings
    return Trial(pair * recordings + recording, bool((turn + block + pair) % 2))


def list_pairs(contestants: Sequence[str]) -> list[tuple[str, str]]:
    """Return every two contestants, in the order in which the plan counts them."""
    return list(itertools.combinations(contestants, 2))


def write_key(folder: Path, key: Key) -> None:
    """Write the key into a study's folder."""
    record = {"study": key.digest, **msgspec.to_builtins(key)}
    write_whole(folder / KEY_NAME, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def read_key(folder: Path) -> Key:
    """Read a study's key.

    Raises:
        StudyError: there is none, it is damaged, or was changed since the study was made.
    """
    path = folder / KEY_NAME
    check_file(path, StudyError, "the key of a study, of `dualtalker study make`", MAX_KEY_BYTES)
    try:
        record = msgspec.convert(read_json(path, MAX_KEY_BYTES), dict[str, Any])
        digest = record.pop("study", None)
        key = msgspec.convert(record, Key)
    except (ValueError, msgspec.DecodeError) as error:
        raise StudyError(f"{path}: no key of a study ({error}); make the study again") from error
    if key.format != FORMAT or key.digest != digest:
        raise StudyError(
            f"{path}: it is not as `dualtalker study make` wrote it: the study is {key.digest}, "
            f"the file says {digest}; take the key from your copy"
        )
    return key
