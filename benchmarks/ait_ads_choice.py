"""Settings chosen without the scenario that they are measured on, by statistics that a single window hardly moves."""

from __future__ import annotations

import functools
import itertools
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from analyzers.anomaly.budget import BudgetSettings
from analyzers.anomaly.budget_fleet import ShiftSettings
from benchmarks.ait_ads_alarms import Found, alarms
from benchmarks.ait_ads_data import Window
from benchmarks.ait_ads_scores import Rank, Scored, rank, rarity

SCORES: Mapping[str, Sequence[float]] = {
    "half_life": (43_200.0, 86_400.0, 172_800.0),
    "strength": (86_400.0, 172_800.0),
    "others": (0.0, 0.2),
    "carry": (0.0, 0.3),
}
#: How a budget behaves, whatever it lets through.
SHAPES: Mapping[str, Sequence[float]] = {
    "step": (0.2, 0.4),
    "calm_hours": (24.0, 48.0),
    "habituation": (0.25, 0.75),
    "hosts": (3, 5),
}
#: How much it lets through: decades, from those that anything must have to be unusual.
LEASTS = tuple(2.0 + step / 4.0 for step in range(11))
PER_DAY = 5
MOST_ALERTS = 1.5
#: What ``least`` is chosen for, alerts a host and day; the figure is that of AIM, which leaves room on both sides.
AIM = 1.0
AIMS = (0.75, AIM, 1.25)


class Point(NamedTuple):
    """What one ``least`` gives on a scenario: alerts a host and day, and the share of phases found."""

    rate: float
    share: float


class Chosen(NamedTuple):
    """Settings chosen without a scenario, and what they give on it."""

    score: dict[str, float]
    budget: dict[str, float]
    #: Mean area of the others, of these settings.
    area: float
    rank: Rank
    alarms: Found


def left_out(
    scenarios: Mapping[str, Sequence[Window]], scores: Sequence[Mapping[str, Any]] | None = None
) -> dict[float, dict[str, Chosen]]:
    """Return by aim, for each scenario, the settings chosen on the others and what they give on it.

    The score's settings are those with the greatest sum of ``worth``; the budget's shape that with the greatest sum of
    ``area``; ``least`` what makes the one of the others that alerts more do so nearest to the aim. Phases found are
    not counted: most settings find the same, and hundredths of an alert would decide between them.

    Args:
        scenarios: windows by name.
        scores: settings of the score to choose from; by default all of ``SCORES``.
    """
    choices = list(grid(SCORES)) if scores is None else scores
    ranks: dict[tuple[str, int], Rank] = {}
    for number, settings in enumerate(choices):
        _say(f"leaving out: score settings {number + 1} of {len(choices)}")
        for name, windows in scenarios.items():
            scored, _ = rarity(windows, explain=False, **settings)
            ranks[name, number] = rank(windows, [one.surprise for one in scored])
    shapes = list(grid(SHAPES))

    @functools.cache
    def scored_by(name: str, number: int) -> list[Scored]:
        return rarity(scenarios[name], **choices[number])[0]

    @functools.cache
    def found_by(name: str, number: int, shape: int, least: float) -> Found:
        return raised(scored_by(name, number), {"least": least, **shapes[shape]})

    chosen: dict[float, dict[str, Chosen]] = {aim: {} for aim in AIMS}
    for name in scenarios:
        _say(f"leaving out {name}: budget settings")
        others = [other for other in scenarios if other != name]
        best = max(range(len(choices)), key=lambda n: sum(worth(ranks[other, n]) for other in others))
        areas = [
            sum(area([point(found_by(other, best, shape, least)) for least in LEASTS]) for other in others)
            for shape in range(len(shapes))
        ]
        shape = areas.index(max(areas))
        rates = {least: max(found_by(other, best, shape, least).per_host_day for other in others) for least in LEASTS}
        for aim in AIMS:
            least = min(LEASTS, key=lambda least: abs(rates[least] - aim))
            budget = {"least": least, **shapes[shape]}
            found = found_by(name, best, shape, least)
            chosen[aim][name] = Chosen(
                dict(choices[best]), budget, areas[shape] / len(others), ranks[name, best], found
            )
    return chosen


def raised(scored: Sequence[Scored], settings: Mapping[str, float]) -> Found:
    """Run alarms with these settings."""
    own = {key: value for key, value in settings.items() if key != "hosts"}
    shifts = ShiftSettings(least=settings["least"], hosts=int(settings["hosts"]))
    return alarms(scored, BudgetSettings.model_validate({"per_day": PER_DAY, **own}), shifts)


def worth(found: Rank) -> float:
    """Return what a ranking is worth when settings are compared: errors of both kinds in proportion."""
    return sum(math.log(max(p, 1e-9) / max(1.0 - p, 1e-9)) for p in found)


def point(found: Found) -> Point:
    """Return what alarms found as a point of the free-response curve."""
    return Point(found.per_host_day, len(found.found) / len(found.phases))


def area(points: Iterable[Point], most: float = MOST_ALERTS) -> float:
    """Return the mean share of phases found at 0 to ``most`` alerts a host and day: 0 to 1.

    That is the area under the free-response ROC curve (Bunch et al. 1978), cut at ``most``: straight lines from (0, 0)
    through the points; beyond the last, its share.

    >>> round(area([Point(0.75, 0.5), Point(2.25, 1.0)], most=1.5), 4)
    0.4375
    """
    last, total = Point(0.0, 0.0), 0.0
    for at in sorted(points):
        if at.rate > most:
            share = last.share + (at.share - last.share) * (most - last.rate) / (at.rate - last.rate)
            at = Point(most, share)
        total += (at.rate - last.rate) * (last.share + at.share) / 2.0
        last = at
        if last.rate == most:
            break
    return (total + (most - last.rate) * last.share) / most


def grid(of: Mapping[str, Sequence[float]]) -> Iterable[dict[str, float]]:
    """Yield each combination of settings."""
    for values in itertools.product(*of.values()):
        yield dict(zip(of, values, strict=True))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
