"""What a scorer of metrics, with alarms by budget, tells of four generated weeks with a daily rhythm.

``winnow bench weeks [--scorer MODULE:CLASS] [--hosts N] [--seed S] [--json]``. Each host has five metrics a minute.
A scorer is made for each metric of each host without arguments, and has ``score_one(value)``, 0 to 1, and
``learn_one(value)``; where these take ``t`` they get the time, µs. Its ``band()``, if it has one, is what an anomaly
shows. The first week only teaches; what is told from then on is an attack found, part of one, or a false alarm.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from analyzers.anomaly.budget import Alarm, BudgetSettings
from analyzers.anomaly.budget_anomaly import Reading, decades, unusual
from analyzers.anomaly.budget_fleet import FleetShift, ShiftSettings
from benchmarks.weeks_fleet import METRICS, MINUTE, START, Incident, Weeks, weeks

#: From then on what is told counts, minutes.
JUDGED = 7 * 1_440
#: An incident is found while it lasts and so many minutes after; what is told in the two hours after it is its echo.
FOUND_LATE, ECHO = 10, 120


class Told(NamedTuple):
    """One alarm: the number of its host, -1 for a shift of the fleet, and what it names."""

    host: int
    minute: int
    metrics: frozenset[str]


def main() -> int:
    """Measure and print; the figures as JSON with ``--json``."""
    parser = argparse.ArgumentParser(prog="winnow bench weeks", description=__doc__)
    parser.add_argument("--scorer", default="benchmarks.gaussian:GaussianScorer", metavar="MODULE:CLASS")
    parser.add_argument("--hosts", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        module, _, name = args.scorer.partition(":")
        make = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        print(f"no scorer {args.scorer!r}: {error}", file=sys.stderr)
        return 2
    if args.hosts < 6:
        print("at least 6 hosts are needed for what happens to them", file=sys.stderr)
        return 2
    report = {"scorer": args.scorer, "seed": args.seed} | measure(weeks(args.hosts, args.seed), make)
    print(json.dumps(report) if args.json else table(report))
    return 0


def measure(generated: Weeks, make: Callable[[], Any], budget: BudgetSettings | None = None) -> dict[str, Any]:
    """Return what alarms tell with these scorers."""
    budget = budget or BudgetSettings()
    hosts, _, minutes = generated.counts.shape
    names = [f"host-{number:02}" for number in range(hosts)]
    scorers = [[make() for _ in METRICS] for _ in names]
    timed = "t" in inspect.signature(scorers[0][0].score_one).parameters
    alarms = [Alarm(name, budget) for name in names]
    fleet = FleetShift(ShiftSettings(least=budget.least))
    told: list[Told] = []
    spent = 0.0
    for minute in range(minutes):
        at = START + minute * MINUTE
        stamp = {"t": at} if timed else {}
        found = []
        for host, name in enumerate(names):
            values = generated.counts[host, :, minute].tolist()
            began = time.process_time()
            readings = [
                reading(metric, value, scorer, stamp)
                for metric, value, scorer in zip(METRICS, values, scorers[host], strict=True)
            ]
            for value, scorer in zip(values, scorers[host], strict=True):
                scorer.learn_one(value, **stamp)
            spent += time.process_time() - began
            window = unusual(name, at, START, readings, budget.least)
            found += [window] if window else []
        judged = fleet.judge(at, found, hosts)
        told += [Told(-1, minute, frozenset(shift.metrics)) for shift in judged.shifts if shift.first]
        for window in judged.alone:
            host = names.index(window.host)
            verdict = alarms[host].judge(window)
            if verdict.anomaly and verdict.status == "alarm":
                told.append(Told(host, minute, frozenset(one.metric for one in verdict.anomaly.passed)))
    judged_days = hosts * (minutes - JUDGED) / 1_440
    report = sort_out([one for one in told if one.minute >= JUDGED], generated.incidents, judged_days) | {
        "hosts": hosts
    }
    return report | {"microseconds": spent / generated.counts.size * 1e6}


def reading(metric: str, value: float, scorer: Any, stamp: Mapping[str, int]) -> Reading:
    """Return one reading; where a scorer has no band, a value is its own."""
    surprise = decades(scorer.score_one(value, **stamp))
    low, high = scorer.band() if surprise >= 2.0 and hasattr(scorer, "band") else (value, value)
    return Reading(metric, value, surprise, low, high)


def sort_out(told: list[Told], incidents: tuple[Incident, ...], days: float) -> dict[str, Any]:
    """Return which incidents were told, when, and how much else was.

    An alarm that names none of an incident's metrics did not find it.

    Args:
        told: each alarm.
        incidents: what happened.
        days: number of hosts times days.
    """
    found: dict[str, Any] = {}
    explained: set[Told] = set()
    for incident in incidents:
        end = incident.start + incident.minutes
        mine = [
            one
            for one in told
            if incident.start <= one.minute < end + ECHO
            and (incident.host in (one.host, -1) or one.host == -1)
            and one.metrics.intersection(incident.metrics)
        ]
        first = min((one.minute for one in mine if one.minute < end + FOUND_LATE), default=None)
        after = None if first is None else first - incident.start
        found[incident.name] = {"minutes_to_alarm": after, "alarms": len(mine)}
        explained.update(mine)
    false = [one for one in told if one not in explained]
    by_day: dict[tuple[int, int], int] = {}
    for one in told:
        by_day[one.host, one.minute // 1_440] = by_day.get((one.host, one.minute // 1_440), 0) + 1
    return {
        "incidents": found,
        "alarms": len(told),
        "false": len(false),
        "false_per_host_day": len(false) / days,
        "shifts": sum(one.host == -1 for one in told),
        "most_per_host_day": max(by_day.values(), default=0),
    }


def table(report: Mapping[str, Any]) -> str:
    """Return the report as text."""
    lines = [
        f"{report['scorer']}, {report['hosts']} hosts, seed {report['seed']}, weeks two to four",
        f"{report['false_per_host_day']:.2f} false alarms a host and day ({report['false']} of {report['alarms']},"
        f" {report['shifts']} shifts of the fleet, at most {report['most_per_host_day']} a host and day)",
        f"{report['microseconds']:.1f} µs a value",
    ]
    for name, one in report["incidents"].items():
        after = one["minutes_to_alarm"]
        said = "missed" if after is None else f"found after {after} minutes, {one['alarms']} alarms"
        lines.append(f"{name:<28}{said}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
