"""Incidents from the AIT alert data set: which phases of the attack they show, and how long the queue gets.

``winnow bench incidents [--data DIR] [--json] [--out DIR]``. Each scenario is one replay from cold; each alert is a
JSON event of type ``alert``, in order of time, without its labels. Counted are incidents of severity medium and above
that opened after the first 24 hours: they are true if an alert of an attack is among their evidence. A phase of the
attack is found if one of its alerts is evidence of such an incident that opened before the phase ended, first day
included.

``--flood [ALERTS]`` measures a flood of other systems' alerts instead (1,000,000 of 5 rules on 3 hosts) and needs no
data. ``--citations`` replays all real telemetry instead, with 1 and 4 workers, and ends with status 1 if anything that
incidents cite is not there, or the two differ.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from analyzers.incidents.explanation import citations
from benchmarks import incidents_cited, incidents_flood
from benchmarks.ait_ads_data import ARCHIVE, load_texts
from flows.replay import replay
from flows.settings import Settings

DAY = 86_400.0
#: Alerts from which a phase counts for the bar.
BIG = 10
SEVERE = ("medium", "high", "critical")


class Labelled(NamedTuple):
    """An alert's time, seconds, and the phase of the attack that it is labelled with; empty: none."""

    time: float
    phase: str


def main() -> int:
    """Measure and print; the figures as JSON with ``--json``."""
    parser = argparse.ArgumentParser(prog="winnow bench incidents", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("WINNOW_DATA", "../shared/data")))
    parser.add_argument("--out", type=Path, help="keep the replays' results here")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--flood", type=int, nargs="?", const=1_000_000, metavar="ALERTS")
    parser.add_argument("--citations", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.flood is not None:
        with tempfile.TemporaryDirectory() as scratch:
            flooded = incidents_flood.measure(args.flood, args.out or Path(scratch))
        print(json.dumps(flooded) if args.json else incidents_flood.table(flooded))
        return 0
    if not (args.data / ARCHIVE).is_file():
        print(f"no {ARCHIVE} in {args.data}: name the data sets' folder by --data or WINNOW_DATA", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        out = args.out or Path(scratch)
        if args.citations:
            out.mkdir(parents=True, exist_ok=True)
            cited = incidents_cited.measure(args.data, out)
            print(json.dumps(cited) if args.json else incidents_cited.table(cited))
            lost = any(row["citations_lost"] or row["evidence_lost"] or row["alerts_lost"] for row in cited.values())
            return int(lost or not all(row["same"] for row in cited.values()))
        report = {name: measure(name, text, out, args.workers) for name, text in load_texts(args.data).items()}
    print(json.dumps(report) if args.json else table(report))
    return 0


def measure(name: str, text: str, out: Path, workers: int = 1) -> dict[str, Any]:
    """Replay a scenario's table into ``out`` and return its figures."""
    file, alerts = out / f"{name}.jsonl", []
    out.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lines:
        for row in sorted(csv.DictReader(io.StringIO(text)), key=lambda row: float(row["time"])):
            lines.write(json.dumps(as_event(row)) + "\n")
            phase = row["event_label"]
            alerts.append(Labelled(float(row["time"]), "" if phase == "-" else phase))
    began = time.perf_counter()
    replay([file], out / name, Settings(), workers=workers)
    took = time.perf_counter() - began
    with (out / name / "incidents.jsonl").open() as written:
        incidents = [json.loads(line) for line in written]
    return {**judge(incidents, alerts), "alerts": len(alerts), "seconds": round(took, 1)}


def as_event(row: Mapping[str, str]) -> dict[str, str]:
    """Return an alert as the JSON event that Winnow reads; its labels stay behind."""
    return {
        "timestamp": datetime.fromtimestamp(float(row["time"]), UTC).isoformat(),
        "host": row["host"],
        "source_ip": row["ip"],
        "event_type": "alert",
        "rule_id": row["short"],
        "description": row["name"],
    }


def judge(incidents: Sequence[Mapping[str, Any]], alerts: Sequence[Labelled]) -> dict[str, Any]:
    """Return the figures of a scenario's incidents; event ids end in the alert's number."""
    start, end = alerts[0].time, max(alert.time for alert in alerts)
    phases: dict[str, list[float]] = {}
    for alert in alerts:
        if alert.phase:
            phases.setdefault(alert.phase, []).append(alert.time)
    severe = [incident for incident in incidents if incident["severity"] in SEVERE]
    later = [incident for incident in severe if seconds(incident["opened"]) >= start + DAY]
    shares = [share(incident, alerts) for incident in later]
    true = [one for one in shares if one > 0]
    delays: dict[str, float] = {}
    for incident in severe:
        opened = seconds(incident["opened"])
        for phase in {alerts[number(event)].phase for event in incident["evidence"]} - {""}:
            if opened <= max(phases[phase]):
                delays[phase] = min(delays.get(phase, DAY), max(0.0, opened - min(phases[phase])))
    big = [phase for phase, times in phases.items() if len(times) >= BIG]
    top = max(incidents, key=lambda incident: float(incident["score"]), default=None)
    cited = [(i, event) for i in incidents for event in (*i["evidence"], *citations(i["explanation"]))]
    return {
        "phases": len(big),
        "found": sum(phase in delays for phase in big),
        "all_phases": len(phases),
        "all_found": len(delays),
        "missed": sorted(phases.keys() - delays.keys()),
        "incidents": len(incidents),
        "severe": len(later),
        "first_day": len(severe) - len(later),
        "per_day": round(len(later) / ((end - start) / DAY - 1.0), 2),
        "true": len(true),
        "share": round(statistics.median(true), 2) if true else 0.0,
        "top_true": top is not None and share(top, alerts) > 0,
        "delay": round(statistics.median(delays.values()), 1) if delays else None,
        "unresolved": sum(not 0 <= number(event) < len(alerts) for _, event in cited),
    }


def share(incident: Mapping[str, Any], alerts: Sequence[Labelled]) -> float:
    """Return the share of an incident's evidence that is of an attack."""
    events = incident["evidence"]
    return sum(alerts[number(event)].phase != "" for event in events) / max(len(events), 1)


def number(event_id: str) -> int:
    """Return the line of an event."""
    return int(event_id.rpartition("-")[2])


def seconds(time: str) -> float:
    """Return an ISO time as seconds."""
    return datetime.fromisoformat(time).timestamp()


def table(report: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the report as text."""
    lines = []
    for name, row in report.items():
        missed = f" (missed {', '.join(row['missed'])})" if row["missed"] else ""
        lines += [
            f"{name}: {row['alerts']:,} alerts in {row['seconds']} s; {row['incidents']} incidents of any severity",
            f"  phases of {BIG} and more alerts found {row['found']} of {row['phases']}, of all {row['all_found']} of"
            f" {row['all_phases']}{missed}; median {row['delay']} s after a phase began",
            f"  medium and above after the first day {row['severe']}, {row['per_day']} a day, {row['true']} of them"
            f" true; on the first {row['first_day']}",
            f"  evidence of attacks in the true ones {row['share']:.0%}; the top one is"
            f" {'true' if row['top_true'] else 'false'}; {row['unresolved']} citations lead nowhere",
        ]
    found, phases = (sum(row[key] for row in report.values()) for key in ("found", "phases"))
    return "\n".join([*lines, f"all: phases found {found} of {phases}"])


if __name__ == "__main__":
    raise SystemExit(main())
