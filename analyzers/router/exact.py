"""Exact tests of counts: binomial and hypergeometric tails. Pure, by sums of logarithms, without SciPy."""

from __future__ import annotations

import math
from collections.abc import Sequence


def binomial_cdf(most: int, trials: int, chance: float) -> Sequence[float]:
    """Return P(X <= k) for k from 0 to ``most``, X binomial of ``trials`` and ``chance`` (0 < chance < 1).

    >>> [round(value, 4) for value in binomial_cdf(1, 3, 0.5)]
    [0.125, 0.5]
    """
    found, total = [], 0.0
    hit, miss = math.log(chance), math.log1p(-chance)
    whole = math.lgamma(trials + 1)
    for k in range(min(most, trials) + 1):
        total += math.exp(whole - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * hit + (trials - k) * miss)
        found.append(min(total, 1.0))
    return found


def least_trials(chance: float, confidence: float) -> int:
    """Return how many trials without a hit it takes to be certain that hits are rarer than ``chance``.

    >>> least_trials(0.01, 0.95)
    299
    """
    return math.ceil(math.log(1 - confidence) / math.log1p(-chance))


def greater(before: int, of_before: int, now: int, of_now: int) -> float:
    """Return the probability of ``now`` hits or more of ``of_now``, were they as likely as ``before`` (Fisher's exact
    test, one-sided: given how many hits there were in all).

    >>> round(greater(1, 10, 9, 10), 6)
    0.000547
    """
    hits, total = before + now, of_before + of_now
    if now <= 0 or not of_before or not of_now:
        return 1.0
    whole = _choose(total, hits)
    most = min(hits, of_now)
    return min(
        1.0, sum(math.exp(_choose(of_now, k) + _choose(of_before, hits - k) - whole) for k in range(now, most + 1))
    )


def differs(before: int, of_before: int, now: int, of_now: int) -> float:
    """Return the probability of shares as different as these in either direction, were they the same.

    Twice the smaller tail of Fisher's exact test.

    >>> differs(5, 100, 5, 100)
    1.0
    """
    more = greater(before, of_before, now, of_now)
    less = greater(of_before - before, of_before, of_now - now, of_now)
    return min(1.0, 2 * min(more, less))


def _choose(total: int, some: int) -> float:
    if not 0 <= some <= total:
        return -math.inf
    return math.lgamma(total + 1) - math.lgamma(some + 1) - math.lgamma(total - some + 1)
