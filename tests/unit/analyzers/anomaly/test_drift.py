"""The drift of a fleet is told as River's Page-Hinkley test tells it, whatever restarts come between."""

from __future__ import annotations

from random import Random

import pytest

from analyzers.anomaly.drift import ALPHA, DELTA, LEAST, THRESHOLD, UnusualDrift


@pytest.mark.parametrize("seed", [1, 2])
def test_it_decides_as_river_does_and_goes_on_from_snapshots(seed: int) -> None:
    from river.drift import PageHinkley

    river = PageHinkley(min_instances=LEAST, delta=DELTA, threshold=THRESHOLD, alpha=ALPHA, mode="up")
    watch, chance, level, told = UnusualDrift(), Random(seed), 0.02, []
    for window in range(12_000):
        if window % 2_500 == 2_499:
            level = chance.uniform(0.0, 0.6)
        share = min(max(chance.gauss(level, 0.02), 0.0), 1.0)
        before = float(river._x_mean.get())
        river.update(share)
        found = watch.learn(share)
        assert (found is not None) == river.drift_detected, f"window {window}"
        if found is not None:
            assert found.before == before
            told.append(window)
        if chance.random() < 0.01:
            watch = UnusualDrift.restore(watch.snapshot())
    assert len(told) >= 2
