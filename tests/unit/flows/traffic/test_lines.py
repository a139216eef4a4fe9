"""Every line is what its format says, and the product's own decoders agree."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest

from flows.traffic import SCENARIOS, Fleet, Message, Traffic, TrafficSettings
from flows.traffic.clock import HOUR, MINUTE, SECOND
from operators.formats import FORMATS, Decoder, FormatSettings

START = 1_704_672_000 * SECOND + 10 * HOUR


@cache
def messages() -> dict[str, list[Message]]:
    """Return half an hour of traffic with every attack in it, by format."""
    plan = [(name, 10 + 30 * number) for number, name in enumerate(SCENARIOS)]
    settings = TrafficSettings.model_validate({"attacks": plan, "attacks_per_hour": 20})
    by_format = defaultdict(list)
    for message in Traffic(3, START, settings).messages(START + 30 * MINUTE):
        by_format[message.format].append(message)
    return by_format


def objects(name: str) -> Iterator[tuple[Message, dict[str, Any]]]:
    for message in messages()[name]:
        yield message, json.loads(message.value)


def micros(text: str) -> int:
    elapsed = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86_400 + elapsed.seconds) * SECOND + elapsed.microseconds


def test_all_formats_occur() -> None:
    assert set(messages()) == {"zeek_json", "suricata", "windows_ecs", "windows_nxlog", "syslog", "apache", "json"}
    assert set(messages()) <= FORMATS.keys()


def test_zeek_writes_its_four_logs_with_connections_and_times() -> None:
    required = {
        "conn": {"proto", "conn_state", "local_orig", "local_resp", "orig_pkts"},
        "dns": {"query", "qtype_name", "rcode_name"},
        "http": {"method", "host", "uri", "status_code"},
        "ssl": {"server_name", "version"},
    }
    seen = set()
    for message, line in objects("zeek_json"):
        seen.add(line["_path"])
        assert required[line["_path"]] | {"uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p"} <= line.keys()
        assert round(line["ts"] * SECOND) == message.time
    assert seen == required.keys()


def test_suricata_writes_records_of_four_types() -> None:
    seen = set()
    for message, line in objects("suricata"):
        seen.add(line["event_type"])
        assert isinstance(line[line["event_type"]], dict)
        assert micros(line["timestamp"]) == message.time
    assert seen == {"alert", "flow", "http", "dns"}


CODES = {1, 3, 11, 22, 4104, 4624, 4625, 4634, 4672, 4688, 5156}


def test_winlogbeat_writes_every_event_id_in_ecs() -> None:
    seen = set()
    for message, line in objects("windows_ecs"):
        seen.add(line["winlog"]["event_id"])
        assert line["host"]["name"].partition(".")[0] == message.host
        assert line["event"]["code"] == str(line["winlog"]["event_id"])
        assert 0 <= message.time - micros(line["@timestamp"]) < 1_000
    assert seen == CODES


def test_nxlog_writes_every_event_id_flat() -> None:
    seen = set()
    for message, line in objects("windows_nxlog"):
        seen.add(line["EventID"])
        assert line["Hostname"].partition(".")[0] == message.host
        assert line["Channel"] in (
            "Security",
            *(f"Microsoft-Windows-{name}/Operational" for name in ("Sysmon", "PowerShell")),
        )
        assert not any(isinstance(value, (dict, list)) for value in line.values())
    assert seen == CODES


def test_nxlog_stamps_local_time_beside_utc() -> None:
    settings = TrafficSettings(hosts=12, utc_offset_hours=-5, attacks_per_hour=0)
    source = Traffic(1, START + 5 * HOUR, settings)
    line = next(json.loads(m.value) for m in source.messages(START + 6 * HOUR) if m.format == "windows_nxlog")
    assert line["@timestamp"].startswith("2024-01-08T15:") and line["EventTime"].startswith("2024-01-08 10:")


def test_syslog_is_rfc_3164_or_5424() -> None:
    tail = r" ([a-z0-9-]+) ([A-Za-z]+)"
    old = re.compile(rf"<(\d{{2,3}})>[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d{tail}\[\d+\]:\s+\S.*")
    new = re.compile(rf"<(\d{{2,3}})>1 \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}\+00:00{tail} \d+ - -\s+\S.*")
    programs = set()
    for message in messages()["syslog"]:
        match = new.fullmatch(message.value.decode()) or old.fullmatch(message.value.decode())
        assert match, message.value
        assert match[2] == message.host
        programs.add(match[3])
    assert {"sshd", "sudo", "CRON"} <= programs


def test_apache_is_combined() -> None:
    line = re.compile(
        r'[\d.]+ - - \[\d\d/[A-Z][a-z]{2}/\d{4}:[\d:]{8} \+0000\] "[A-Z]+ \S+ HTTP/1\.1" \d{3} \d+ "[^"]*" "[^"]*"'
    )
    for message in messages()["apache"]:
        assert line.fullmatch(message.value.decode()), message.value


def test_the_application_writes_its_eight_fields() -> None:
    names = "event_type timestamp source_ip destination_ip severity description user_id device_id"
    for message, line in objects("json"):
        assert " ".join(line) == names
        assert line["device_id"] == message.host


@pytest.mark.parametrize(
    "name", sorted(FORMATS.keys() & {"zeek_json", "suricata", "windows_ecs", "windows_nxlog", "syslog", "json"})
)
@pytest.mark.parametrize("aliased", [False, True])
def test_the_decoder_finds_format_host_and_time(name: str, aliased: bool) -> None:
    sent = messages()[name]
    settings = FormatSettings(host_aliases=Fleet.build(12).aliases if aliased else {})
    decoded = Decoder("t-0", settings).decode_batch([m.value for m in sent], range(len(sent)), START)
    assert not decoded.rejected and not decoded.skipped
    addresses = {host.name: host.ip for host in Fleet.build(12).hosts}
    for event, message in zip(decoded.events, sent, strict=True):
        assert event.format == name
        # Some formats have whole seconds only.
        assert 0 <= message.time - event.time < SECOND
        assert event.host == message.host or (not aliased and event.host == addresses[message.host])


def test_a_servers_access_log_belongs_to_the_server() -> None:
    sent = [message for message in messages()["apache"] if message.host == "web-01"]
    decoded = Decoder("t-0", FormatSettings(), default_host="web-01").decode_batch(
        [m.value for m in sent], range(len(sent)), START
    )
    assert {event.host for event in decoded.events} == {"web-01"} and len(decoded.events) == len(sent)


def test_ids_are_not_repeated() -> None:
    finders: dict[str, Callable[[dict[str, Any]], object]] = {
        "zeek_json": lambda line: (line["_path"], line["uid"]),
        "suricata": lambda line: (line["event_type"], line["flow_id"]),
    }
    for name, find in finders.items():
        found = [find(line) for _, line in objects(name)]
        assert len(set(found)) == len(found)
