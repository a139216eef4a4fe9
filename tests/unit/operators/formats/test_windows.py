"""Windows events are the same event whichever shipper brought them; the traps of real telemetry."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from operators.formats import FORMATS, Decoder, FormatSettings, Malformed, Position, fields
from operators.formats.base import CATCH_ALL
from operators.formats.hosts import Hosts
from state.events import Event, Rejected

SYSMON = "Microsoft-Windows-Sysmon/Operational"


def decode(*records: dict[str, Any], settings: FormatSettings | None = None) -> list[Event]:
    raws = [json.dumps(r).encode() for r in records]
    done = Decoder("t-0", settings or FormatSettings()).decode_batch(raws, list(range(len(raws))), 0)
    assert not done.rejected
    return done.events


def reject(record: dict[str, Any]) -> Rejected:
    (rejected,) = Decoder("t-0", FormatSettings()).decode_batch([json.dumps(record).encode()], [0], 0).rejected
    return rejected


def at(text: str) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond


def nxlog(data: dict[str, Any], channel: str = SYSMON, code: int = 1, **header: Any) -> dict[str, Any]:
    base = {
        "EventID": code,
        "Channel": channel,
        "Hostname": "WS5.acme.example",
        "@timestamp": "2020-09-02T11:58:19.787Z",
        "EventTime": "2020-09-02 07:58:19",
        "EventReceivedTime": "2020-09-02 07:58:20",
        "SourceName": "Microsoft-Windows-Sysmon",
        "host": "wec.internal.example",
        **data,
    }
    return {**base, **header}


def winlogbeat6(data: dict[str, Any], channel: str = SYSMON, code: int = 1) -> dict[str, Any]:
    return {
        "@timestamp": "2020-09-02T11:58:19.787Z",
        "beat": {"name": "WECserver", "hostname": "WECserver"},
        "host": {"name": "WECserver"},
        "computer_name": "WS5.acme.example",
        "log_name": channel,
        "event_id": code,
        "source_name": "Microsoft-Windows-Sysmon",
        "event_data": data,
    }


def ecs(data: dict[str, Any], channel: str = SYSMON, code: int = 1) -> dict[str, Any]:
    return {
        "@timestamp": "2020-09-02T11:58:19.787Z",
        "agent": {"type": "winlogbeat"},
        "host": {"name": "WECserver"},
        "event": {"code": str(code), "provider": "Microsoft-Windows-Sysmon"},
        "winlog": {
            "channel": channel,
            "computer_name": "WS5.acme.example",
            "event_id": str(code),
            "provider_name": "Microsoft-Windows-Sysmon",
            "event_data": data,
        },
    }


def ecs_dotted(data: dict[str, Any], channel: str = SYSMON, code: int = 1) -> dict[str, Any]:
    return {
        "@timestamp": "2020-09-02T11:58:19.787Z",
        "host.name": "WECserver",
        "event.code": code,
        "winlog.channel": channel,
        "winlog.computer_name": "WS5.acme.example",
        "winlog.provider_name": "Microsoft-Windows-Sysmon",
        **{f"winlog.event_data.{k}": v for k, v in data.items()},
    }


def evtx(data: dict[str, Any], channel: str = SYSMON, code: int = 1) -> dict[str, Any]:
    return {
        "System": {
            "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}},
            "EventID": {"#attributes": {"Qualifiers": 0}, "#text": code},
            "TimeCreated": {"#attributes": {"SystemTime": "2020-09-02T11:58:19.787Z"}},
            "Channel": channel,
            "Computer": "WS5.acme.example",
        },
        "EventData": data,
    }


def evtx_in_file(data: dict[str, Any], channel: str = SYSMON, code: int = 1) -> dict[str, Any]:
    return {"file": "a.evtx", "event": evtx(data, channel, code)}


def evtx_xml(data: dict[str, Any], channel: str = SYSMON, code: int = 1) -> dict[str, Any]:
    event = evtx({}, channel, code)
    event["System"]["TimeCreated"] = {"@SystemTime": "2020-09-02T11:58:19.787Z"}
    event["System"]["Provider"] = {"@Name": "Microsoft-Windows-Sysmon"}
    event["System"]["EventID"] = str(code)
    event["EventData"] = {"Data": [{"@Name": k, "#text": v} for k, v in data.items()]}
    return {"Event": event}


SHIPPERS = [nxlog, winlogbeat6, ecs, ecs_dotted, evtx, evtx_in_file, evtx_xml]
EACH = pytest.mark.parametrize("ship", SHIPPERS, ids=lambda s: s.__name__)


@EACH
def test_every_shipper_yields_the_same_process_creation(ship: Any) -> None:
    image = "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe"
    data = {"Image": image, "CommandLine": "powershell -enc AAAA", "User": "ACME\\Eve", "ProcessId": "77"}
    (event,) = decode(ship(data))
    assert event.host == "ws5"
    assert event.time == at("2020-09-02T11:58:19.787")
    assert (event.kind.source, event.kind.category, event.kind.action) == (
        "windows.sysmon",
        "process",
        "process-created",
    )
    assert (event.kind.channel, event.kind.code) == (SYSMON, 1)
    assert (event.user, event.process) == ("eve", image)
    assert (event.text, event.text_kind) == ("powershell -enc AAAA", "powershell")
    original = fields(event)
    assert original["EventID"] == 1
    assert original["Channel"] == SYSMON
    assert original["Provider_Name"] == "Microsoft-Windows-Sysmon"
    assert original["Computer"] == "WS5.acme.example"
    assert {k: original[k] for k in data} == data


@EACH
@pytest.mark.parametrize(
    ("code", "data", "action", "outcome", "user"),
    [
        (4624, {"TargetUserName": "Bob", "SubjectUserName": "WS5$"}, "logon-succeeded", "success", "bob"),
        (4625, {"TargetUserName": "Bob", "SubjectUserName": "-"}, "logon-failed", "failure", "bob"),
        (4771, {"TargetUserName": "Bob"}, "logon-failed", "failure", "bob"),
        (4776, {"TargetUserName": "Bob", "Status": "0x0"}, "logon-succeeded", "success", "bob"),
        (4776, {"TargetUserName": "Bob", "Status": "0xc000006a"}, "logon-failed", "failure", "bob"),
        (4768, {"TargetUserName": "Bob", "Status": "0x6"}, "kerberos-ticket-granted", "failure", "bob"),
    ],
)
def test_logons(ship: Any, code: int, data: dict[str, str], action: str, outcome: str, user: str) -> None:
    (event,) = decode(ship({**data, "IpAddress": "::ffff:10.0.0.9", "IpPort": "4022"}, "Security", code))
    assert event.kind.category == "authentication"
    assert (event.kind.action, event.kind.outcome, event.user) == (action, outcome, user)
    assert (event.source_ip, event.source_port) == ("10.0.0.9", 4022)


@EACH
def test_connections_name_both_sides(ship: Any) -> None:
    data = {"SourceIp": "10.0.0.9", "SourcePort": "50000", "DestinationIp": "192.0.2.7", "DestinationPort": "443"}
    (event,) = decode(ship(data, code=3))
    assert event.kind.action == "connection"
    assert (event.source_ip, event.source_port) == ("10.0.0.9", 50000)
    assert (event.destination_ip, event.destination_port) == ("192.0.2.7", 443)
    data = {"SourceAddress": "10.0.0.9", "SourcePort": "5", "DestAddress": "192.0.2.7", "DestPort": "443"}
    (event,) = decode(ship({**data, "Application": "\\device\\a.exe"}, "Security", 5156))
    assert (event.kind.action, event.kind.category) == ("connection", "network")
    assert (event.destination_ip, event.destination_port, event.process) == ("192.0.2.7", 443, "\\device\\a.exe")


@EACH
@pytest.mark.parametrize(
    ("channel", "code", "data", "text", "text_kind"),
    [
        ("Security", 4688, {"NewProcessName": "C:\\cmd.exe", "CommandLine": "cmd /c x"}, "cmd /c x", "shell"),
        (SYSMON, 22, {"QueryName": "a.example"}, "a.example", "dns"),
        ("Microsoft-Windows-PowerShell/Operational", 4104, {"ScriptBlockText": "iex"}, "iex", "powershell"),
        ("System", 7045, {"ImagePath": "%COMSPEC% /c x"}, "%COMSPEC% /c x", "shell"),
        (SYSMON, 5, {"Image": "C:\\cmd.exe"}, "", ""),
    ],
)
def test_text_worth_classifying(
    ship: Any, channel: str, code: int, data: dict[str, str], text: str, text_kind: str
) -> None:
    (event,) = decode(ship(data, channel, code))
    assert (event.text, event.text_kind) == (text, text_kind)


def test_long_text_is_bounded() -> None:
    (event,) = decode(nxlog({"ScriptBlockText": "é" * 50_000}, "PowerShellCore/Operational", 4104))
    assert len(event.text.encode()) <= 16_384


def test_timestamp_is_utc_and_event_time_is_local() -> None:
    """NXLog writes EventTime in the host's own zone, 4 hours behind here; only @timestamp is UTC."""
    (event,) = decode(nxlog({}))
    assert event.time == at("2020-09-02T11:58:19.787")


def no_timestamp(**data: Any) -> dict[str, Any]:
    record = nxlog({}, TimeCreated="2020-10-18 10:56:18.955", **data)
    for key in ("@timestamp", "EventTime", "EventReceivedTime"):
        del record[key]
    return record


def test_without_timestamp_sysmons_own_utc_time_counts() -> None:
    (event,) = decode(no_timestamp(UtcTime="2020-10-19 02:56:18.954"))
    assert event.time == at("2020-10-19T02:56:18.954")


def test_without_timestamp_a_host_that_told_its_offset_keeps_one_clock() -> None:
    """The same host's Security events bear only the local stamp; they belong beside its Sysmon events."""
    security = no_timestamp(Channel="Security", EventID=4688)
    other = {**security, "Hostname": "WS6"}
    events = decode(security, no_timestamp(UtcTime="2020-10-19 02:56:18.954"), security, other)
    assert events[0].time == at("2020-10-18T10:56:18.955")  # nothing known yet: the zone that is set
    assert events[2].time == at("2020-10-19T02:56:18.955")
    assert events[3].time == at("2020-10-18T10:56:18.955")  # another host's clock is another


def test_without_timestamp_the_zone_can_be_set() -> None:
    zone = FormatSettings(timezone="America/New_York")
    (event,) = decode(no_timestamp(Channel="Security", EventID=4688), settings=zone)
    assert event.time == at("2020-10-18T14:56:18.955")


def test_header_and_event_data_that_differ_by_case_stay_apart() -> None:
    (event,) = decode(nxlog({"ProcessId": "3484"}, ProcessID=1804))
    assert (fields(event)["ProcessID"], fields(event)["ProcessId"]) == (1804, "3484")


def test_one_machine_is_one_host() -> None:
    events = decode(nxlog({}, Hostname="WORKSTATION5"), nxlog({}, Hostname="WORKSTATION5.theshire.local"))
    assert {e.host for e in events} == {"workstation5"}


@EACH
def test_the_collector_is_never_the_host(ship: Any) -> None:
    record = ship({"Image": "x"})
    text = json.dumps(record).replace('"WS5.acme.example"', "null")
    assert reject(json.loads(text)).reason == "missing_host"


def test_a_forwarding_collector_does_not_stand_in_for_a_missing_name() -> None:
    record = winlogbeat6({})
    del record["computer_name"]
    assert reject(record).reason == "missing_host"


def test_channel_named_system_is_no_evtx() -> None:
    events = decode(evtx({}), nxlog({}, "System", 7036), evtx({}), nxlog({"Type": "System"}, "System", 7036))
    assert [e.format for e in events] == ["windows_evtx", "windows_nxlog"] * 2


def test_user_data_is_read_like_event_data() -> None:
    record = evtx({}, "Security", 1102)
    del record["EventData"]
    record["UserData"] = {"LogFileCleared": {"#attributes": {"xmlns": "x"}, "SubjectUserName": "Mallory"}}
    (event,) = decode(record)
    assert (event.kind.action, event.user) == ("audit-log-cleared", "mallory")
    assert fields(event)["SubjectUserName"] == "Mallory"


def test_winlogbeats_sysmon_module_moves_fields_and_rules_still_find_them() -> None:
    record = ecs({})
    record["process"] = {"executable": "C:\\a.exe", "command_line": "a -x", "parent": {"executable": "C:\\p.exe"}}
    record["user"] = {"name": "eve"}
    (event,) = decode(record)
    assert (event.process, event.text, event.user) == ("C:\\a.exe", "a -x", "eve")
    assert fields(event)["ParentImage"] == "C:\\p.exe"
    assert fields(event)["CommandLine"] == "a -x"


def test_an_unlisted_channel_has_a_source_and_a_category() -> None:
    (event,) = decode(nxlog({}, "MSExchange Management", 1))
    assert (event.kind.source, event.kind.category) == ("windows.msexchange-management", "host")


@EACH
def test_a_computer_name_that_is_no_utf8_is_rejected_as_such(ship: Any) -> None:
    raw = json.dumps(ship({"Image": "C:\\a.exe"})).encode().replace(b"WS5", b"WS\x80")
    (format,) = [format for format in FORMATS.values() if format.sniff(raw) and format.rank < CATCH_ALL]
    config = FormatSettings()
    with pytest.raises(Malformed) as refused:
        format.decode(raw, Position("t-0", config, Hosts(config), ZoneInfo("UTC"), ""))
    assert refused.value.reason == "not_utf8"
