"""What ``winnow bench weeks`` lets run over the generated weeks: all metrics of all hosts, by each scorer."""

from __future__ import annotations

import inspect
import math
import os
import time
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from analyzers.anomaly.budget_anomaly import decades
from analyzers.anomaly.scorers import calibration
from analyzers.anomaly.scorers.light import LightBank
from analyzers.anomaly.scorers.likelihood import surprise
from analyzers.anomaly.scorers.rich import RichScorer
from analyzers.anomaly.scorers.scorer import TIME
from analyzers.anomaly.scorers.windows import WindowBank
from benchmarks.gaussian import GaussianScorer
from benchmarks.weeks_fleet import MINUTE, START

Array = npt.NDArray[np.float64]


class Run(NamedTuple):
    """What a scorer gave: decades by host, metric and minute, and µs of processor time a value, score and learn."""

    decades: npt.NDArray[np.float32]
    micros: float


class Panel(NamedTuple):
    """A way to score, in words, and what does it."""

    told: str
    run: Callable[[Array], Run]


def each(make: Callable[[], Any], counts: Array) -> Run:
    """Return what scorers of one metric each give: ``score_one(value)``, and ``t``, µs, where they take it."""
    lanes = counts.reshape(-1, counts.shape[-1])
    timed = "t" in inspect.signature(make().score_one).parameters
    stamps = [{"t": START + minute * MINUTE} if timed else {} for minute in range(lanes.shape[1])]
    found, began = np.zeros(lanes.shape, np.float32), time.process_time()
    for lane, values in enumerate(lanes):
        scorer = make()
        for minute, value in enumerate(values.tolist()):
            found[lane, minute] = decades(scorer.score_one(value, **stamps[minute]))
            scorer.learn_one(value, **stamps[minute])
    return Run(found.reshape(counts.shape), (time.process_time() - began) / counts.size * 1e6)


def banked(bank: LightBank | WindowBank, counts: Array) -> Run:
    """Return what a bank gives that has every metric of every host, in one call a minute."""
    lanes = np.ascontiguousarray(counts.reshape(-1, counts.shape[-1]).T)
    found, began = np.zeros(lanes.shape, np.float32), time.process_time()
    for minute, values in enumerate(lanes):
        at = START + minute * MINUTE
        found[minute] = -np.log10(np.maximum(1.0 - bank.score(values, at), 1e-15))
        bank.learn(values, at)
    micros = (time.process_time() - began) / counts.size * 1e6
    return Run(found.T.reshape(counts.shape), micros)


def rich(counts: Array) -> Run:
    """Return what the rich scorer gives before habituation, in two processes at most."""
    lanes = list(np.log1p(counts.reshape(-1, counts.shape[-1])))
    with get_context("fork").Pool(min(2, os.cpu_count() or 1)) as pool:
        runs = pool.map(_rich, lanes, chunksize=1)
    found = np.stack([run.decades for run in runs])
    return Run(found.reshape(counts.shape), float(np.mean([run.micros for run in runs])))


def _rich(values: Array) -> Run:
    scorer, found, began = RichScorer(), np.zeros(len(values), np.float32), time.process_time()
    for minute, value in enumerate(values.tolist()):
        x = {TIME: START + minute * MINUTE}
        if minute >= scorer.WARM:
            found[minute] = surprise(calibration.RICH, scorer.fused(x, value), calibration.LEAST)
        scorer.learn_one(x, value)
    return Run(found, (time.process_time() - began) / len(values) * 1e6)


#: Habituation is left out everywhere, for alarms by budget have their own.
PANELS: dict[str, Panel] = {
    "gaussian": Panel("log(1 + count)", lambda counts: each(GaussianScorer, counts)),
    "light": Panel("plain counts", lambda counts: banked(LightBank(lanes(counts), math.inf), counts)),
    "light-roots": Panel("square roots", lambda counts: banked(LightBank(lanes(counts), math.inf), np.sqrt(counts))),
    "windows": Panel("log(1 + count)", lambda counts: banked(WindowBank(lanes(counts)), counts)),
    "rich": Panel("log(1 + count)", rich),
}


def lanes(counts: Array) -> int:
    """Return how many metrics there are, all hosts together."""
    return counts.shape[0] * counts.shape[1]
