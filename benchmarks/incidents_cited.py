"""Whether all that incidents cite in replays of real telemetry is there, and 1 and 4 workers write the same."""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from analyzers.incidents.explanation import citations
from benchmarks.ait_ads_data import load_texts
from benchmarks.rules import read, unpack_rules
from flows.replay import replay
from flows.settings import Settings
from operators.formats import Decoder, FormatSettings

#: Files that are the same whoever wrote them; the summary has a rate in it.
WRITTEN = ("alerts.jsonl", "incidents.jsonl", "notifications.jsonl", "escalations.jsonl", "rejected.jsonl")
PIECE = 1_000


def measure(data: Path, out: Path, workers: Iterable[int] = (1, 4)) -> dict[str, Any]:
    """Replay each data set from cold with so many workers; return how its incidents' citations resolve."""
    report: dict[str, Any] = {}
    rules = out / "rules"
    unpack_rules(data, rules)
    settings = Settings.model_validate({"rules": {"paths": [rules]}})
    for name, lines in telemetry(data):
        file = out / f"{name}.jsonl"
        file.write_bytes(b"".join(line.rstrip(b"\n") + b"\n" for line in lines))
        row: dict[str, Any] = {}
        written = []
        for count in workers:
            print(f"{name}: {count} workers", file=sys.stderr, flush=True)
            began = time.perf_counter()
            row |= {
                key: value
                for key, value in replay([file], out / f"{name}-{count}", settings, workers=count).items()
                if key in ("events", "alerts", "incidents", "notifications")
            }
            row[f"seconds_{count}"] = round(time.perf_counter() - began, 1)
            written.append({each: (out / f"{name}-{count}" / each).read_bytes() for each in WRITTEN})
        report[name] = row | {"same": all(one == written[0] for one in written)} | resolve(file, written[0])
    return report


def telemetry(data: Path) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield the data sets that are replayed, by name, as lines."""
    from benchmarks.incidents import as_event  # which has the command, and imports this

    for name, text in load_texts(data).items():
        rows = sorted(csv.DictReader(io.StringIO(text)), key=lambda row: float(row["time"]))
        yield f"ait-{name}", (json.dumps(as_event(row)).encode() for row in rows)
    for name in ("zeek_wrccdc", "windows_events"):
        (path,) = (data / name).glob("*.jsonl.zst")
        yield name, read(path)


def resolve(file: Path, written: dict[str, bytes]) -> dict[str, int]:
    """Return how many citations, evidence ids and alert ids there are, and how many of each lead nowhere.

    A citation leads to a line of the file that is an event of one of the incident's hosts, and is evidence of it; an
    alert's id to an alert, whose evidence is some of the incident's.
    """
    incidents = [orjson.loads(line) for line in written["incidents.jsonl"].splitlines()]
    alerts = {alert["id"]: alert for alert in map(orjson.loads, written["alerts.jsonl"].splitlines())}
    wanted = {event for incident in incidents for event in incident["evidence"]}
    hosts = dict(events_of(file, wanted))
    cited = [(i, event) for i in incidents for event in citations(i["explanation"])]
    evidence = [(i, event) for i in incidents for event in i["evidence"]]
    named = [(i, alert) for i in incidents for alert in i["alerts"]]
    return {
        "citations": len(cited),
        "citations_lost": sum(event not in i["evidence"] for i, event in cited),
        "evidence": len(evidence),
        "evidence_lost": sum(hosts.get(event) not in i["entities"] for i, event in evidence),
        "alerts_named": len(named),
        "alerts_lost": sum(alert not in alerts for _, alert in named),
    }


def events_of(file: Path, wanted: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the wanted events of a file, each with its host; decoded from the first line on, as a replay does."""
    decoder = Decoder(f"{file.name}-0", FormatSettings())
    lines: list[bytes] = file.read_bytes().splitlines()
    for start in range(0, len(lines), PIECE):
        piece = lines[start : start + PIECE]
        for event in decoder.decode_batch(piece, range(start, start + len(piece)), 0).events:
            if event.id in wanted:
                yield event.id, event.host


def table(report: dict[str, Any]) -> str:
    """Return the report as text."""
    return "\n".join(
        f"{name}: {row['events']:,} events, {row['incidents']} incidents, {row['notifications']} notifications;"
        f" {row['citations']:,} citations, {row['citations_lost']} lead nowhere; {row['evidence']:,} events of"
        f" evidence, {row['evidence_lost']} lead nowhere; {row['alerts_named']:,} alerts named, {row['alerts_lost']}"
        f" are none; workers {'agree' if row['same'] else 'DIFFER'}"
        for name, row in report.items()
    )
