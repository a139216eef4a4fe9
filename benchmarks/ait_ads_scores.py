"""Scores of the windows of a scenario by rarity and by others, and how well they rank attacks first."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from analyzers.anomaly.rarity import Rarity, Surprise
from analyzers.anomaly.rarity_fleet import Fleet
from analyzers.anomaly.scorers.light import LightBank
from analyzers.anomaly.scorers.windows import WindowBank
from benchmarks.ait_ads_data import WINDOW, Window, judged, minutes
from benchmarks.gaussian import GaussianScorer


class Rank(NamedTuple):
    """How well scores put attacks first."""

    auc: float
    ap: float


class Scored(NamedTuple):
    """A window with what rarity said of it before it learned."""

    window: Window
    surprise: float
    found: list[Surprise]
    #: When the host's first window began, µs.
    born: int


class Cost(NamedTuple):
    """What rarity of a scenario costs."""

    #: A window scored, with its explanation, and learned, fleet included, µs.
    microseconds: float
    #: The greatest snapshot of a host, and what it takes in memory; the fleet's snapshot.
    snapshot: int
    memory: int
    fleet: int


def rank(windows: Sequence[Window], scores: Sequence[float]) -> Rank:
    """Return area under the ROC curve and average precision, equal scores counted half, of what counts.

    Average precision is the sum of precision times the gain in recall over descending distinct scores.
    """
    since = judged(windows)
    rows = [(s, w.positive) for w, s in zip(windows, scores, strict=True) if w.start >= since and w.counted]
    rows.sort(key=lambda row: -row[0])
    positives = sum(positive for _, positive in rows)
    hits = misses = 0
    auc = ap = 0.0
    for _, same in groupby(rows, key=lambda row: row[0]):
        tied = [positive for _, positive in same]
        gain = sum(tied)
        auc += (len(tied) - gain) * (hits + gain / 2)
        hits, misses = hits + gain, misses + len(tied) - gain
        ap += gain / positives * hits / (hits + misses)
    return Rank(auc / (positives * (len(rows) - positives)), ap)


def rarity(windows: Sequence[Window], explain: bool = True, **settings: Any) -> tuple[list[Scored], Cost]:
    """Score by Winnow's rarity; all hosts of a minute are scored before the fleet learns it."""
    fleet = Fleet(half_life=settings.get("half_life", 43_200.0))
    hosts: dict[str, Rarity] = {}
    scored: list[Scored] = []
    began = time.process_time()
    for start, some in minutes(windows):
        usual = []
        for window in some:
            if window.host not in hosts:
                hosts[window.host] = Rarity(**settings)
                fleet.join(start)
            usual.append(fleet.usual(window.counts, start))
        for window, known in zip(some, usual, strict=True):
            host = hosts[window.host]
            surprise = host.surprise_one(window.counts, t=start, usual=known)
            found = host.surprises(window.counts, t=start, usual=known) if explain else []
            host.learn_one(window.counts, t=start, usual=known)
            fleet.learn_one(window.counts, start)
            scored.append(Scored(window, surprise, found, host.born))
    spent = time.process_time() - began
    return scored, Cost(
        spent / len(windows) * 1e6,
        max(len(msgspec.msgpack.encode(host.snapshot())) for host in hosts.values()),
        max(memory(host) for host in hosts.values()),
        len(msgspec.msgpack.encode(fleet.snapshot())),
    )


def memory(host: Rarity) -> int:
    """Return the bytes that a host's estimator takes in memory, settings included."""
    return sum(map(sys.getsizeof, [host, host.__dict__, *host.__dict__.values()]))


def plain_rarity(windows: Sequence[Window]) -> list[float]:
    """Score by the share of the host's windows that had the rule: its rarest, -log10."""
    seen: dict[str, int] = {}
    with_rule: dict[tuple[str, str], int] = {}
    scores = []
    for window in windows:
        host, of = window.host, seen.get(window.host, 0) + 2
        scores.append(max(-math.log10((with_rule.get((host, rule), 0) + 1) / of) for rule in window.counts))
        seen[host] = of - 1
        for rule in window.counts:
            with_rule[host, rule] = with_rule.get((host, rule), 0) + 1
    return scores


def gaussian(windows: Sequence[Window]) -> list[float]:
    """Score by ``GaussianScorer`` on each rule's count: the greatest deviation of those seen.

    As in the flow, a rule that a host has shown is learned each minute, 0 where it is not, for the first hour of
    silence.
    """
    scorers: dict[str, dict[str, GaussianScorer]] = {}
    last: dict[str, int] = {}
    scores = []
    for window in windows:
        mine = scorers.setdefault(window.host, {})
        silent = (window.start - last.get(window.host, window.start - WINDOW)) // WINDOW - 1
        for _ in range(min(silent, 60)):
            for scorer in mine.values():
                scorer.learn_one(0.0)
        last[window.host] = window.start
        for rule in window.counts:
            mine.setdefault(rule, GaussianScorer())
        seen = [mine[rule] for rule in window.counts]
        counts = window.counts.values()
        said = [abs(s.deviation(n)) if s.seen >= 30 else 0.0 for s, n in zip(seen, counts, strict=True)]
        scores.append(max(said))
        for rule, scorer in mine.items():
            scorer.learn_one(window.counts.get(rule, 0))
    return scores


def bank(make: type[LightBank] | type[WindowBank], windows: Sequence[Window]) -> list[float]:
    """Score by a bank of each host on the count of every rule that it has shown: the greatest surprise of those seen.

    As in the flow, a silent minute is a window of zeros, for the first hour of silence.
    """
    banks: dict[str, LightBank | WindowBank] = {}
    columns: dict[str, dict[str, int]] = {}
    last: dict[str, int] = {}
    scores = []
    for window in windows:
        mine, order = banks.setdefault(window.host, make(0)), columns.setdefault(window.host, {})
        begin = last.get(window.host, window.start - WINDOW) + WINDOW
        for start in range(begin, min(window.start, begin + 60 * WINDOW), WINDOW):
            mine.learn([0.0] * len(order), start)
        last[window.host] = window.start
        for rule in window.counts:
            order.setdefault(rule, len(order))
        mine.grow(len(order))
        row = [float(window.counts.get(rule, 0)) for rule in order]
        surprises = mine.surprises(row, window.start)
        scores.append(max(float(surprises[order[rule]]) for rule in window.counts))
        mine.learn(row, window.start)
    return scores


def half_space_trees(windows: Sequence[Window]) -> list[float]:
    """Score by River's HalfSpaceTrees, one a host, over log(1 + count) of every rule of the scenario."""
    from river import anomaly

    rules = sorted({rule for window in windows for rule in window.counts})
    trees: dict[str, Any] = {}
    scores = []
    for window in windows:
        tree = trees.setdefault(window.host, anomaly.HalfSpaceTrees(seed=1))
        x = {rule: min(math.log1p(window.counts.get(rule, 0)) / 10.0, 1.0) for rule in rules}
        scores.append(tree.score_one(x))
        tree.learn_one(x)
    return scores


BASELINES: dict[str, Callable[[Sequence[Window]], list[float]]] = {
    "plain rarity": plain_rarity,
    "GaussianScorer": gaussian,
    "light": partial(bank, LightBank),
    "windows": partial(bank, WindowBank),
    "HalfSpaceTrees": half_space_trees,
}
