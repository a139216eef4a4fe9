"""Correlations through the whole flow say what the reference says: shuffled within the lateness, on 1, 2, 4 workers."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path

import pytest

from analyzers.correlations.hits import Hit
from analyzers.rules import RuleSet
from flows.replay import replay
from flows.settings import Settings
from operators.batch import Batch
from operators.formats import Decoder
from operators.rules import Judge
from state.alerts import iso
from tests.unit.analyzers.correlations import correlation_reference

START = 1_704_708_000_000_000  # Monday 2024-01-08 10:00 UTC
SECOND = 1_000_000
RULES = """
title: Many refused passwords
name: brute
correlation:
  {type: event_count, rules: [refused], group-by: [source.ip], timespan: 2m, condition: {gte: 8}, generate: true}
level: medium
---
title: Guessed and used as root
correlation:
  type: temporal_ordered
  rules: [brute_on_host, accepted, sudo]
  group-by: [host.name]
  timespan: 5m
level: critical
---
title: Many refused passwords on a host
name: brute_on_host
correlation: {type: event_count, rules: [refused], group-by: [host.name, source.ip], timespan: 1m, condition: {gt: 4}}
---
title: One password on many accounts
correlation:
  {type: value_count, rules: [refused], group-by: [source.ip], timespan: 2m, condition: {field: user.name, gte: 10}}
level: high
---
title: Many ports of one address
correlation:
  {type: value_count, rules: [connection], group-by: [src_ip], timespan: 30s, condition: {field: dst_port, gt: 30}}
level: high
---
title: Quiet minutes
correlation: {type: event_count, rules: [connection], group-by: [src_ip], timespan: 1m, condition: {gt: 1, lte: 3}}
level: low
---
title: Password refused
name: refused
logsource: {product: linux, service: sshd}
detection: {keywords: [Failed password], condition: keywords}
level: low
---
title: Password accepted
name: accepted
logsource: {product: linux, service: sshd}
detection: {keywords: [Accepted password], condition: keywords}
---
title: Sudo
name: sudo
logsource: {product: linux, service: sudo}
detection: {keywords: ['COMMAND='], condition: keywords}
---
title: Connection
name: connection
logsource: {category: firewall}
detection: {any: {src_ip|exists: true}, condition: any}
"""
Line = tuple[int, str]


def syslog(time: int, host: str, program: str, said: str) -> Line:
    return time, f"<86>1 {iso(time)} {host} {program} 7 - - {said}"


def ssh(time: int, host: str, user: str, source: str, verdict: str = "Failed") -> Line:
    return syslog(time, host, "sshd", f"{verdict} password for {user} from {source} port 40112 ssh2")


def conn(time: int, source: str, port: int) -> Line:
    fields = {"_path": "conn", "ts": time / SECOND, "uid": f"C{time}{port}", "proto": "tcp"}
    ends = {"id.orig_h": source, "id.orig_p": 4_000, "id.resp_h": "10.0.0.9", "id.resp_p": port}
    return time, json.dumps({**fields, **ends})


def traffic(seed: int) -> dict[str, list[Line]]:
    """Return half an hour of lines by file: everyday life, brute force, a spray, a scan, an attack in steps."""
    choose = random.Random(seed)
    files: dict[str, list[Line]] = defaultdict(list)

    def at(low: float, high: float) -> int:
        return START + choose.randint(round(low * 1_000), round(high * 1_000)) * 1_000

    for _ in range(150):
        host = f"web-{choose.randint(1, 3)}"
        verdict = choose.choice(["Failed", "Accepted"])
        line = ssh(at(0, 1_800), host, f"user{choose.randint(1, 20)}", f"10.0.1.{choose.randint(1, 40)}", verdict)
        files[host].append(line)
        files["zeek"].append(conn(at(0, 1_800), f"10.0.1.{choose.randint(1, 40)}", choose.choice([53, 443])))
        if choose.random() < 0.1:
            files[host].append(syslog(at(0, 1_800), host, "sudo", "  anna : TTY=pts/0 ; USER=root ; COMMAND=/bin/ls"))
    for _ in range(40):  # brute force, from one address on one host
        files["web-1"].append(ssh(at(300, 420), "web-1", "root", "192.0.2.1"))
    for number in range(30):  # a spray over users and hosts
        host = f"web-{choose.randint(1, 3)}"
        files[host].append(ssh(at(600, 700), host, f"user{number}", "192.0.2.2"))
    for port in range(200):  # a scan
        files["zeek"].append(conn(at(900, 960), "192.0.2.3", port + 1))
    for _ in range(9):
        files["web-3"].append(ssh(at(1_200, 1_230), "web-3", "anna", "192.0.2.4"))
    files["web-3"].append(ssh(at(1_235, 1_240), "web-3", "anna", "192.0.2.4", "Accepted"))
    files["web-3"].append(syslog(at(1_250, 1_260), "web-3", "sudo", "  anna : TTY=pts/0 ; USER=root ; COMMAND=/bin/sh"))
    return files


def expected(rules: RuleSet, files: dict[str, list[Line]], settings: Settings) -> dict[tuple[str, str, str], int]:
    """Return how often each correlation fires, by rule, entity and hour, by the reference over all matches at once."""
    hits: list[Hit] = []
    for name, lines in files.items():
        ordered = [line.encode() for _, line in sorted(lines)]
        decoded = Decoder(f"{name}.log-0", settings.formats).decode_batch(ordered, range(len(ordered)), START)
        assert not decoded.rejected
        batch = Batch(f"{name}.log-0", 0, 0, 0, decoded.events, consumed=len(decoded.events))
        judged = Judge(lambda _: rules).judge(batch)
        assert judged.hits is not None
        hits += judged.hits.hits
    found: dict[tuple[str, str, str], int] = defaultdict(int)
    for held in correlation_reference.holds(list(rules.correlations), hits):
        if held.fired and not held.correlation.silent:
            entity = next(iter(held.hosts)) if len(held.hosts) == 1 else held.group[0]
            found[held.correlation.rule.title, entity, iso(held.seen.hit.time)[:13]] += 1
    return dict(found)


@pytest.mark.parametrize(("seed", "workers"), [(1, 1), (2, 2), (3, 4)])
def test_the_flow_says_what_the_reference_says(tmp_path: Path, seed: int, workers: int) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    settings = Settings.model_validate(
        {"rules": {"builtin": False, "paths": [tmp_path / "rules.yml"], "cache": ""}, "alerts": {"min_level": "low"}}
    )
    rules = RuleSet.load(tmp_path / "rules.yml")
    assert not rules.problems
    files = traffic(seed)
    due = expected(rules, files, settings)
    order = random.Random(seed)
    paths = []
    for name, lines in files.items():
        # Each may come up to four seconds late, and then still before the watermark, which is five seconds back.
        late = sorted(lines, key=lambda line: line[0] + order.randint(0, 4 * SECOND))
        assert late != sorted(lines)
        paths.append(tmp_path / f"{name}.log")
        paths[-1].write_text("".join(f"{line}\n" for _, line in late))
    summary = replay(paths, tmp_path / "out", settings, workers=workers)
    assert summary["late"] == 0
    alerts = [json.loads(line) for line in (tmp_path / "out" / "alerts.jsonl").read_bytes().splitlines()]
    told = {
        (alert["name"], alert["entity"], alert["window_start"][:13]): alert["count"]
        for alert in alerts
        if alert["kind"] == "correlation"
    }
    assert told == due
    titles = {title for title, _, _ in due}
    assert {"Many refused passwords", "One password on many accounts", "Many ports of one address"} <= titles
    assert ("Guessed and used as root", "web-3", "2024-01-08T10") in due
    assert "Many refused passwords on a host" not in titles, "what is only referred to says nothing"
    # With generate, what a correlation refers to alerts as ever; without, it is silent.
    assert {alert["name"] for alert in alerts if alert["kind"] == "rule"} == {"Password refused"}
    assert all(1 <= len(alert["evidence"]) <= 20 for alert in alerts if alert["kind"] == "correlation")
    # What correlations say is part of incidents: the three steps on web-3 are the worst that happened there.
    incidents = [json.loads(line) for line in (tmp_path / "out" / "incidents.jsonl").read_bytes().splitlines()]
    steps = next(incident for incident in incidents if "web-3" in json.dumps(incident["entities"]))
    assert "Guessed and used as root" in json.dumps(steps["explanation"])
