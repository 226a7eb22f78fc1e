"""Who is shown what: counterbalance, repeats and checks, for any size of a study."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualtalker.errors import StudyError
from dualtalker.study.plan import Trial, draw_schedules, list_pairs, read_key, write_key
from tiny_study import make_tiny_study


@st.composite
def sizes(draw):
    pairs = draw(st.sampled_from([1, 3, 6]))
    recordings = draw(st.integers(1, 7))
    checks = draw(st.sampled_from([2, 4]))
    return pairs, recordings, checks, draw(st.integers(1, pairs * recordings))


def split(schedule, pairs, recordings):
    """The first showings of pairs, the repeated one, and the checks."""
    items = [trial for trial in schedule if trial.pair < pairs * recordings]
    counts = Counter(trial.pair for trial in items)
    [repeated] = [pair for pair, count in counts.items() if count == 2]
    again = [trial for trial in items if trial.pair == repeated][1]
    checks = [trial for trial in schedule if trial.pair >= pairs * recordings]
    return [trial for trial in items if trial != again], again, checks


@given(sizes())
def test_each_is_shown_equally_often_on_each_side(size):
    pairs, recordings, checks, trials = size
    schedules = draw_schedules(*size, seed=0)
    shown = Counter(t for s in schedules for t in split(s, pairs, recordings)[0])
    every = {Trial(p, side) for p in range(pairs * recordings) for side in (False, True)}
    assert set(shown) == every and len(set(shown.values())) == 1
    checked = Counter(t for s in schedules for t in split(s, pairs, recordings)[2])
    assert len(checked) == 2 * checks and len(set(checked.values())) == 1
    assert all(len(schedule) == trials + checks + 1 for schedule in schedules)


@given(sizes(), st.data())
def test_any_participants_in_a_row_are_balanced(size, data):
    pairs, recordings, _, _ = size
    schedules = draw_schedules(*size, seed=0)
    start = data.draw(st.integers(0, len(schedules) - 1))
    row = schedules[start : start + data.draw(st.integers(1, len(schedules)))]
    shown = Counter(dict.fromkeys(range(pairs * recordings), 0))
    shown.update(t.pair for s in row for t in split(s, pairs, recordings)[0])
    assert max(shown.values()) - min(shown.values()) <= 1


@given(sizes())
def test_within_a_participant_pairs_and_sides_are_spread(size):
    pairs, recordings, checks, _ = size
    for schedule in draw_schedules(*size, seed=0)[:20]:
        items, again, checked = split(schedule, pairs, recordings)
        by_pair = Counter(dict.fromkeys(range(pairs), 0))
        by_pair.update(trial.pair // recordings for trial in items)
        assert max(by_pair.values()) - min(by_pair.values()) <= 1
        for pair in range(pairs):
            own = [trial for trial in items if trial.pair // recordings == pair]
            assert abs(2 * sum(trial.swapped for trial in own) - len(own)) <= 2
        assert again == Trial(schedule[0].pair, not schedule[0].swapped)
        assert schedule.index(again) > len(schedule) // 2 - 1 > 0
        assert sorted(t.pair for t in checked) == [pairs * recordings + k for k in range(checks)]


@given(sizes(), st.integers(0, 2**31))
def test_the_seed_decides_the_order_alone(size, seed):
    first, again, other = (draw_schedules(*size, seed=s) for s in (seed, seed, seed + 1))
    assert first == again
    pairs, recordings, _, _ = size
    for one, two in zip(first, other, strict=True):
        assert set(split(one, pairs, recordings)[0]) == set(split(two, pairs, recordings)[0])
    if len(first[0]) > 6:
        assert first != other


def test_pairs_are_all_twos():
    assert list_pairs("ABC") == [("A", "B"), ("A", "C"), ("B", "C")]


def test_the_key_comes_back_and_no_rule_changes_afterwards(tmp_path):
    pytest.importorskip("av")
    key = make_tiny_study(tmp_path)
    folder = tmp_path / "study"
    assert read_key(folder) == key
    text = (folder / "key.json").read_text()
    (folder / "key.json").write_text(text.replace('"most_mistakes": 1', '"most_mistakes": 9'))
    with pytest.raises(StudyError, match="take the key from your copy"):
        read_key(folder)
    for damage in ("", "[]", "{}", '{"study": 1}', text[:-9]):
        (folder / "key.json").write_text(damage)
        with pytest.raises(StudyError, match="no key of a study"):
            read_key(folder)
    with pytest.raises(StudyError, match="no such file"):
        read_key(tmp_path)
    write_key(folder, key)
    assert (folder / "key.json").read_text() == text
