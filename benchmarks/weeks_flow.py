"""What the flow's host step tells of the four generated weeks of ``winnow bench weeks``.

``winnow bench weeks_flow [--hosts N] [--seed S] [--json]``. Each host is judged by its own ``Habits``, by their default
settings, by which any of the five metrics may alarm on either side. The host step knows no shifts of the fleet.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from analyzers.anomaly.habits import Habits
from analyzers.anomaly.settings import AnomalySettings
from analyzers.metrics import Meaning, Metric, MetricSet
from benchmarks.weeks import JUDGED, Told, sort_out, table
from benchmarks.weeks_fleet import METRICS, MINUTE, START, Weeks, weeks


def main() -> int:
    """Measure and print; the figures as JSON with ``--json``."""
    parser = argparse.ArgumentParser(prog="winnow bench weeks_flow", description=__doc__)
    parser.add_argument("--hosts", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    report = {"scorer": "flow", "seed": args.seed} | measure(weeks(max(args.hosts, 6), args.seed))
    print(json.dumps(report) if args.json else table(report))
    return 0


def measure(generated: Weeks, settings: AnomalySettings | None = None) -> dict[str, Any]:
    """Return what the hosts' own alarms tell."""
    meaning = Meaning("Unusual", "low")
    metrics = MetricSet([Metric(name, name, "count", peak=meaning, dip=meaning) for name in METRICS])
    hosts, _, minutes = generated.counts.shape
    told: list[Told] = []
    spent = 0.0
    for host in range(hosts):
        habits = Habits(f"host-{host:02}", metrics, settings or AnomalySettings())
        for minute, values in enumerate(generated.counts[host].T.tolist()):
            began = time.process_time()
            verdict = habits.judge(START + minute * MINUTE, dict(enumerate(values))).verdict
            spent += time.process_time() - began
            if verdict and verdict.anomaly and verdict.status == "alarm":
                told.append(Told(host, minute, frozenset(one.metric for one in verdict.anomaly.passed)))
    days = hosts * (minutes - JUDGED) / 1_440
    report = sort_out([one for one in told if one.minute >= JUDGED], generated.incidents, days)
    return report | {"hosts": hosts, "microseconds": spent / generated.counts.size * 1e6}


if __name__ == "__main__":
    raise SystemExit(main())
