"""What scorers of metrics, with alarms by budget, tell of four generated weeks with a daily rhythm, side by side.

``winnow bench weeks [--scorers NAME,…] [--scorer MODULE:CLASS] [--hosts N] [--seeds S,…] [--least D,…] [--json]``. Each
host has five metrics a minute; ``weeks_panels`` lists the scorers. One named by ``--scorer`` is made for each metric of
each host without arguments, and has ``score_one(value)``, 0 to 1, and ``learn_one(value)``; where these take ``t`` they
get the time, µs. The first week only teaches; what is told from then on is an attack found, part of one, or a false
alarm. ``least`` is the setting of alarms by budget: decades below which nothing is an anomaly.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from analyzers.anomaly.budget import Alarm, BudgetSettings
from analyzers.anomaly.budget_anomaly import Reading, unusual
from analyzers.anomaly.budget_fleet import FleetShift, ShiftSettings
from benchmarks.weeks_fleet import METRICS, MINUTE, START, Incident, Weeks, weeks
from benchmarks.weeks_panels import PANELS, Panel, Run, each

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
    parser.add_argument("--scorers", default=",".join(PANELS), metavar="NAME,…", help=f"default: {','.join(PANELS)}")
    parser.add_argument("--scorer", metavar="MODULE:CLASS", help="one more")
    parser.add_argument("--hosts", type=int, default=12)
    parser.add_argument("--seeds", default="1", metavar="S,…", help="of the weeks (default: 1)")
    parser.add_argument("--least", default="2.5,3,4", metavar="D,…", help="decades (default: 2.5,3,4)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        panels = {name: PANELS[name] for name in args.scorers.split(",") if name}
        seeds, leasts = [int(seed) for seed in args.seeds.split(",")], [float(least) for least in args.least.split(",")]
        if args.scorer:
            module, _, name = args.scorer.partition(":")
            make = getattr(importlib.import_module(module), name)
            panels[args.scorer] = Panel("plain counts", lambda counts: each(make, counts))
    except (ImportError, AttributeError, KeyError, ValueError) as error:
        print(f"no such scorer or number: {error}", file=sys.stderr)
        return 2
    if args.hosts < 6:
        print("at least 6 hosts are needed for what happens to them", file=sys.stderr)
        return 2
    os.nice(10)
    report = measure([weeks(args.hosts, seed) for seed in seeds], panels, leasts) | {"seeds": seeds}
    print(json.dumps(report) if args.json else table(report))
    return 0


def measure(generated: Sequence[Weeks], panels: Mapping[str, Panel], leasts: Sequence[float]) -> dict[str, Any]:
    """Return what alarms tell with each scorer, by ``least``, of each of several fleets."""
    report: dict[str, Any] = {"hosts": len(generated[0].counts), "scorers": {}}
    for name, panel in panels.items():
        runs: list[Run] = []
        for fleet in generated:
            print(f"{name}, fleet {len(runs) + 1}", file=sys.stderr, flush=True)
            runs.append(panel.run(fleet.counts))
        report["scorers"][name] = {
            "values": panel.told,
            "microseconds": float(np.mean([run.micros for run in runs])),
            "least": {
                f"{least:g}": [
                    judge(fleet, run, BudgetSettings(least=least)) for fleet, run in zip(generated, runs, strict=True)
                ]
                for least in leasts
            },
        }
    return report


def judge(generated: Weeks, run: Run, budget: BudgetSettings) -> dict[str, Any]:
    """Return what alarms tell of one fleet."""
    hosts, _, minutes = generated.counts.shape
    names = [f"host-{number:02}" for number in range(hosts)]
    alarms = [Alarm(name, budget) for name in names]
    fleet = FleetShift(ShiftSettings(least=budget.least))
    loud = run.decades.max(axis=1) >= budget.least
    told: list[Told] = []
    for minute in range(minutes):
        at = START + minute * MINUTE
        found = []
        for host in np.flatnonzero(loud[:, minute]).tolist():
            values, ranks = generated.counts[host, :, minute].tolist(), run.decades[host, :, minute].tolist()
            readings = [Reading(*one, one[1], one[1]) for one in zip(METRICS, values, ranks, strict=True)]
            window = unusual(names[host], at, START, readings, budget.least)
            found += [window] if window else []
        judged = fleet.judge(at, found, hosts)
        told += [Told(-1, minute, frozenset(shift.metrics)) for shift in judged.shifts if shift.first]
        for window in judged.alone:
            host = names.index(window.host)
            verdict = alarms[host].judge(window)
            if verdict.anomaly and verdict.status == "alarm":
                told.append(Told(host, minute, frozenset(one.metric for one in verdict.anomaly.passed)))
    judged_days = hosts * (minutes - JUDGED) / 1_440
    return sort_out([one for one in told if one.minute >= JUDGED], generated.incidents, judged_days)


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
    """Return the report as text: false alarms a host and day, the mean of fleets, and minutes to each find."""
    columns = [
        (name, least, fleets) for name, found in report["scorers"].items() for least, fleets in found["least"].items()
    ]
    lines = [
        f"{report['hosts']} hosts, weeks 2 to 4, seeds {', '.join(map(str, report['seeds']))}; of an incident: in how"
        " many fleets found, and minutes until then, the median",
        f"{'':28}" + "".join(f"{name:>16}" for name, _, _ in columns),
        _row("least, decades", [least for _, least, _ in columns]),
        _row("µs a value", [f"{report['scorers'][name]['microseconds']:.1f}" for name, _, _ in columns]),
    ]
    for key, label in (("false_per_host_day", "false a host and day"), ("most_per_host_day", "most a host and day")):
        lines.append(_row(label, [f"{np.mean([one[key] for one in fleets]):.2f}" for _, _, fleets in columns]))
    lines.append(_row("shifts of the fleet", [f"{sum(one['shifts'] for one in fleets)}" for _, _, fleets in columns]))
    for incident in columns[0][2][0]["incidents"]:
        cells = []
        for _, _, fleets in columns:
            after = [one["incidents"][incident]["minutes_to_alarm"] for one in fleets]
            times = [minutes for minutes in after if minutes is not None]
            cells.append(f"{len(times)}/{len(after)}" + (f", {np.median(times):g} min" if times else ""))
        lines.append(_row(incident, cells))
    return "\n".join(lines)


def _row(label: str, cells: Sequence[str]) -> str:
    return f"{label:<28}" + "".join(f"{cell:>16}" for cell in cells)


if __name__ == "__main__":
    raise SystemExit(main())
