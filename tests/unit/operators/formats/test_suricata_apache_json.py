"""Suricata, Apache and generic JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from operators.formats import Decoder, FormatSettings, JsonMapping, fields
from state.events import Event

NOON = 1_600_000_000_000_000
STAMP = "2020-09-13T12:26:40.000000+0000"


def decode(line: dict[str, Any] | str, default_host: str = "", settings: FormatSettings | None = None) -> Event:
    raw = line.encode() if isinstance(line, str) else json.dumps(line).encode()
    decoder = Decoder("t-0", settings or FormatSettings(), default_host=default_host)
    done = decoder.decode_batch([raw], [0], 0)
    assert not done.rejected, done.rejected
    return done.events[0]


def eve(event_type: str, source: str = "10.0.0.5", target: str = "192.0.2.9", **more: Any) -> dict[str, Any]:
    ends = {"src_ip": source, "src_port": 50000, "dest_ip": target, "dest_port": 80}
    return {"timestamp": STAMP, "flow_id": 5, "event_type": event_type, **ends, "proto": "TCP", **more}


@pytest.mark.parametrize(
    ("record", "category", "action", "outcome", "text"),
    [
        (
            eve("alert", alert={"signature": "X"}, http={"url": "/a?b"}),
            "intrusion_detection",
            "alert",
            "unknown",
            "/a?b",
        ),
        (eve("http", http={"url": "/x", "status": 404}), "web", "http-request", "failure", "/x"),
        (eve("dns", dns={"type": "query", "rrname": "a.example"}), "network", "dns-query", "unknown", "a.example"),
        (
            eve("dns", dns={"type": "answer", "rrname": "a.example", "rcode": "NXDOMAIN"}),
            "network",
            "dns-answer",
            "failure",
            "a.example",
        ),
        (
            eve("dns", dns={"version": 3, "queries": [{"rrname": "b.example"}]}),
            "network",
            "dns-query",
            "unknown",
            "b.example",
        ),
        (eve("flow", flow={"bytes_toserver": 7, "state": "closed"}), "network", "connection", "success", ""),
        (eve("tls", tls={"sni": "x"}), "network", "tls-handshake", "unknown", ""),
        (eve("quic2", quic2={}), "network", "quic2", "unknown", ""),
    ],
)
def test_suricata_kinds(record: dict[str, Any], category: str, action: str, outcome: str, text: str) -> None:
    event = decode(record)
    assert (event.time, event.host, event.format) == (NOON, "10.0.0.5", "suricata")
    assert (event.kind.category, event.kind.action, event.kind.outcome) == (category, action, outcome)
    assert event.text == text


def test_suricata_host_is_ours_whoever_sent_the_packet() -> None:
    assert decode(eve("alert", "192.0.2.9", "10.0.0.5")).host == "10.0.0.5"


def test_suricata_bytes_count_once_by_the_flow_record() -> None:
    counters = {"bytes_toserver": 7, "bytes_toclient": 9}
    assert decode(eve("flow", flow=counters)).destination_bytes == 9
    assert decode(eve("alert", flow=counters)).destination_bytes == 0


def test_suricata_statistics_belong_to_the_sensor() -> None:
    assert decode({"timestamp": STAMP, "event_type": "stats", "stats": {}}, "sensor1").host == "sensor1"


def test_suricata_fields_are_dotted() -> None:
    found = fields(decode(eve("alert", alert={"signature": "X", "metadata": {"tag": ["a", "b"]}})))
    assert (found["alert.signature"], found["alert.metadata.tag"], found["dest_port"]) == ("X", ["a", "b"], 80)


COMBINED = (
    "192.0.2.7 - bob [13/Sep/2020:14:26:40 +0200] "
    '"GET /a.php?id=1%27--&x=\\"y HTTP/1.1" 404 512 "http://r/" "curl/8 \\"q\\""'
)


def test_apache_access_line_in_sigmas_taxonomy() -> None:
    event = decode(COMBINED, "web1")
    assert (event.time, event.host, event.user, event.source_ip) == (NOON, "web1", "bob", "192.0.2.7")
    assert (event.kind.source, event.kind.action, event.kind.outcome) == ("apache.access", "http-request", "failure")
    assert (event.text, event.text_kind) == ('/a.php?id=1%27--&x=\\"y', "http")
    assert event.destination_bytes == 512
    found = fields(event)
    assert (found["cs-method"], found["cs-uri-stem"], found["sc-status"]) == ("GET", "/a.php", 404)
    assert found["cs-uri-query"] == 'id=1%27--&x=\\"y'
    assert (found["c-uri"], found["cs-referer"]) == ('/a.php?id=1%27--&x=\\"y', "http://r/")
    assert (found["c-ip"], found["cs-user-agent"]) == ("192.0.2.7", 'curl/8 \\"q\\"')


@pytest.mark.parametrize(
    "line",
    [
        '192.0.2.7 - - [13/Sep/2020:12:26:40 +0000] "GET / HTTP/1.0" 200 -',
        '192.0.2.7 - - [13/Sep/2020:12:26:40 +0000] "-" 408 0 "-" "-"',
        '192.0.2.7 - - [13/Sep/2020:12:26:40 +0000] "\\x16\\x03\\x01" 400 226 "-" "-"',
        'www.acme.example:443 192.0.2.7 - - [13/Sep/2020:12:26:40 +0000] "GET / HTTP/1.1" 200 5 "-" "x" 0.002',
        "[Sun Sep 13 12:26:40 2020] [error] [client 192.0.2.7] File does not exist: /var/www/x",
        "[Sun Sep 13 12:26:40.000000 2020] [core:error] [pid 7:tid 8] [client 192.0.2.7:5000] AH00126: Invalid URI",
    ],
)
def test_apache_variants(line: str) -> None:
    event = decode(line, "web1")
    assert (event.time, event.host, event.source_ip, event.kind.category) == (NOON, "web1", "192.0.2.7", "web")


def test_apache_without_default_host_is_rejected() -> None:
    done = Decoder("t-0", FormatSettings()).decode_batch([COMBINED.encode()], [0], 0)
    assert [(r.reason, r.format) for r in done.rejected] == [("missing_host", "apache")]


def test_secustreamai_event_as_it_is() -> None:
    record = {
        "event_type": "failed_login",
        "timestamp": "2020-09-13T12:26:40",
        "source_ip": "192.0.2.7",
        "destination_ip": "10.0.0.5",
        "severity": "high",
        "description": "Failed login",
        "user_id": "u17",
        "device_id": "LAPTOP-9",
    }
    event = decode(record)
    assert (event.time, event.host, event.user) == (NOON, "laptop-9", "u17")
    assert (event.source_ip, event.destination_ip) == ("192.0.2.7", "10.0.0.5")
    assert (event.kind.source, event.kind.category) == ("json.failed_login", "authentication")
    assert (event.kind.action, event.kind.outcome) == ("logon-failed", "failure")
    assert fields(event) == record


def test_another_products_alert() -> None:
    record = {
        "timestamp": 1600000000,
        "host": "web1",
        "source_ip": "192.0.2.7",
        "event_type": "alert",
        "rule_id": 7,
        "description": "x",
    }
    event = decode(record)
    assert (event.host, event.kind.category, event.kind.action) == ("web1", "intrusion_detection", "alert")


def test_ecs_shaped_json() -> None:
    record = {
        "@timestamp": "2020-09-13T12:26:40Z",
        "host": {"name": "Web1.acme.example"},
        "event": {"category": ["process"], "action": "exec", "outcome": "success", "dataset": "auditd.log"},
        "process": {"executable": "/bin/sh", "command_line": "sh -c id"},
        "user": {"name": "bob"},
        "source": {"ip": "192.0.2.7", "port": 5, "bytes": 9},
    }
    event = decode(record)
    assert (event.host, event.user, event.process, event.text) == ("web1", "bob", "/bin/sh", "sh -c id")
    assert (event.kind.source, event.kind.category, event.kind.outcome) == ("json.auditd.log", "process", "success")
    assert (event.source_port, event.source_bytes) == (5, 9)
    assert fields(event)["process.command_line"] == "sh -c id"


def test_json_mapping_is_settable() -> None:
    mapping = JsonMapping(time=("when",), host=("box.id",), user=("who",))
    record = {"when": 1600000000000, "box": {"id": "B7"}, "who": "eve", "timestamp": "rubbish"}
    event = decode(record, settings=FormatSettings(json_mapping=mapping))
    assert (event.time, event.host, event.user) == (NOON, "b7", "eve")


def test_json_without_host_belongs_to_the_default_host() -> None:
    assert decode({"timestamp": STAMP}, "Sensor1.acme.example").host == "sensor1"
    done = Decoder("t-0", FormatSettings()).decode_batch([b'{"timestamp":1600000000}'], [0], 0)
    assert [r.reason for r in done.rejected] == ["missing_host"]
