"""The queue that a replay writes, and the one that analysts see: one attack, one entry, each claim with its event."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from analyzers.incidents.book import MINUTE, IncidentBook
from analyzers.incidents.explanation import citations
from analyzers.incidents.minutes import Minute
from analyzers.incidents.settings import IncidentSettings
from analyzers.incidents.sightings import AlertCount, Sighting, Told
from analyzers.incidents.watch import Watch
from benchmarks.ait_ads_data import load_texts
from benchmarks.incidents import Labelled, judge
from flows.cli import main
from flows.replay import replay
from flows.settings import Settings
from state.alerts import MAX_EVIDENCE, Level
from state.incidents import Incident
from state.postgres import PostgresSettings
from state.revisions import migrate
from state.schemas import validate_alert, validate_incident
from state.store import Store
from tests.integration.test_store import an_incident

T0 = 1_770_000_000
ATTACK = T0 + 2_400


def telemetry() -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield an hour of ordinary alerts of four hosts, and a scan of two of them near its end."""
    rng = random.Random(7)
    for minute in range(60):
        for host in range(4):
            if rng.random() < 0.5:
                yield T0 + 60 * minute + rng.random() * 60, event(f"web-{host}", f"noise-{rng.randrange(4)}")
    for number in range(4_000):
        yield ATTACK + number / 40, event(f"web-{number % 2}", f"scan-{number % 9}", "198.51.100.7")


def event(host: str, rule: str, source: str = "") -> dict[str, Any]:
    return {"host": host, "source_ip": source, "event_type": "alert", "rule_id": rule, "description": f"Saw {rule}"}


def test_a_scan_is_one_incident_with_a_count_the_same_with_one_worker_and_two(tmp_path: Path) -> None:
    file = tmp_path / "alerts.jsonl"
    rows = sorted(telemetry(), key=lambda row: row[0])
    stamps = [datetime.fromtimestamp(time, UTC).isoformat() for time, _ in rows]
    lines = [json.dumps({"timestamp": s, **row}) for s, (_, row) in zip(stamps, rows, strict=True)]
    file.write_text("\n".join(lines) + "\n")
    written = []
    for workers in (1, 2):
        summary = replay([file], tmp_path / str(workers), Settings(), workers=workers)
        assert (summary["events"], summary["rejected"], summary["incidents"]) == (len(rows), 0, 1)
        written.append([(tmp_path / str(workers) / f"{name}.jsonl").read_bytes() for name in ("alerts", "incidents")])
    assert written[0] == written[1]
    [incident] = [json.loads(line) for line in written[0][1].splitlines()]
    validate_incident(incident)
    assert incident["severity"] in ("medium", "high", "critical")
    assert sorted(incident["entities"]) == ["address:198.51.100.7", "web-0", "web-1"]
    assert incident["alert_count"] == 4_000
    cited = [lines[int(event_id.rpartition("-")[2])] for event_id in incident["evidence"]]
    assert len(cited) == 18 * MAX_EVIDENCE
    assert all("scan-" in line for line in cited)
    assert set(citations(incident["explanation"])) <= set(incident["evidence"])
    # Each of its alerts is an alert of ours, with the events as evidence.
    alerts = {alert["id"]: alert for alert in map(json.loads, written[0][0].splitlines())}
    for alert in alerts.values():
        validate_alert(alert)
    assert set(incident["alerts"]) <= alerts.keys()
    copied = {event_id for name in incident["alerts"] for event_id in alerts[name]["evidence"]}
    assert copied == set(incident["evidence"])


TOOL = """
title: Tool seen
logsource: {product: windows, category: process_creation}
detection: {tool: {Image|endswith: '\\tool.exe'}, condition: tool}
level: medium
"""


def created(time: int, host: str, user: str, image: str, process: str, parent: str, md5: str) -> dict[str, Any]:
    stamp = datetime.fromtimestamp(time, UTC)
    return {
        "@timestamp": f"{stamp:%Y-%m-%dT%H:%M:%S.000Z}",
        "Hostname": host,
        "Channel": "Microsoft-Windows-Sysmon/Operational",
        "SourceName": "Microsoft-Windows-Sysmon",
        "EventID": 1,
        "UtcTime": f"{stamp:%Y-%m-%d %H:%M:%S.000}",
        "User": f"LAB\\{user}",
        "Image": image,
        "CommandLine": "tool.exe -q",
        "ProcessGuid": process,
        "ParentProcessGuid": parent,
        "ParentImage": "C:\\Windows\\System32\\cmd.exe",
        "Hashes": f"MD5={md5}",
    }


def test_a_file_that_came_to_another_host_is_one_attack_and_another_file_another(tmp_path: Path) -> None:
    tool, other = "C78D58386504CAF3437EED37FBFF77B5", "A78D58386504CAF3437EED37FBFF77B5"
    lines = [
        created(T0, "WS-1.lab", "anna", "C:\\t\\tool.exe", "{a-1}", "{a-0}", tool),
        created(T0 + 7_200, "WS-2.lab", "ben", "C:\\t\\tool.exe", "{b-1}", "{b-0}", tool),
        created(T0 + 9_000, "WS-3.lab", "carl", "C:\\Program Files\\y\\tool.exe", "{c-1}", "{c-0}", other),
    ]
    (tmp_path / "tool.yml").write_text(TOOL)
    file = tmp_path / "sysmon.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = Settings.model_validate({"rules": {"builtin": False, "paths": [tmp_path / "tool.yml"], "cache": ""}})
    assert replay([file], tmp_path / "out", settings)["incidents"] == 2
    settings.incidents.file_hosts = 1
    assert replay([file], tmp_path / "common", settings)["incidents"] == 3
    incidents = [json.loads(line) for line in (tmp_path / "out" / "incidents.jsonl").read_bytes().splitlines()]
    [incident] = [each for each in incidents if "ws-1" in each["entities"]]
    assert f"ws-2 to ws-1 by hash:{tool.lower()}" in incident["explanation"]


def test_a_server_that_both_use_links_nothing_and_who_attacks_both_does_by_the_networks_in_the_settings(
    tmp_path: Path,
) -> None:
    rows = [
        ("ws-1", "tunnel", "192.0.2.11", "192.0.2.53"),
        ("ws-2", "scan", "192.0.2.12", "192.0.2.53"),
        ("web-1", "exploit", "192.0.2.66", "192.0.2.21"),
        ("web-2", "logon", "192.0.2.66", "192.0.2.22"),
    ]
    lines = []
    for n, (host, rule, source, destination) in enumerate(rows):
        stamp = datetime.fromtimestamp(T0 + 60 * n, UTC).isoformat()
        ends = {"destination_ip": destination, "severity": "high"}
        lines.append(json.dumps({"timestamp": stamp, **event(host, rule, source), **ends}))
    file = tmp_path / "alerts.jsonl"
    file.write_text("\n".join(lines) + "\n")
    found = {}
    for name, networks, workers in (("ours", ["192.0.2.0/24"], 1), ("two", ["192.0.2.0/24"], 2), ("not", [], 1)):
        settings = Settings.model_validate({"formats": {"home_networks": networks}})
        replay([file], tmp_path / name, settings, workers=workers)
        incidents = [json.loads(line) for line in (tmp_path / name / "incidents.jsonl").read_bytes().splitlines()]
        found[name] = sorted(sorted(e for e in each["entities"] if ":" not in e) for each in incidents)
    assert found["ours"] == found["two"] == [["web-1", "web-2"], ["ws-1"], ["ws-2"]]
    # Were the networks not ours, the server would be a stranger's, whom both call.
    assert found["not"] == [["web-1", "web-2"], ["ws-1", "ws-2"]]


def test_an_incident_closes_by_itself_and_it_can_be_seen_how_often_one_would_have_been_called(tmp_path: Path) -> None:
    (tmp_path / "tool.yml").write_text(TOOL)
    file = tmp_path / "sysmon.jsonl"
    lines = [created(T0, "WS-1.lab", "anna", "C:\\t\\tool.exe", "{a-1}", "{a-0}", "-")]
    # Another host goes on, and nothing is wrong with it.
    quiet = range(T0 + 600, T0 + 8 * 3_600, 600)
    lines += [created(time, "WS-2.lab", "ben", "C:\\t\\word.exe", "{b-1}", "{b-0}", "-") for time in quiet]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = Settings.model_validate({"rules": {"builtin": False, "paths": [tmp_path / "tool.yml"], "cache": ""}})
    assert replay([file], tmp_path / "out", settings)["notifications"] == 3
    [incident] = [json.loads(line) for line in (tmp_path / "out" / "incidents.jsonl").read_bytes().splitlines()]
    assert incident["state"] == "closed"
    told = [json.loads(line) for line in (tmp_path / "out" / "notifications.jsonl").read_bytes().splitlines()]
    for message in told:
        validate_incident(message)
    times = [(datetime.fromisoformat(message["notified_at"]).timestamp() - T0) / 3_600 for message in told]
    assert [message["notification"] for message in told] == ["new", "repeat", "closed"]
    assert times == pytest.approx([0, 4, 6.1], abs=0.1)


def ait_minutes(text: str) -> tuple[list[Minute], list[Labelled]]:
    """Return a scenario of the AIT alerts as the incident step hears it, and its labels by number."""
    rows = sorted((float(time), host, short, label) for time, _, _, host, short, _, label in _split(text))
    watches: dict[str, Watch] = {}
    minutes = []
    for start, some in groupby(enumerate(rows), key=lambda row: int(row[1][0]) // 60 * MINUTE):
        alerts: dict[str, dict[str, AlertCount]] = {}
        for number, (seconds, host, short, _) in some:
            time = int(seconds * 1e6)
            one = AlertCount(Told(short, short), 1, time, time, [(time, f"ait-0-{number}", b"")], [])
            known = alerts.setdefault(host, {}).setdefault(short, one)
            if known is not one:
                known.merge(one)
        found: list[Sighting] = []
        born = []
        for host, counts in alerts.items():
            watch = watches.setdefault(host, Watch(host))
            found += watch.window(start, counts)
            if watch.born >= 0:
                born.append((host, watch.born))
                watch.born = -1
        minutes.append(Minute(start, sorted(found, key=lambda sighting: sighting.order), sorted(born)))
    return minutes, [Labelled(time, "" if label == "-" else label) for time, _, _, label in rows]


def _split(text: str) -> Iterator[tuple[str, ...]]:
    for line in text.splitlines()[1:]:
        time, rest = line.split(",", 1)
        name, ip, host, short, time_label, label = rest.rsplit(",", 5)
        yield time, name, ip, host, short, time_label, label


@pytest.mark.data
def test_of_a_real_attack_every_large_phase_is_in_the_queue_and_hardly_anything_else(data_dir: Path) -> None:
    minutes, labels = ait_minutes(load_texts(data_dir)["russellmitchell"])
    book, found = IncidentBook(IncidentSettings(), 60 * MINUTE), dict[str, Incident]()
    for minute in minutes:
        found.update((update.incident.id, update.incident) for update in book.advance(minute).updates)
    figures = judge([incident.message() for incident in found.values() if incident.state != "merged"], labels)
    assert (figures["found"], figures["phases"]) == (4, 4)
    assert figures["severe"] <= 2 * figures["true"]
    assert figures["per_day"] <= 1
    assert figures["top_true"]
    assert figures["share"] >= 0.4
    assert figures["unresolved"] == 0


def test_the_queue_can_be_read_and_reviewed_from_the_command_line(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    migrate(postgres_dsn)
    monkeypatch.setenv("WINNOW_POSTGRES__DSN", postgres_dsn)
    incident = an_incident(severity=Level.high, aliases=("i-0123456789abcdef0123",))
    with Store(PostgresSettings(dsn=postgres_dsn)) as store:  # type: ignore[arg-type]
        store.write_incidents([incident])

    def said(*words: str, status: int = 0) -> str:
        assert main(["incidents", *words]) == status
        told = capsys.readouterr()
        return told.err if status else told.out

    assert incident.id in (line := said("list"))
    assert "new" in line and incident.title in line
    assert incident.explanation in said("show", "i-0123456789abcdef0123")
    assert said("ack", incident.id, "--reason", "looking", "--author", "kim") == f"{incident.id} is acknowledged\n"
    assert said("close", incident.id, "--reason", "a drill", "--as", "benign") == f"{incident.id} is closed\n"
    assert said("list") == ""
    closed = json.loads(said("list", "--all", "--json"))
    assert (closed["status"], closed["verdict"], closed["reason"]) == ("closed", "benign", "a drill")
    assert said("reopen", incident.id, "--reason", "no drill after all") == f"{incident.id} is new\n"
    assert "no incident i-none" in said("show", "i-none", status=2)
    assert "--reason must say" in said("ack", incident.id, "--reason", " ", status=2)
