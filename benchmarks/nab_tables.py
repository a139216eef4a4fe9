"""The tables of ``analyzers.anomaly.scorers.calibration``, from the values of NAB's series without their labels."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing import get_context

import numpy as np

from analyzers.anomaly.scorers.light import LightBank
from analyzers.anomaly.scorers.likelihood import SHARES
from analyzers.anomaly.scorers.rich import RichScorer
from analyzers.anomaly.scorers.scorer import TIME
from benchmarks.nab_corpus import Array, Series


def tables(corpus: Sequence[Series]) -> dict[str, list[float]]:
    """Return the points of each table by scorer and channel."""
    with get_context("fork").Pool(2) as pool:
        rich = np.concatenate(pool.map(_rich, corpus, chunksize=1))
    found = {f"rich.{name}": points(rich[:, at]) for at, name in enumerate((*RichScorer.CHANNELS, "fused"))}
    light = np.concatenate([_light(series) for series in corpus])
    names = ("hour_of_day", "range", "steps", "fused")
    return found | {f"light.{name}": points(light[:, at]) for at, name in enumerate(names)}


def points(values: Array) -> list[float]:
    """Return the values that ``SHARES`` lie beyond, each greater than the one before, with 5 digits."""
    found = np.quantile(values, 1.0 - np.array(SHARES))
    # A channel that says nothing for most values has ties: kept apart by next to nothing.
    found = np.maximum.accumulate(found + np.arange(len(found)) * 1e-9)
    return [float(f"{value:.5g}") for value in found]


def _rich(series: Series) -> Array:
    scorer, found = RichScorer(), np.zeros((len(series.values), len(RichScorer.CHANNELS) + 1))
    for row, (when, value) in enumerate(zip(series.times.tolist(), series.values.tolist(), strict=True)):
        x = {TIME: when}
        found[row] = [*scorer.deviations(x, value), scorer.fused(x, value)]
        scorer.learn_one(x, value)
    return found


def _light(series: Series) -> Array:
    bank, found = LightBank(1), np.zeros((len(series.values), 4))
    for row, (when, value) in enumerate(zip(series.times.tolist(), series.values.tolist(), strict=True)):
        found[row] = [*bank.deviations([value], when)[:, 0], bank.fused([value], when)[0]]
        bank.learn([value], when)
    return found
