"""How sure a ratio is: exact intervals by ranks, which no outlier and no heavy tail upsets.

Both hold whatever the distribution of the noise is. The one for pairs asks that chance has drawn
which of a pair is measured first: of two equal servers either may then have had the better turn,
with odds of one to one in each pair, however the machine's speed drifts, leaps or swings. The one
for two samples asks that the measurements of both are of one distribution, but for the ratio.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import cache
from itertools import combinations_with_replacement, product
from typing import NamedTuple

__all__ = ["Interval", "fewest_each", "fewest_pairs", "of_pairs", "of_two"]

MOST = 300.0
"""Stands for the logarithm of a ratio where a server did nothing at all, and bounds any other."""


class Interval(NamedTuple):
    """How many times as good something is."""

    ratio: float
    low: float
    """Zero where there are too few figures for the asked certainty, as `high` is infinite."""
    high: float


def of_pairs(ratios: Sequence[float], error: float) -> Interval:
    """By the signed ranks of Wilcoxon, with the estimate of Hodges and Lehmann.

    :param ratios: of the pairs, at least one.
    :param error: the probability that the interval misses the true ratio, at most.
    """
    logs = [_log(ratio) for ratio in ratios]
    means = sorted((one + other) / 2 for one, other in combinations_with_replacement(logs, 2))
    return _interval(means, _rank(_signed_ranks(len(logs)), error))


def of_two(new: Sequence[float], old: Sequence[float], error: float) -> Interval:
    """By the rank sum of Wilcoxon, Mann and Whitney: how many times as large `new` is.

    :param error: as for :func:`of_pairs`.
    """
    ratios = sorted(_log(one) - _log(other) for one, other in product(new, old))
    return _interval(ratios, _rank(_rank_sums(len(new), len(old)), error))


def fewest_pairs(error: float) -> int:
    """Of fewer pairs none can be so sure, whatever they say."""
    return next(count for count in range(1, 1000) if 2 / 2**count <= error)


def fewest_each(error: float) -> int:
    """Likewise of two samples of this size."""
    return next(count for count in range(1, 1000) if 2 / math.comb(2 * count, count) <= error)


def _log(ratio: float) -> float:
    return max(-MOST, min(math.log(ratio), MOST)) if ratio > 0 else -MOST


def _interval(ordered: list[float], rank: int) -> Interval:
    """Between the values that are `rank` places from either end; rank 1 is the end itself."""
    middle = _exp(statistics.median(ordered))
    if rank < 1:
        return Interval(middle, 0.0, math.inf)
    return Interval(middle, _exp(ordered[rank - 1]), _exp(ordered[-rank]))


def _exp(value: float) -> float:
    if abs(value) < MOST / 4:
        return math.exp(value)
    return math.inf if value > 0 else 0.0


def _rank(counts: tuple[int, ...], error: float) -> int:
    """How many places from the end an interval may begin: as many values as the statistic may have
    at either end with half of the error.

    :param counts: of the ways in which the statistic becomes 0, 1, 2 ...
    """
    total, ways = sum(counts), 0
    for rank, count in enumerate(counts):
        ways += count
        if 2 * ways > error * total:
            return rank
    raise AssertionError("an error of at least 1 was asked for")


@cache
def _signed_ranks(count: int) -> tuple[int, ...]:
    """In how many ways some of the numbers from 1 to `count` have each sum."""
    ways = [1]
    for number in range(1, count + 1):
        longer = ways + [0] * number
        for place, value in enumerate(ways):
            longer[place + number] += value
        ways = longer
    return tuple(ways)


@cache
def _rank_sums(one: int, other: int) -> tuple[int, ...]:
    """In how many orders of so many of two kinds there are 0, 1, 2 ... pairs with the second kind
    before the first: the coefficients of the Gaussian binomial."""
    ways = [1] + [0] * (one * other)
    for number in range(1, one + 1):
        for place in range(len(ways) - 1, other + number - 1, -1):
            ways[place] -= ways[place - other - number]
        for place in range(number, len(ways)):
            ways[place] += ways[place - number]
    return tuple(ways)
