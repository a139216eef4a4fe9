"""Alarms by budget over a scenario: which phases of the attack they show, and how many there are a host and day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from analyzers.anomaly.budget import Alarm, BudgetSettings
from analyzers.anomaly.budget_anomaly import rare_readings, unusual
from analyzers.anomaly.budget_fleet import FleetShift, ShiftSettings
from benchmarks.ait_ads_data import judged
from benchmarks.ait_ads_scores import Scored

DAY = 86_400_000_000


class Found(NamedTuple):
    """What alarms of a scenario showed after its first 24 hours."""

    phases: frozenset[str]
    #: Phases with a window that alarmed, was added to an open anomaly, or is in a shift of the fleet.
    found: frozenset[str]
    #: Phases with a window that began an anomaly or a shift.
    began: frozenset[str]
    #: Anomalies and shifts, also a host and day; those of them that no attack is in.
    alerts: int
    per_host_day: float
    false: int
    shifts: int
    #: What the budget had no room for.
    refused: int
    #: The most alerts that any host had in a UTC day.
    most: int


def alarms(scored: Sequence[Scored], budget: BudgetSettings, shifts: ShiftSettings) -> Found:
    """Run the alarms of all hosts over a scenario's scores."""
    since = judged([one.window for one in scored])
    fleet, hosts = FleetShift(shifts), dict[str, Alarm]()
    found: set[str] = set()
    began: set[str] = set()
    told: list[tuple[str, int, bool]] = []
    born: dict[str, int] = {}
    for start, minute in groupby(scored, key=lambda one: one.window.start):
        some = {one.window.host: one for one in minute}
        for name, one in some.items():
            born.setdefault(name, one.window.start)
        # Where nothing is unusual there is nothing to judge, and no state changes.
        rare = [(name, one) for name, one in some.items() if one.surprise >= budget.least]
        if not rare:
            continue
        windows = [
            unusual(name, start, born[name], rare_readings(one.found, one.surprise), budget.least) for name, one in rare
        ]
        judgement = fleet.judge(start, [window for window in windows if window], len(born))
        # What is said before the first 24 hours are over is not, but all learn from it.
        counted = start >= since
        for shift in judgement.shifts:
            phases = _phases(some[name] for name in shift.hosts if name in some)
            if counted:
                found |= phases
                if shift.first:
                    began |= phases
                    told.append(("fleet", start, not phases))
        for window in judgement.alone:
            verdict = hosts.setdefault(window.host, Alarm(window.host, budget)).judge(window)
            if not verdict.anomaly or not counted:
                continue
            phases = _phases([some[window.host]])
            found |= phases
            if verdict.status == "alarm":
                began |= phases
                told.append((window.host, start, not some[window.host].window.during and not phases))
    of = frozenset(_phases(one for one in scored if one.window.start >= since))
    days = (scored[-1].window.start - since) / DAY * len(born)
    by_day: dict[tuple[str, int], int] = {}
    for name, start, _ in told:
        by_day[name, start // DAY] = by_day.get((name, start // DAY), 0) + 1
    return Found(
        of,
        frozenset(found),
        frozenset(began),
        len(told),
        len(told) / days,
        sum(false for _, _, false in told),
        sum(name == "fleet" for name, _, _ in told),
        sum(alarm.refused for alarm in hosts.values()),
        max(by_day.values(), default=0),
    )


def _phases(some: Iterable[Scored]) -> set[str]:
    return {phase for one in some for phase in one.window.phases}
