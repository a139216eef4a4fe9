"""What ``winnow bench nab`` lets run over the series: Winnow's scorers, a published detector, and controls."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from analyzers.anomaly.scorers.habituation import Habituation
from analyzers.anomaly.scorers.light import BYTES, LightBank
from analyzers.anomaly.scorers.registry import make_scorer
from analyzers.anomaly.scorers.rich import RichScorer
from analyzers.anomaly.scorers.scorer import TIME
from benchmarks.nab_corpus import Array, Series


class Run(NamedTuple):
    """What a scorer gave."""

    scores: list[Array]
    #: Largest snapshot, bytes.
    size: int


def windowed_gaussian(values: Array) -> Array:
    """Return the scores of NAB's windowed Gaussian detector: 6,400 values, moved by 100.

    Published scores were written with 12 digits, so these are rounded to as many.
    """
    window, filled = np.zeros(6_400), 0
    coming: list[float] = []
    mean, spread = 0.0, 1.0
    scores = np.zeros(len(values))
    for row, value in enumerate(values.tolist()):
        if filled:
            scores[row] = round(1.0 - 0.5 * math.erfc(abs(value - mean) / spread / 1.4142), 12)
        if filled < len(window):
            window[filled] = value
            filled += 1
        else:
            coming.append(value)
            if len(coming) < 100:
                continue
            window, coming = np.concatenate([window[100:], coming]), []
        mean = float(np.mean(window[:filled]))
        spread = float(np.std(window[:filled])) or 1e-6
    return scores


def periodic(corpus: Sequence[Series], every: int) -> list[Array]:
    """Return an alarm in every ``every``th row, whatever the values."""
    return [(np.arange(len(series.values)) % every == every - 1).astype(float) for series in corpus]


def chance(corpus: Sequence[Series], seed: int, rate: float) -> list[Array]:
    """Return the alarms of random numbers under the rich scorer's habituation; ``rate`` of them would be alarms."""
    limit, scores = RichScorer().alarm, []
    generator = np.random.default_rng(seed)
    for series in corpus:
        habituation, alarms = Habituation(limit), np.zeros(len(series.values))
        # Exponential beyond the alarm, as surprises are.
        surprises = limit + generator.exponential(0.5, len(alarms)) + 0.5 * math.log(rate)
        for row, surprise in enumerate(surprises.tolist()):
            alarms[row] = habituation.alarms(surprise)
            habituation.learn_one(surprise)
        scores.append(alarms)
    return scores


def fused(series: Series) -> Array:
    """Return the rich scorer's fused surprise without any policy of alarms."""
    scorer, found = RichScorer(), np.zeros(len(series.values))
    for row, (when, value) in enumerate(zip(series.times.tolist(), series.values.tolist(), strict=True)):
        x = {TIME: when}
        if row >= scorer.WARM:
            found[row] = scorer.fused(x, value)
        scorer.learn_one(x, value)
    return found


def score_all(corpus: Sequence[Series], name: str, seed: int = 1) -> Run:
    """Return a scorer's scores over all series, a fresh one each, in two processes at most."""
    if name == "light":
        return score_light(corpus)
    tasks = [(series, name, seed) for series in sorted(corpus, key=lambda s: -len(s.values))]
    with get_context("fork").Pool(min(2, os.cpu_count() or 1)) as pool:
        results = dict(pool.imap_unordered(_score, tasks))
    found = [results[series.name] for series in corpus]
    return Run([scores for scores, _ in found], max(size for _, size in found))


def fused_all(corpus: Sequence[Series]) -> list[Array]:
    """Return ``fused`` of all series."""
    with get_context("fork").Pool(min(2, os.cpu_count() or 1)) as pool:
        return pool.map(fused, corpus, chunksize=1)


def _score(task: tuple[Series, str, int]) -> tuple[str, tuple[Array, int]]:
    series, name, seed = task
    scorer = make_scorer(name, **({"seed": seed} if name in ("rich", "half-spaces") else {}))
    scores = np.zeros(len(series.values))
    for row, (when, value) in enumerate(zip(series.times.tolist(), series.values.tolist(), strict=True)):
        x = {TIME: when}
        scores[row] = scorer.score_one(x, value)
        scorer.learn_one(x, value)
    return series.name, (scores, len(scorer.snapshot()))


def cost(name: str, series: Series) -> float:
    """Return the processor time of score and learn, µs a value: the least of stretches of 500, after 2,000.

    The light scorer's is that of a bank of 50 metrics, as many as a host has, divided by 50.
    """
    times, values = series.times.tolist(), series.values.tolist()
    least = math.inf
    if name == "light":
        bank = LightBank(50)
        rows = np.array(values)[:, None] * np.linspace(0.5, 2.0, 50)
    scorer = make_scorer(name)
    for start in range(0, len(values) - 500, 500):
        clock = time.process_time()
        for row in range(start, start + 500):
            if name == "light":
                bank.score(rows[row], times[row])
                bank.learn(rows[row], times[row])
            else:
                x = {TIME: times[row]}
                scorer.score_one(x, values[row])
                scorer.learn_one(x, values[row])
        if start >= 2_000:
            least = min(least, time.process_time() - clock)
    return least / 500 / (50 if name == "light" else 1) * 1e6


def score_light(corpus: Sequence[Series]) -> Run:
    """Return the light scorer's scores, all series side by side as the metrics of one host."""
    longest = max(len(series.values) for series in corpus)
    values, times = np.full((longest, len(corpus)), np.nan), np.zeros((longest, len(corpus)), np.int64)
    for at, series in enumerate(corpus):
        values[: len(series.values), at], times[: len(series.times), at] = series.values, series.times
    bank, scores = LightBank(len(corpus)), np.zeros((longest, len(corpus)))
    for row in range(longest):
        scores[row] = bank.score(values[row], times[row])
        bank.learn(values[row], times[row])
    return Run([scores[: len(series.values), at] for at, series in enumerate(corpus)], BYTES)
