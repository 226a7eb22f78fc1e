"""What answers tell: preference and its intervals, scores, agreement, and how many to ask next.

scipy, an extra, does the statistics; it is imported where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from dualtalker.errors import StudyError

CONFIDENCE = 0.95
RESAMPLES = 2000
POWER = 0.8
# The largest next study that is worth a number.
_MOST_ANSWERS = 5_000
_HALF_WIN = 0.5


@dataclass(frozen=True)
class Preference:
    """How often one of two was preferred."""

    wins: int
    count: int
    p_value: float
    """Exact binomial test against one half, two-sided, as if each answer were independent."""
    exact: tuple[float, float]
    """Clopper and Pearson's 95 % interval of the share, on the same assumption."""
    clustered: tuple[float, float] | None
    """95 % interval of the share over bootstrap samples of raters (expanded percentile); None
    where there are fewer than two, or none differs from the others."""
    design_effect: float
    """Variance of the share between raters over that of independent answers, 1 or more."""

    @property
    def share(self) -> float:
        """Return the share of answers that preferred the first."""
        return self.wins / self.count


def import_scipy() -> Any:
    """Return scipy's statistics.

    Raises:
        StudyError: scipy is not installed.
    """
    try:
        import scipy.stats
    except ImportError as error:
        raise StudyError(
            f'a report on a study needs scipy ({error}): pip install "dualtalker[study]"'
        ) from error
    return scipy.stats


def measure_preference(wins: Sequence[int], counts: Sequence[int], seed: int = 0) -> Preference:
    """Measure a preference from each rater's wins of the first, of so many answers [raters].

    Answers of one rater are alike, so that the bootstrap draws raters with all of their answers
    (Efron and Tibshirani 1993, chapter 8); the exact test does not know of raters.
    """
    stats = import_scipy()
    won, asked = np.asarray(wins, float), np.asarray(counts, float)
    total, number = int(won.sum()), int(asked.sum())
    test = stats.binomtest(total, number, 0.5)
    exact = test.proportion_ci(CONFIDENCE, "exact")
    share = total / number
    clustered = None
    if len(won) > 1 and not np.allclose(won, share * asked):
        found = stats.bootstrap(
            (won, asked),
            lambda won, asked, axis: won.sum(axis) / asked.sum(axis),
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            confidence_level=_expand_confidence(len(won)),
            method="percentile",
            random_state=np.random.default_rng(seed),
        ).confidence_interval
        clustered = (float(found.low), float(found.high))
    return Preference(
        total,
        number,
        float(test.pvalue),
        (float(exact.low), float(exact.high)),
        clustered,
        _measure_design_effect(won, asked),
    )


def _expand_confidence(raters: int) -> float:
    """Return the level at which a percentile interval over few raters holds `CONFIDENCE`.

    Hesterberg 2015, "What Teachers Should Know About the Bootstrap", The American Statistician
    69(4): the expanded percentile interval, as wide as Student's is against the normal one.
    """
    stats = import_scipy()
    reach = stats.t.isf((1 - CONFIDENCE) / 2, raters - 1) * math.sqrt(raters / (raters - 1))
    return float(1 - 2 * stats.norm.sf(reach))


def _measure_design_effect(won: np.ndarray, asked: np.ndarray) -> float:
    """Return the variance of a ratio over raters, over the binomial one (Kish 1965)."""
    raters, number = len(won), asked.sum()
    share = won.sum() / number
    if raters < 2 or share in (0.0, 1.0):
        return 1.0
    between = raters / (raters - 1) * np.square(won - share * asked).sum() / number**2
    return max(1.0, float(between / (share * (1 - share) / number)))


def score_contestants(wins: np.ndarray) -> np.ndarray:
    """Return Bradley and Terry's scores [contestants] of wins [winner, loser], of mean 0.

    The odds that i is preferred to j are exp(score i - score j) (Bradley and Terry 1952, by
    maximum likelihood). Half a win is added to both sides of each pair, or who won all would have
    an infinite score.
    """
    import_scipy()
    from scipy.optimize import minimize

    asked = (wins + wins.T) > 0
    counted = wins + _HALF_WIN * asked

    def lose(scores: np.ndarray) -> tuple[float, np.ndarray]:
        gaps = scores[:, None] - scores[None, :]
        chance = 1 / (1 + np.exp(-gaps))
        slope = counted * (1 - chance)
        return float((counted * np.logaddexp(0, -gaps)).sum()), slope.sum(0) - slope.sum(1)

    found = minimize(lose, np.zeros(len(wins)), jac=True, method="BFGS").x
    return np.asarray(found - found.mean())


def bootstrap_scores(
    wins: Sequence[np.ndarray], resamples: int = 500, seed: int = 0
) -> np.ndarray:
    """Return 95 % intervals [contestants, 2] of scores, over raters drawn anew.

    They are expanded percentiles. `wins` are each rater's own [winner, loser].
    """
    rng = np.random.default_rng(seed)
    stacked = np.stack(list(wins))
    drawn = [
        score_contestants(stacked[rng.integers(0, len(stacked), len(stacked))].sum(0))
        for _ in range(resamples)
    ]
    tail = 50 * (1 - _expand_confidence(len(stacked)))
    return np.percentile(drawn, [tail, 100 - tail], axis=0).T


def measure_agreement(units: Sequence[Mapping[str, int]]) -> float | None:
    """Return Krippendorff's alpha of nominal values, from how often each was given to a unit.

    Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", section D: 1 less observed
    over expected disagreement, from the coincidences of values within units. None where no unit
    has two values, or all values of all units are the same.
    """
    names = sorted({name for unit in units for name in unit})
    counts = np.array([[unit.get(name, 0) for name in names] for unit in units], float)
    counts = counts.reshape(len(units), len(names))
    counts = counts[counts.sum(1) >= 2]  # a value without another to compare with tells nothing
    if not len(counts):
        return None
    per_unit = counts.sum(1, keepdims=True)
    pairs = np.einsum("ui,uj->uij", counts, counts)
    pairs -= np.einsum("ui,ij->uij", counts, np.eye(len(names)))
    coincidences = (pairs / (per_unit[:, None] - 1)).sum(0)
    by_value = coincidences.sum(1)
    total = by_value.sum()
    observed = total - np.trace(coincidences)
    expected = (total**2 - np.square(by_value).sum()) / (total - 1)
    return None if expected == 0 else float(1 - observed / expected)


@lru_cache
def count_answers_needed(share: float) -> int | None:
    """Return the fewest answers whose exact test finds a true share with 80 % power at 5 %.

    Two-sided against one half, answers independent. None where more than 5,000 are needed.
    """
    stats = import_scipy()
    counts = np.arange(1, _MOST_ANSWERS + 1)
    # The largest k of which so few or fewer wins are significant; as many losses are, too.
    tail = (1 - CONFIDENCE) / 2
    least = stats.binom.ppf(tail, counts, 0.5)
    least -= stats.binom.cdf(least, counts, 0.5) > tail
    power = stats.binom.cdf(least, counts, share) + stats.binom.cdf(least, counts, 1 - share)
    enough = np.flatnonzero(power >= POWER)
    return int(counts[enough[0]]) if len(enough) else None


def count_raters_needed(share: float, per_rater: float, design_effect: float) -> int | None:
    """Return how many raters give `count_answers_needed`, by the design effect more of them."""
    answers = count_answers_needed(share)
    return None if answers is None else math.ceil(answers * design_effect / per_rater)
