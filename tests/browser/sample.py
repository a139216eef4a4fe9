"""A believable night on twelve hosts, for the console's tests and pictures. Written for this; nobody's data."""

from __future__ import annotations

import json
import math
import random
import time
from typing import Any

from state.alerts import Alert, Evidence, Level
from state.ids import alert_id
from state.ledger import SPAN, LedgerRow
from state.store import Store
from state.windows import HostSeen, HostWindow

MINUTE = 60_000_000
VERSIONS = (("rules", "sigma-7f3a91"), ("metrics", "9c1e44d0b2a7"))
SOURCES = {
    "windows.sysmon": 0.31,
    "windows.security": 0.24,
    "zeek.conn": 0.19,
    "zeek.dns": 0.10,
    "suricata.flow": 0.07,
    "linux.sshd": 0.04,
    "suricata.alert": 0.03,
    "zeek.http": 0.02,
}
HOSTS = {
    "dc-01": 95,
    "web-1": 160,
    "web-2": 150,
    "db-1": 60,
    "mail-1": 45,
    "vpn-1": 70,
    "bastion": 25,
    "ws-anna": 30,
    "ws-boris": 28,
    "ws-chen": 33,
    "build-7": 80,
    "printer-3": 2,
}
#: Kind, rule, name, level, host, signals, minutes ago, minutes long, reason, techniques, tactics, evidence or none.
ALERTS = (
    (
        "rule",
        "c1337eb8-921a-4b59-855b-4ba188ddcc42",
        "Encoded PowerShell Command Line",
        Level.critical,
        "ws-anna",
        3,
        4,
        2,
        "Image ends with \\powershell.exe; CommandLine contains ' -enc SQBFAFgA'",
        ("T1059.001", "T1027"),
        ("execution", "defense-evasion"),
        {
            "EventID": 1,
            "Channel": "Microsoft-Windows-Sysmon/Operational",
            "Computer": "WS-ANNA.corp.example",
            "UtcTime": "2026-02-03 02:14:07.331",
            "Image": "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe",
            "CommandLine": "powershell.exe -NoP -W Hidden -enc SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQAKQA=",
            "ParentImage": "C:\\Program Files\\Microsoft Office\\root\\Office16\\WINWORD.EXE",
            "User": "CORP\\anna",
        },
    ),
    (
        "threshold",
        "failed_logins:peak",
        "Password guessing: many failed logins",
        Level.high,
        "vpn-1",
        6,
        9,
        6,
        "failed_logins 214 in one minute, limit 20",
        ("T1110",),
        ("credential-access",),
        None,
    ),
    (
        "rule",
        "5af54681-df95-4c26-854f-2565e13cfab0",
        "Successful Login After Many Failures",
        Level.high,
        "vpn-1",
        1,
        3,
        0,
        "user svc-backup from 203.0.113.77 accepted after 1,284 failures in 6 minutes",
        ("T1110", "T1078"),
        ("credential-access", "initial-access"),
        {
            "timestamp": "2026-02-03T02:15:11Z",
            "host": "vpn-1",
            "program": "sshd",
            "pid": 21877,
            "message": "Accepted password for svc-backup from 203.0.113.77 port 50214 ssh2",
        },
    ),
    (
        "rule",
        "e0552b19-5a83-4222-b141-b36184bb8d79",
        "SQL Injection Attempt in URI",
        Level.high,
        "web-1",
        48,
        14,
        5,
        "uri contains 'union select', status 200",
        ("T1190",),
        ("initial-access",),
        {
            "ts": 1770084600.114,
            "host": "shop.example",
            "method": "GET",
            "status_code": 200,
            "id.orig_h": "198.51.100.23",
            "id.resp_h": "192.0.2.10",
            "uri": "/item?id=7%27%20UNION%20SELECT%20login,pass%20FROM%20users--<script>alert(1)</script>",
        },
    ),
    (
        "anomaly",
        "dns_texts:peak",
        "DNS tunnelling: far more distinct names than usual",
        Level.medium,
        "ws-chen",
        4,
        18,
        12,
        "dns_texts 412, expected 3 to 19 (score 0.998)",
        ("T1071.004", "T1048"),
        ("command-and-control", "exfiltration"),
        None,
    ),
    (
        "anomaly",
        "bytes_out:peak",
        "Far more bytes sent than usual",
        Level.medium,
        "db-1",
        2,
        7,
        3,
        "bytes_out 2,811,340,122, expected 1.1 M to 6.4 M (score 0.999)",
        ("T1048",),
        ("exfiltration",),
        None,
    ),
    (
        "threshold",
        "destination_ports:peak",
        "Port scan: many destination ports",
        Level.medium,
        "build-7",
        9,
        26,
        4,
        "destination_ports 1,022 in one minute, limit 100",
        ("T1046",),
        ("discovery",),
        None,
    ),
    (
        "rule",
        "d7742b08-730d-4624-df5d-1d5b4c1a5bd2",
        "New Service Installed by a User Process",
        Level.low,
        "dc-01",
        1,
        31,
        0,
        "EventID 7045; ImagePath in C:\\Users",
        ("T1543.003",),
        ("persistence",),
        {"EventID": 7045, "Computer": "DC-01", "ServiceName": "updsvc", "ImagePath": "C:\\Users\\Public\\u.exe"},
    ),
    (
        "anomaly",
        "events:dip",
        "Host fell silent",
        Level.low,
        "printer-3",
        1,
        40,
        0,
        "events 0, expected 1 to 5 (score 0.96)",
        (),
        (),
        None,
    ),
    (
        "rule",
        "b28e58e4-2a72-4fae-bdee-0fbe904db642",
        "Sudo by a User Seen for the First Time",
        Level.informational,
        "bastion",
        2,
        47,
        1,
        "user temp-ops ran sudo",
        ("T1548.003",),
        ("privilege-escalation",),
        {"host": "bastion", "program": "sudo", "message": "temp-ops : TTY=pts/0 ; COMMAND=/usr/bin/id"},
    ),
)


def fill(store: Store, *, now: int | None = None, repeats: int = 3) -> int:
    """Write three hours of windows, the alerts above ``repeats`` times over, and a ledger that adds up.

    ``now`` is in µs. Return how many alerts there are.
    """
    now = now or time.time_ns() // 1_000
    start = now // MINUTE * MINUTE - MINUTE
    chance = random.Random(7)
    store.write_host_windows(_windows(chance, start))
    store.write_hosts(
        [
            HostSeen(
                *(host, rate * 60 * 60 * 9, now - 9 * 60 * MINUTE, now - chance.randrange(20_000_000)),
                judged_from=now + 15 * 60 * MINUTE,
            )
            for host, rate in HOSTS.items()
        ]
    )
    written = [_alert(chance, now - repeat * 70 * MINUTE, repeat, *row) for repeat in range(repeats) for row in ALERTS]
    store.write_alerts([alert for alert, _ in written])
    store.write_evidence([copy for _, copies in written for copy in copies])
    store.write_ledger(_ledger(chance))
    return len(written)


def _windows(chance: random.Random, newest: int) -> list[HostWindow]:
    found = []
    for back in range(180):
        start = newest - back * MINUTE
        rhythm = 1.0 + 0.35 * math.sin(start / MINUTE / 23)
        for host, rate in HOSTS.items():
            events = max(0.0, round(rate * 60 * rhythm * chance.uniform(0.85, 1.15)))
            values = {
                "bytes_out": round(events * 640 * chance.uniform(0.8, 1.3)),
                "destination_ports": chance.randrange(3, 14),
                "dns_texts": chance.randrange(3, 19),
                "events": events,
                "failed_logins": chance.randrange(0, 3),
            }
            if host == "vpn-1" and 9 <= back <= 15:
                values["failed_logins"] = 180 + chance.randrange(60)
            if host == "ws-chen" and 18 <= back <= 30:
                values["dns_texts"] = 300 + chance.randrange(120)
            if host == "db-1" and 7 <= back <= 10:
                values["bytes_out"] = 2_400_000_000 + chance.randrange(400_000_000)
            if host == "build-7" and 26 <= back <= 30:
                values["destination_ports"] = 900 + chance.randrange(130)
            scores = tuple(round(chance.uniform(0.02, 0.55), 3) for _ in values)
            found.append(HostWindow(host, start, 60, tuple(values), tuple(float(v) for v in values.values()), scores))
    return found


def _alert(chance: random.Random, now: int, repeat: int, *row: Any) -> tuple[Alert, list[Evidence]]:
    kind, rule, name, level, host, signals, ago, long, reason, techniques, tactics, event = row
    first = now - (ago + long) * MINUTE - chance.randrange(MINUTE)
    last = now - ago * MINUTE + chance.randrange(MINUTE // 2)
    id_ = alert_id(kind, rule, host, first // (60 * MINUTE) * 60 * MINUTE + repeat)
    copies = []
    if event is not None:
        raw = json.dumps(event, ensure_ascii=False).encode()
        offset = chance.randrange(1_000_000)
        copies = [
            Evidence(f"winnow.telemetry-{offset % 8}-{offset + i}", id_, host, first + i * 1_700_000, raw)
            for i in range(min(signals, 5))
        ]
    ids = tuple(copy.event_id for copy in copies)
    alert = Alert(
        id_,
        kind,
        rule,
        name,
        level,
        host,
        first // (60 * MINUTE) * 60 * MINUTE,
        first,
        last,
        signals,
        reason,
        techniques,
        tactics,
        ids,
        VERSIONS,
    )
    return alert, copies


def _ledger(chance: random.Random) -> list[LedgerRow]:
    rows = []
    for partition in range(8):
        for bucket in range(40):
            rejected = chance.randrange(4)
            events = SPAN - rejected
            sources = {name: int(events * share) for name, share in SOURCES.items()}
            sources["windows.sysmon"] += events - sum(sources.values())
            rows.append(
                LedgerRow(
                    "winnow.telemetry",
                    partition,
                    bucket,
                    SPAN,
                    rejected,
                    0,
                    0,
                    events,
                    late=chance.randrange(3),
                    sources=sources,
                    versions=dict(VERSIONS),
                )
            )
    return rows
