"""The scorer that the flow had first, for comparison: River's Gaussian scorer, on a logarithmic scale."""

from __future__ import annotations

import math


class GaussianScorer:
    """River's ``anomaly.GaussianScorer`` over log(1 + value), with a least spread.

    Counts of a quiet host have almost no variance, and one event more would be infinitely surprising: ``spread`` is
    the smallest standard deviation believed, in units of log(1 + value). A value that scores above ``clip`` is
    learned as if it lay at the edge of the expected band, so that an attack does not teach the scorer that attacks
    are normal.

    >>> scorer = GaussianScorer(grace=3)
    >>> for value in (10, 11, 9, 10): scorer.learn_one(value)
    >>> scorer.score_one(10) < 0.5 < scorer.score_one(500)
    True
    """

    def __init__(self, grace: int = 30, spread: float = 0.35, clip: float = 4.0) -> None:
        # What River's GaussianScorer keeps, without its module, which takes 1.9 s to import.
        from river import stats

        self._moments = stats.Var()
        self._grace = grace
        self._spread = spread
        self._clip = clip

    @property
    def seen(self) -> int:
        """Return how many values were learned."""
        return int(self._moments.mean.n)

    def score_one(self, value: float) -> float:
        """Return the two-sided probability mass nearer to the mean than ``value``, 0 to 1; -1 while warming up."""
        if self.seen < self._grace:
            return -1.0
        return math.erf(abs(self.deviation(value)) / math.sqrt(2.0))

    def deviation(self, value: float) -> float:
        """Return by how many standard deviations a value lies above (or below) the mean."""
        mean, sigma = self._level()
        return (math.log1p(value) - mean) / sigma

    def band(self, z: float = 3.0) -> tuple[float, float]:
        """Return the values expected, within ``z`` standard deviations."""
        mean, sigma = self._level()
        return max(0.0, math.expm1(mean - z * sigma)), math.expm1(mean + z * sigma)

    def learn_one(self, value: float) -> None:
        """Learn a value; a wild one counts as the edge of the band."""
        x = math.log1p(value)
        if self.seen >= self._grace:
            mean, sigma = self._level()
            x = min(max(x, mean - self._clip * sigma), mean + self._clip * sigma)
        self._moments.update(x)

    def _level(self) -> tuple[float, float]:
        return self._moments.mean.get(), max(self._moments.get() ** 0.5, self._spread)
