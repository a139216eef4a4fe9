"""The rich scorer with everything that was chosen on NAB's labels chosen anew on one half, applied to the other.

Chosen on a half, from neutral beginnings (all weights 1, lengths 5, no tail, the first rates of each list): weights,
lengths, tails, rates and sizes of the channels, the policy of alarms and its level, by two rounds of one thing at a
time, each change kept if it gains 0.3 on that half, averaged over three neighbouring levels. The tables of calibration
are of all series, without labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from analyzers.anomaly.scorers.channels import DAY, WEEK, Channel, Moments, Neighbours, Range, Rarity, Season
from analyzers.anomaly.scorers.likelihood import SURPRISES, Likelihood, Tail
from analyzers.anomaly.scorers.rich import RichScorer
from benchmarks.nab_corpus import PROFILES, Array, Scoring, Series, halves
from benchmarks.nab_tables import points

LENGTHS, WEIGHTS, TAILS = (2, 3, 5, 8), (0.0, 0.5, 1.0, 1.4), (False, True)
#: Least gain for which a choice leaves what is neutral.
GAIN = 0.3
#: Shares of all values that would be alarms without a policy, from which the level is chosen.
RATES = np.geomspace(0.0008, 0.02, 24)
POLICY: dict[str, tuple[float, ...]] = {
    "silence": (50, 75, 100, 150, 200),
    "used": (0.0, 0.8, 1.0),
    "memory": (300.0, 1_000.0, 3_000.0),
    "step": (0.0, 0.03, 0.05, 0.1),
    "patience": (2_000.0, 5_000.0, 8_000.0),
}
NEUTRAL = {"silence": 100.0, "used": 1.0, "memory": 1_000.0, "step": 0.05, "patience": 5_000.0}


def _with(kind: type, **settings: float) -> type:
    return type(kind.__name__, (kind,), settings)


def _seasons(period: int, bins: int, rates: Sequence[float]) -> list[Callable[[], Channel]]:
    slow, quick = _with(Season, SLOW=0.001, SPREAD=0.0003), _with(Season, SLOW=0.003, SPREAD=0.001)
    return [lambda kind=kind, rate=rate: kind(period, bins, rate) for rate in rates for kind in (quick, slow)]


#: The variants of each channel; the first is neutral.
VARIANTS: dict[str, list[Callable[[], Channel]]] = {
    "shape": [lambda: _with(Neighbours, NEAREST=3)(1), lambda: Neighbours(1)],
    "hour_of_day": _seasons(DAY, 24, (0.1, 0.03)),
    "hour_of_week": _seasons(WEEK, 168, (0.1, 0.2)),
    "range": [lambda f=f, s=s: _with(Range, FAST=f, SHRINK=s)() for f in (0.2, 0.3) for s in (1e-4, 1e-5)],
    "rarity": [Rarity],
    "level_rarity": [lambda a=a, f=f: Rarity(a, f) for a in (0.2, 0.05, 0.02) for f in (0.0, 0.0005)],
}


class Choice(NamedTuple):
    """How one channel takes part."""

    weight: float
    length: int
    tail: bool
    variant: int


def nested(corpus: Sequence[Series], say: Callable[[str], None]) -> dict[str, Any]:
    """Return the mean standard score over the other halves, and what the halves chosen on had."""
    say("nested: channels")
    with get_context("fork").Pool(2) as pool:
        found = pool.map(_squares_of, [(corpus, name, at) for name in VARIANTS for at in range(len(VARIANTS[name]))], 1)
    squares = {key: value for part in found for key, value in part.items()}
    search = _Search(corpus, squares)
    on, off = [], []
    for number, (one, other) in enumerate(halves(len(corpus)), 1):
        chosen_on, applied = search.run(one, other)
        on.append(chosen_on)
        off.append(applied)
        say(f"nested: half {number}: {chosen_on:.1f} where chosen, {applied:.1f} on the other half")
    return {"standard": float(np.mean(off)), "chosen_on": float(np.mean(on)), "halves": off}


def _squares_of(task: tuple[Sequence[Series], str, int]) -> dict[tuple[str, int, bool, int], npt.NDArray[np.float32]]:
    """Return the squared surprises of one variant of a channel, by length and tail, all series joined."""
    corpus, name, variant = task
    deviations: dict[tuple[int, bool], list[Array]] = {(length, tail): [] for length in LENGTHS for tail in TAILS}
    for series in corpus:
        channel, moments = VARIANTS[name][variant](), Moments()
        likelihoods, tails = [Likelihood(length) for length in LENGTHS], [Tail() for _ in LENGTHS]
        rows = np.zeros((len(series.values), len(LENGTHS), 2))
        for row, (time, value) in enumerate(zip(series.times.tolist(), series.values.tolist(), strict=True)):
            raw = channel.raw(value, time, moments)
            for at, (likelihood, tail) in enumerate(zip(likelihoods, tails, strict=True)):
                z = likelihood.score_one(raw)
                rows[row, at] = z, tail.score_one(z)
                likelihood.learn_one(raw)
                tail.learn_one(z)
            channel.learn(value, time, moments)
            moments.learn(value)
        for at, length in enumerate(LENGTHS):
            for tailed in TAILS:
                deviations[length, tailed].append(rows[:, at, int(tailed)])
    result = {}
    for (length, tailed), parts in deviations.items():
        joined = np.concatenate(parts)
        result[name, length, tailed, variant] = (_surprises(points(joined), joined) ** 2).astype(np.float32)
    return result


def _surprises(table: Sequence[float], values: Array) -> Array:
    slope = (SURPRISES[-1] - SURPRISES[-4]) / (table[-1] - table[-4])
    found: Array = np.interp(values, table, SURPRISES, left=0.0) + np.maximum(values - table[-1], 0.0) * slope
    return np.minimum(found, 6.0)


class _Search:
    """Chooses on some series."""

    def __init__(
        self, corpus: Sequence[Series], squares: dict[tuple[str, int, bool, int], npt.NDArray[np.float32]]
    ) -> None:
        self._scoring, self._squares = Scoring(corpus), squares
        self._ends = np.cumsum([0, *(len(series.values) for series in corpus)])

    def run(self, one: list[int], other: list[int]) -> tuple[float, float]:
        """Return the standard score on the half that it chooses on, and on the other."""
        choices, policy = {name: Choice(1.0, 5, False, 0) for name in VARIANTS}, dict(NEUTRAL)
        fused = self._fuse(choices)
        best = self._value(fused, policy, one)
        for _ in range(2):
            before = best
            for key, values in POLICY.items():
                tried = [(self._value(fused, {**policy, key: value}, one), value) for value in values]
                gained, value = max(tried)
                if gained > best + GAIN:
                    best, policy = gained, {**policy, key: value}
            for name in VARIANTS:
                tried_choices = [(self._value(self._fuse(c), policy, one), c) for c in self._others(choices, name)]
                gained, found = max(tried_choices, key=lambda pair: pair[0])
                if gained > best + GAIN:
                    best, choices = gained, found
                    fused = self._fuse(choices)
            if best < before + GAIN:
                break
        levels = self._levels(fused)
        scores = self._scores(fused, policy, one, levels)
        at = int(np.argmax(np.convolve(scores, np.ones(3) / 3, "valid"))) + 1
        return scores[at], self._scores(fused, policy, other, levels[at : at + 1])[0]

    def _others(self, choices: dict[str, Choice], name: str) -> list[dict[str, Choice]]:
        now = choices[name]
        options = [now._replace(weight=weight) for weight in WEIGHTS]
        options += [now._replace(length=length) for length in LENGTHS]
        options += [now._replace(tail=tail) for tail in TAILS]
        options += [now._replace(variant=variant) for variant in range(len(VARIANTS[name]))]
        return [{**choices, name: option} for option in dict.fromkeys(options) if option != now]

    def _fuse(self, choices: dict[str, Choice]) -> Array:
        total = np.zeros(int(self._ends[-1]), np.float32)
        for name, (weight, length, tail, variant) in choices.items():
            if weight:
                total += np.float32(weight) * self._squares[name, length, tail, variant]
        return np.sqrt(total, dtype=np.float64)

    def _levels(self, fused: Array) -> list[float]:
        return [float(level) for level in np.quantile(fused[::5], 1.0 - RATES)]

    def _value(self, fused: Array, policy: dict[str, float], chosen: list[int]) -> float:
        scores = self._scores(fused, policy, chosen, self._levels(fused))
        return float(np.convolve(scores, np.ones(3) / 3, "valid").max())

    def _scores(
        self, fused: Array, policy: dict[str, float], chosen: list[int], levels: Sequence[float]
    ) -> list[float]:
        """Return the standard score of each level."""
        sweeps = [[0.0, 0.0] for _ in levels]
        windows = 0
        for at in chosen:
            marked = self._scoring.marked(at)
            windows += marked.windows
            part = fused[self._ends[at] : self._ends[at + 1]]
            rows = np.flatnonzero(part[RichScorer.WARM :] >= levels[-1]) + RichScorer.WARM
            hot = list(zip(rows.tolist(), part[rows].tolist(), strict=True))
            worth, window = marked.worth, marked.window
            for sweep, level in zip(sweeps, levels, strict=True):
                found: dict[int, float] = {}
                for row in _alarms(hot, level, policy):
                    if row >= marked.start:
                        number = int(window[row - marked.start])
                        value = float(worth[row - marked.start])
                        if number < 0:
                            sweep[1] += value
                        else:
                            found[number] = max(found.get(number, -1.0), value)
                sweep[0] += sum(found.values()) + len(found)
        return [100.0 * (hits + PROFILES[0].false_alarm * misses) / (2 * windows) for hits, misses in sweeps]


def _alarms(hot: list[tuple[int, float]], level: float, policy: dict[str, float]) -> list[int]:
    """Return the alarms among the rows that may be some, as ``Habituation`` finds them, without its escalation."""
    silence, used, step = policy["silence"], policy["used"], policy["step"]
    fade, ease = math.log(0.5) / policy["memory"], math.log(0.5) / policy["patience"]
    found: list[int] = []
    last, worst, raised = -1, 0.0, 0.0
    for row, surprise in hot:
        if surprise < level:
            continue
        since = row - last
        if found:
            if since < silence:
                continue
            faded, eased = worst * math.exp(fade * since), raised * math.exp(ease * since)
            if surprise < faded or surprise < level * (1.0 + eased):
                continue
            worst, raised = max(faded, used * surprise), eased + step
        else:
            worst, raised = used * surprise, step
        last = row
        found.append(row)
    return found
