"""The report: numbers by hand, raters whose mind is known, exclusions, and files of no worth."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualtalker.cli.main import main
from dualtalker.errors import StudyError
from dualtalker.study import read_answers, report_study
from dualtalker.study.plan import write_key
from dualtalker.study.statistics import measure_preference
from dualtalker.study.tally import count_mistakes, gather_answers, list_files, tally_answers
from tiny_study import answer_all, choose_first, make_key

pytest.importorskip("scipy")

RECORDINGS = ("one", "two", "three", "four", "five", "six")


def save(folder, record, name=None):
    folder.mkdir(exist_ok=True)
    path = folder / (name or f"{record['participant']}.json")
    path.write_text(json.dumps(record))
    return path


def as_answers(record, key):
    return read_answers(json.dumps(record).encode(), key)


def choose_last(left, right, question):
    """See every check, and prefer the contestant whose name comes last."""
    if left.kind != right.kind:
        return left.kind == "pair"
    return left.contestant > right.contestant


def miss_checks(*kinds):
    def choose(left, right, question):
        if {left.kind, right.kind} & set(kinds):
            return left.kind != "pair"
        return choose_first(left, right, question)

    return choose


def test_numbers_are_those_of_hand(tmp_path):
    """Three for A and one for B, two recordings each: 6 of 8, p = 2 (28 + 8 + 1) / 256."""
    key = make_key()
    for participant in range(4):
        choose = choose_last if participant == 3 else choose_first
        save(tmp_path / "answers", answer_all(key, participant, choose))
    report = report_study(key, [tmp_path / "answers"], tmp_path / "report")
    first, second = report.details["preferences"]
    for row, question in ((first, "sync"), (second, "natural")):
        assert (row["question"], row["first"], row["second"]) == (question, "A", "B")
        found = row["preference"]
        assert (found["wins"], found["count"], row["share"]) == (6, 8, 0.75)
        assert found["p_value"] == pytest.approx(2 * (28 + 8 + 1) / 256)
        # Deviations of wins from 1.5 are 0.5 three times, and 1.5.
        variance = 4 / 3 * (3 * 0.25 + 2.25) / 64
        assert found["design_effect"] == pytest.approx(variance / (0.75 * 0.25 / 8))
    scores = report.details["scores"]["sync"]
    assert scores["A"]["score"] == pytest.approx(np.log(6.5 / 2.5) / 2, abs=1e-4)
    # Each of two units has three A and one B: observed 3 / 6 of coincidences, expected 24 / 56.
    agreement = report.details["agreement"]["natural"]
    assert agreement["alpha"] == pytest.approx(1 - (2 * 6 / 3) / 8 / (2 * 6 * 2 / (8 * 7)))
    assert (agreement["repeated_alike"], agreement["repeated"]) == (4, 4)
    assert report.details["participants"] == [0, 1, 2, 3] and not report.details["left_out"]


def test_raters_of_known_preference_are_recovered():
    """In 30 simulated studies of three contestants the stated intervals hold the truth."""
    key = make_key(("A", "B", "C"), RECORDINGS, 12)
    truth = {("A", "B"): 0.6, ("A", "C"): 0.8, ("B", "C"): 0.7}
    rng = np.random.default_rng(3)
    covered = total = 0
    for _ in range(30):
        raters = []
        for participant in range(20):
            lean = rng.normal(0, 0.06)

            def choose(left, right, question, lean=lean):
                if left.kind != right.kind:
                    return left.kind == "pair"
                pair = tuple(sorted((left.contestant, right.contestant)))
                is_first = rng.random() < truth[pair] + lean
                return (left.contestant == pair[0]) == is_first

            raters.append(as_answers(answer_all(key, participant, choose), key))
        wins = tally_answers(raters, key, "natural").wins
        for (i, j), share in zip(((0, 1), (0, 2), (1, 2)), truth.values(), strict=True):
            asked = wins[:, i, j] + wins[:, j, i]
            low, high = measure_preference(wins[:, i, j], asked).clustered
            covered += low <= share <= high
            total += 1
    assert total == 90 and covered >= 0.90 * total


@pytest.mark.parametrize(
    ("choose", "mistakes"),
    [
        (choose_first, 0),
        (miss_checks("shifted"), 2),  # lip sync, on two recordings
        (miss_checks("frozen"), 4),
        (miss_checks("shifted", "frozen"), 6),
    ],
)
def test_mistakes_are_counted(choose, mistakes):
    key = make_key()
    assert count_mistakes(as_answers(answer_all(key, 1, choose), key), key) == mistakes


def test_who_answers_by_side_makes_a_mistake_at_the_repeated_pair():
    key = make_key()
    always_left = as_answers(answer_all(key, 1, lambda *shown: True), key)
    seen = [key.plan.sides_of(trial)[0] for trial in key.plan.schedule_of(1)]
    checks = [key.videos[name].kind for name in seen]
    expected = 1 + checks.count("shifted") + 2 * checks.count("frozen")
    assert count_mistakes(always_left, key) == expected

    def by_side_once(left, right, question):
        return question == "sync" or choose_first(left, right, question)

    half = as_answers(answer_all(key, 1, by_side_once), key)
    wrong = sum(kind != "pair" for kind in checks)
    assert count_mistakes(half, key) == wrong  # `natural` was answered alike


def test_the_second_showing_and_checks_are_no_preference():
    key = make_key(("A", "B", "C"), RECORDINGS)
    tally = tally_answers([as_answers(answer_all(key, 5, choose_first), key)], key, "sync")
    np.testing.assert_array_equal(tally.wins[0], [[0, 6, 6], [0, 0, 6], [0, 0, 0]])
    assert tally.left[1] == 18 + 4 + 1 and tally.repeated == (1, 1)


def test_files_of_no_worth_are_named_and_left_out(tmp_path):
    key = make_key()
    folder = tmp_path / "answers"
    good = answer_all(key, 1, choose_first)
    save(folder, good)
    save(folder, good, "1 (1).json")
    later = {**answer_all(key, 1, choose_last), "ended": "2026-01-03T00:00:00.000Z"}
    save(folder, later, "0.json")
    save(folder, answer_all(key, 2, miss_checks("frozen")))
    save(folder, {**good, "participant": 3}, "moved.json")
    save(folder, {**good, "study": "0" * 64, "participant": 4})
    (folder / "hostile.json").write_bytes(b"[" * 100_000)
    (folder / "huge.json").write_bytes(b" " * (2 << 20))
    (folder / "<b>|.json").write_bytes(b"<script>alert(1)</script>")
    (folder / "folder.json").mkdir()
    (folder / "notes.txt").write_text("not looked at")
    found = gather_answers(list_files([folder]), key)
    assert [rater.participant for rater in found.raters] == [1]
    assert found.excluded == [(2, 4)]
    reasons = {path.rpartition("/")[2]: reason for path, reason in found.left_out}
    assert reasons.keys() == {"1.json", "0.json", "moved.json", "4.json", "hostile.json",
                              "huge.json", "<b>|.json", "folder.json"}  # fmt: skip
    assert reasons["1.json"].startswith("the same answers as")
    assert reasons["0.json"].startswith("this participant answered in")
    assert "for participant 3" in reasons["moved.json"] and "study 0000" in reasons["4.json"]
    report = report_study(key, [folder], tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "<script" not in page and "&lt;b&gt;" in page and "8 left out" in page
    assert not re.search(r"(src|href)=.?https?:", page) and page.count("<svg") == 2
    text = (tmp_path / "report" / "report.md").read_text()
    assert "Excluded by the rule" in text and key.rule in text and text.endswith("\n")
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == json.loads(
        json.dumps(report.details)
    )


def test_no_answers_are_no_report(tmp_path):
    key = make_key()
    with pytest.raises(StudyError, match="found none"):
        report_study(key, [tmp_path], tmp_path / "report")
    save(tmp_path, answer_all(key, 2, miss_checks("frozen")))
    with pytest.raises(StudyError, match="participant 2 made 4 mistakes"):
        report_study(key, [tmp_path], tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_one_rater_is_reported_without_intervals(tmp_path):
    key = make_key(("A", "B", "C"))
    save(tmp_path, answer_all(key, 2, choose_first))
    report = report_study(key, [tmp_path / "2.json"], tmp_path / "report")
    assert all(row["preference"]["clustered"] is None for row in report.details["preferences"])
    assert report.details["scores"]["sync"]["A"]["interval"] is None


def test_the_command_reports(tmp_path, capsys):
    key = make_key()
    write_key(tmp_path, key)
    for participant in range(3):
        save(tmp_path / "answers", answer_all(key, participant, choose_first))
    assert main(["study", "report", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "| A over B | 6 of 6 | 100 % |" in told and "report.html" in told
    assert main(["study", "report", str(tmp_path)]) == 0  # ours are written over
    capsys.readouterr()
    (tmp_path / "report" / "report.md").write_text("mine")
    assert main(["study", "report", str(tmp_path)]) == 2
    assert "was not written by dualtalker" in capsys.readouterr().err


@given(st.binary(max_size=300), st.data())
def test_damaged_answers_are_refused_or_as_good_as_new(noise, data):
    """Whatever takes the place of a part: no other error, and no answers beside the plan."""
    key = make_key()
    content = json.dumps(answer_all(key, 1, choose_first)).encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 40)))
    try:
        answers = read_answers(content[:start] + noise + content[end:], key)
    except StudyError as error:
        assert str(error)
        return
    shown = [(a.pair, a.left, a.right) for a in answers.answers]
    schedule = key.plan.schedule_of(answers.participant)
    assert shown == [(trial.pair, *key.plan.sides_of(trial)) for trial in schedule]
