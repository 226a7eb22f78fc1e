"""Statistics against published and hand-computed examples, and on raters whose mind is known."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from dualtalker.errors import StudyError

pytest.importorskip("scipy")

from dualtalker.study.statistics import (
    bootstrap_scores,
    count_answers_needed,
    count_raters_needed,
    import_scipy,
    measure_agreement,
    measure_preference,
    score_contestants,
)


def test_the_binomial_test_is_exact():
    """9 of 10: p = 2 (10 + 1) / 1024; Clopper and Pearson's interval is in every table."""
    found = measure_preference([3, 2, 4], [3, 3, 4])
    assert (found.wins, found.count, found.share) == (9, 10, 0.9)
    assert found.p_value == pytest.approx(22 / 1024)
    assert found.exact == pytest.approx((0.5550, 0.9975), abs=1e-4)


def test_raters_who_are_of_one_mind_each_count_as_one():
    """Four raters answer ten times alike, two of them for A: 10 times 4 / 3 of the variance."""
    found = measure_preference([10, 10, 0, 0], [10] * 4)
    assert found.design_effect == pytest.approx(10 * 4 / 3)
    assert found.clustered == (0.0, 1.0)
    assert measure_preference([1, 2], [2, 2]).clustered == (0.5, 1.0)
    alone = measure_preference([1, 0] * 20, [1] * 40)
    assert alone.design_effect == pytest.approx(40 / 39)
    assert alone.clustered == pytest.approx(alone.exact, abs=0.03)


@pytest.mark.parametrize(("wins", "counts"), [([4], [9]), ([3, 3], [3, 3]), ([1, 2], [2, 4])])
def test_raters_who_do_not_differ_give_no_interval(wins, counts):
    assert measure_preference(wins, counts).clustered is None


@pytest.mark.parametrize("share", [0.5, 0.65, 0.8])
def test_intervals_over_raters_cover_the_truth_where_exact_ones_do_not(share):
    """24 raters of 10 answers; they differ (beta distribution, intraclass correlation 0.2)."""
    rng = np.random.default_rng(1)
    clustered = exact = 0
    studies = 100
    for study in range(studies):
        minds = rng.beta(4 * share, 4 * (1 - share), 24)
        found = measure_preference(rng.binomial(10, minds), [10] * 24, study)
        assert found.clustered is not None
        clustered += found.clustered[0] <= share <= found.clustered[1]
        exact += found.exact[0] <= share <= found.exact[1]
    assert clustered >= 0.90 * studies > exact


def test_two_contestants_score_their_odds():
    """With the half wins: ln(30.5 / 10.5), half of it each way."""
    half = math.log(30.5 / 10.5) / 2
    assert score_contestants(np.array([[0, 30], [10, 0]])) == pytest.approx(
        [half, -half], abs=1e-4
    )


def test_scores_are_where_wins_are_as_expected():
    """The likelihood is greatest where each one's expected wins are its own."""
    wins = np.array([[0, 7, 9], [5, 0, 8], [2, 6, 0]], float)
    scores = score_contestants(wins)
    chance = 1 / (1 + np.exp(scores[None, :] - scores[:, None]))
    asked = wins + wins.T + 1 - np.eye(3)
    assert (asked * chance * (1 - np.eye(3))).sum(1) == pytest.approx(wins.sum(1) + 1, abs=1e-3)
    assert scores[0] > scores[1] > scores[2] and scores.sum() == pytest.approx(0)


def test_who_wins_all_has_a_finite_score_and_who_never_met_another_is_no_trouble():
    scores = score_contestants(np.array([[0, 20, 0], [0, 0, 0], [0, 0, 0]]))
    assert np.isfinite(scores).all() and scores[0] > scores[2] > scores[1]


def test_known_scores_are_recovered():
    truth = np.array([0.8, 0.1, -0.9])
    rng = np.random.default_rng(2)
    raters = []
    for _ in range(40):
        wins = np.zeros((3, 3))
        for i, j in ((0, 1), (0, 2), (1, 2)):
            wins[i, j] = rng.binomial(6, 1 / (1 + np.exp(truth[j] - truth[i])))
            wins[j, i] = 6 - wins[i, j]
        raters.append(wins)
    ends = bootstrap_scores(raters, 200)
    assert (ends[:, 0] <= truth).all() and (truth <= ends[:, 1]).all()
    assert np.ptp(ends, axis=1).max() < 0.6


# Krippendorff 2011, section C: four observers, twelve units, missing values.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)


def test_agreement_is_that_of_the_published_example():
    units = []
    for values in zip(*OBSERVERS, strict=True):
        given = [str(value) for value in values if value is not None]
        units.append({name: given.count(name) for name in given})
    assert measure_agreement(units) == pytest.approx(0.743, abs=5e-4)


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([], None),
        ([{"A": 1}], None),
        ([{"A": 3}, {"A": 2}], None),
        ([{"A": 2}, {"B": 2}], 1.0),
        ([{"A": 1, "B": 1}, {"A": 1, "B": 1}], 1 - 4 / (8 / 3)),
    ],
)
def test_agreement_of_few(units, expected):
    found = measure_agreement(units)
    assert found is None if expected is None else found == pytest.approx(expected)


def test_power_is_reached_with_the_fewest_answers():
    stats = import_scipy()

    def power(count, share):
        wins = np.arange(count + 1)
        found = [stats.binomtest(int(k), count, 0.5).pvalue <= 0.05 for k in wins]
        return stats.binom.pmf(wins, count, share)[found].sum()

    for share in (0.6, 0.75, 0.2):
        count = count_answers_needed(share)
        assert power(count, share) >= 0.8
        assert all(power(fewer, share) < 0.8 for fewer in range(max(1, count - 4), count))
    # By the normal approximation 194; exact tests need a little more.
    assert 194 <= count_answers_needed(0.6) <= 205
    assert count_answers_needed(1.0) == 6  # 2 / 2^6 is the first below 5 %
    assert count_answers_needed(0.5) is None


def test_more_raters_are_needed_where_they_are_of_one_mind():
    answers = count_answers_needed(0.6)
    assert count_raters_needed(0.6, 10, 1) == math.ceil(answers / 10)
    assert count_raters_needed(0.6, 10, 10) == answers
    assert count_raters_needed(0.501, 10, 1) is None


def test_a_missing_scipy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(StudyError, match=r"dualtalker\[study\]"):
        import_scipy()
