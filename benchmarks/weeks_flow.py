"""What the flow tells of the four generated weeks of ``winnow bench weeks``.

``winnow bench weeks_flow [--hosts N] [--seeds S,…] [--json]``. Each host is judged by its own ``Habits``, the fleet by
``Fleet``, each host's alarms by ``HostAlarm``, as in the flow and by their default settings, by which any of the five
metrics may alarm on either side.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from analyzers.anomaly.barrier import Report, WindowClosed
from analyzers.anomaly.fleet import Fleet
from analyzers.anomaly.habits import Habits
from analyzers.anomaly.settings import AnomalySettings
from analyzers.anomaly.telling import HostAlarm
from analyzers.metrics import Meaning, Metric, MetricSet
from benchmarks.weeks import JUDGED, Told, sort_out, table
from benchmarks.weeks_fleet import METRICS, MINUTE, START, Weeks, weeks


def main() -> int:
    """Measure and print; the figures as JSON with ``--json``."""
    parser = argparse.ArgumentParser(prog="winnow bench weeks_flow", description=__doc__)
    parser.add_argument("--hosts", type=int, default=12)
    parser.add_argument("--seeds", default="1", metavar="S,…", help="of the weeks (default: 1)")
    parser.add_argument("--promote", type=int, default=AnomalySettings().promote, help="setting anomaly.promote")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    hosts, seeds = max(args.hosts, 6), [int(seed) for seed in args.seeds.split(",")]
    fleets = [measure(weeks(hosts, seed), AnomalySettings(promote=args.promote)) for seed in seeds]
    found = {
        "microseconds": sum(fleet["microseconds"] for fleet in fleets) / len(fleets),
        "least": {f"{AnomalySettings().least:g}": fleets},
    }
    report = {"hosts": hosts, "seeds": seeds, "scorers": {"flow": found}}
    print(json.dumps(report) if args.json else table(report))
    return 0


def measure(generated: Weeks, settings: AnomalySettings | None = None) -> dict[str, Any]:
    """Return what the hosts' own alarms and the fleet tell."""
    settings = settings or AnomalySettings()
    meaning = Meaning("Unusual", "low")
    metrics = MetricSet([Metric(name, name, "count", peak=meaning, dip=meaning) for name in METRICS])
    hosts, _, minutes = generated.counts.shape
    names = [f"host-{host:02}" for host in range(hosts)]
    habits = [Habits(name, metrics, settings) for name in names]
    alarms = [HostAlarm(name, metrics, settings) for name in names]
    fleet = Fleet(1, metrics, settings.shift)
    told: list[Told] = []
    spent = 0.0
    for minute in range(minutes):
        began, start = time.process_time(), START + minute * MINUTE
        fleet.add(WindowClosed(0, start, hosts))
        for name, habit, values in zip(names, habits, generated.counts[:, :, minute].tolist(), strict=True):
            fleet.add(Report(name, start, habit.judge(start, dict(enumerate(values))).unusual))
        for item in fleet.release():
            if not isinstance(item, Report):
                told.append(Told(-1, minute, frozenset(name for name in METRICS if f":{name}:" in item.rule)))
                continue
            host = names.index(item.host)
            alarm = alarms[host]
            alarm.judge(item)
            if alarm.verdict and alarm.verdict.anomaly and alarm.verdict.status == "alarm":
                told.append(Told(host, minute, frozenset(one.metric for one in alarm.verdict.anomaly.passed)))
        spent += time.process_time() - began
    days = hosts * (minutes - JUDGED) / 1_440
    report = sort_out([one for one in told if one.minute >= JUDGED], generated.incidents, days)
    return report | {"hosts": hosts, "microseconds": spent / generated.counts.size * 1e6}


if __name__ == "__main__":
    raise SystemExit(main())
