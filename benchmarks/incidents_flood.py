"""A flood of other systems' alerts, beside the same in ordinary proportions: incidents, memory, time an alert."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from state.alerts import iso

START = 1_770_000_000_000_000


class Shape(NamedTuple):
    """Alerts over so many hosts and rules, at random, evenly over so many hours."""

    hosts: int
    rules: int
    hours: float


SHAPES = {"unflooded": Shape(100, 200, 6.0), "flood": Shape(3, 5, 0.5)}


def measure(alerts: int, scratch: Path) -> dict[str, Any]:
    """Replay a flood of so many alerts, and a third of them unflooded, each in a process of its own."""
    scratch.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {}
    # What a replay costs before it reads: rules, models.
    first = scratch / "first.jsonl"
    write(first, Shape(1, 1, 1.0), 1)
    report["start"] = replayed(first, scratch / "first", 1)
    for name, shape in SHAPES.items():
        count = alerts if name == "flood" else alerts * 3 // 10
        file = scratch / f"{name}.jsonl"
        write(file, shape, count)
        report[name] = replayed(file, scratch / name, count, report["start"]["cpu_seconds"])
    flood, usual = report["flood"], report["unflooded"]
    report["slower"] = round(flood["cpu_microseconds"] / usual["cpu_microseconds"] - 1.0, 2)
    return report


def write(file: Path, shape: Shape, count: int) -> None:
    """Write alerts as JSON lines, in order of time."""
    rng = random.Random(1)
    step = shape.hours * 3_600e6 / count
    with file.open("w") as lines:
        for number in range(count):
            host, rule = rng.randrange(shape.hosts), rng.randrange(shape.rules)
            lines.write(
                f'{{"timestamp":"{iso(START + int(number * step))}","host":"web-{host}","source_ip":"10.0.0.5",'
                f'"event_type":"alert","rule_id":"R{rule}","description":"rule {rule}"}}\n'
            )


def replayed(file: Path, out: Path, count: int, start: float = 0.0) -> dict[str, Any]:
    """Return what a replay of a file costs, beside the CPU seconds of ``start``, and what it finds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "flows.cli", "replay", str(file), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the replay of {file} ended with status {process.returncode}")
    with (out / "incidents.jsonl").open() as written:
        incidents = [json.loads(line) for line in written]
    return {
        "alerts": count,
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "cpu_microseconds": round((used.ru_utime + used.ru_stime - start) / count * 1e6, 1),
        "peak_mb": round(used.ru_maxrss / 1_024, 1),
        "incidents": len(incidents),
        "largest": max((incident["alert_count"] for incident in incidents), default=0),
    }


def table(report: dict[str, Any]) -> str:
    """Return the report as text."""
    lines = [
        f"{name}: {row['alerts']:,} alerts of {SHAPES[name].rules} rules on {SHAPES[name].hosts} hosts in"
        f" {row['seconds']} s, {row['cpu_microseconds']} µs of CPU an alert, {row['peak_mb']} MB at most;"
        f" {row['incidents']} incidents, the largest of {row['largest']:,} alerts"
        for name, row in report.items()
        if name in SHAPES
    ]
    start = f"before the first alert: {report['start']['cpu_seconds']} s of CPU, {report['start']['peak_mb']} MB"
    return "\n".join([start, *lines, f"the flood costs {1 + report['slower']:.2f} times the CPU an alert"])
