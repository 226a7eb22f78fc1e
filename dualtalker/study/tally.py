"""Gathers answers: which files count, whom the rule excludes, and who preferred whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dualtalker.errors import StudyError
from dualtalker.files import check_file
from dualtalker.study.answers import MAX_ANSWERS_BYTES, Answer, Answers, read_answers
from dualtalker.study.plan import CHECKED, Key


@dataclass
class Gathering:
    """The answers that count, and what became of the others."""

    raters: list[Answers] = field(default_factory=list)
    excluded: list[tuple[int, int]] = field(default_factory=list)
    """Participant and mistakes, by the study's rule."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """File and reason."""


@dataclass(frozen=True)
class Tally:
    """Answers to one question, of those who count."""

    wins: np.ndarray
    """[raters, winner, loser] of contestants, without checks and second showings."""
    units: list[Counter[str]]
    """By pair of videos, how often each contestant was chosen."""
    repeated: tuple[int, int]
    """Pairs answered alike when they came again, and all that came again."""
    left: tuple[int, int]
    """Answers that chose the left (or first) video, and all."""


def list_files(paths: Sequence[Path]) -> list[Path]:
    """Return files, and of folders the JSON files directly in them."""
    return [
        file
        for path in paths
        for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])
    ]


def gather_answers(paths: Sequence[Path], key: Key) -> Gathering:
    """Read files of answers; of several of one participant the one that ended first counts."""
    found = Gathering()
    by_number: dict[int, list[tuple[str, str, Answers]]] = {}
    for path in paths:
        try:
            check_file(path, StudyError, "a participant's answers", MAX_ANSWERS_BYTES)
            answers = read_answers(path.read_bytes(), key)
        except StudyError as error:
            found.left_out.append((str(path), str(error)))
        else:
            entry = (answers.ended, str(path), answers)
            by_number.setdefault(answers.participant, []).append(entry)
    for number, entries in sorted(by_number.items()):
        (_, first, answers), *others = sorted(entries, key=lambda entry: entry[:2])
        for _, file, other in others:
            told = "the same answers as" if other == answers else "this participant answered in"
            found.left_out.append((file, f"{told} {first}"))
        mistakes = count_mistakes(answers, key)
        if mistakes > key.most_mistakes:
            found.excluded.append((number, mistakes))
        else:
            found.raters.append(answers)
    return found


def count_mistakes(answers: Answers, key: Key) -> int:
    """Count wrong answers to checks, and a repeated pair answered otherwise to every question."""
    wrong = 0
    for answer in answers.answers:
        kind = key.kind_of(answer.pair)
        if kind != "pair":
            wrong += sum(
                key.videos[answer.chosen_video(name)].kind != "pair" for name in CHECKED[kind]
            )
    repeated = _pair_repeated(answers)
    if repeated is not None and not any(
        repeated[0].chosen_video(name) == repeated[1].chosen_video(name)
        for name in key.plan.questions
    ):
        wrong += 1
    return wrong


def _pair_repeated(answers: Answers) -> tuple[Answer, Answer] | None:
    seen: dict[int, Answer] = {}
    for answer in answers.answers:
        if answer.pair in seen:
            return seen[answer.pair], answer
        seen[answer.pair] = answer
    return None


def tally_answers(raters: Sequence[Answers], key: Key, question: str) -> Tally:
    """Count one question's answers; checks and second showings are no preference."""
    places = {name: place for place, name in enumerate(key.contestants)}
    wins = np.zeros((len(raters), len(places), len(places)))
    units: dict[int, Counter[str]] = {}
    alike = repeats = left = total = 0
    for number, rater in enumerate(raters):
        seen = set()
        for answer in rater.answers:
            left += answer.chosen[question] == "left"
            total += 1
            if key.kind_of(answer.pair) != "pair" or answer.pair in seen:
                continue
            seen.add(answer.pair)
            chosen = key.videos[answer.chosen_video(question)].contestant
            both = {key.videos[name].contestant for name in (answer.left, answer.right)}
            [other] = both - {chosen}
            wins[number, places[chosen], places[other]] += 1
            units.setdefault(answer.pair, Counter())[chosen] += 1
        if (pair := _pair_repeated(rater)) is not None:
            repeats += 1
            alike += pair[0].chosen_video(question) == pair[1].chosen_video(question)
    return Tally(wins, list(units.values()), (alike, repeats), (left, total))
