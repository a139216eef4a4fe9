"""What others are compared with is River's scorer, on the logarithmic scale."""

from __future__ import annotations

import math
import random

import pytest
from river import anomaly

from benchmarks.gaussian import GaussianScorer


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_scores_are_those_of_rivers_gaussian_scorer(seed: int) -> None:
    chance = random.Random(seed)
    # Neither the least spread nor the clipping is River's: values as spread as these meet neither.
    ours, rivers = GaussianScorer(grace=5, spread=1e-9, clip=math.inf), anomaly.GaussianScorer(grace_period=5)
    for number in range(300):
        value = chance.lognormvariate(5.0, 2.0)
        if number > 5:
            assert ours.score_one(value) == pytest.approx(rivers.score_one(None, math.log1p(value)), abs=1e-9)
        ours.learn_one(value)
        rivers.learn_one(None, math.log1p(value))
        assert ours._level() == (rivers.gaussian.mu, max(rivers.gaussian.sigma, 1e-9))
