"""What every telemetry format promises, run over all that discovery finds."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.formats import FORMATS, Decoder, FormatSettings, Malformed, Position, fields
from operators.formats.base import CATCH_ALL
from operators.formats.generic_json import CATEGORIES
from operators.formats.hosts import Hosts
from operators.formats.times import EARLIEST, LATEST

REFERENCE = 1_700_000_000_000_000


def line(value: object) -> bytes:
    return json.dumps(value).encode()


SYSMON = {"Image": "C:\\Windows\\System32\\cmd.exe", "CommandLine": "cmd /c whoami", "User": "ACME\\eve"}
#: Lines of each format, in the order a stream would bring them; with one original field and its value.
SAMPLES: dict[str, list[tuple[bytes, str, object]]] = {
    "zeek_json": [
        (
            line(
                {
                    "_path": "conn",
                    "ts": 1600000000.25,
                    "uid": "C1",
                    "id.orig_h": "10.0.0.5",
                    "id.orig_p": 50000,
                    "id.resp_h": "192.0.2.9",
                    "id.resp_p": 443,
                    "orig_bytes": 10,
                    "resp_bytes": 20,
                    "conn_state": "SF",
                }
            ),
            "id.resp_p",
            443,
        ),
        (
            line({"ts": 1600000000.5, "uid": "C2", "id": {"orig_h": "10.0.0.5", "resp_h": "192.0.2.9"}, "qtype": 1}),
            "id.orig_h",
            "10.0.0.5",
        ),
    ],
    "zeek_tsv": [
        (b"#separator \\x09", "", None),
        (b"#set_separator\t,", "", None),
        (b"#empty_field\t(empty)", "", None),
        (b"#unset_field\t-", "", None),
        (b"#path\thttp", "", None),
        (b"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\turi\tstatus_code\ttags\tlabel", "", None),
        (b"#types\ttime\tstring\taddr\tport\taddr\tport\tstring\tcount\tset[enum]\tstring", "", None),
        (b"1600000000.1\tC1\t10.0.0.5\t50000\t192.0.2.9\t80\t/a?b=c\t404\tA,B\tBenign", "tags", ["A", "B"]),
    ],
    "suricata": [
        (
            line(
                {
                    "timestamp": "2020-09-13T12:26:40.000001+0000",
                    "flow_id": 1,
                    "event_type": "alert",
                    "src_ip": "10.0.0.5",
                    "src_port": 1,
                    "dest_ip": "192.0.2.9",
                    "dest_port": 80,
                    "alert": {"signature": "TEST", "severity": 1},
                }
            ),
            "alert.signature",
            "TEST",
        )
    ],
    "windows_nxlog": [
        (
            line(
                {
                    "EventID": 1,
                    "Channel": "Microsoft-Windows-Sysmon/Operational",
                    "Hostname": "WS1.acme.example",
                    "@timestamp": "2020-09-13T12:26:40.000Z",
                    "SourceName": "Microsoft-Windows-Sysmon",
                    "ProcessID": 4,
                    "ProcessId": "77",
                    **SYSMON,
                }
            ),
            "ProcessId",
            "77",
        )
    ],
    "windows_winlogbeat6": [
        (
            line(
                {
                    "@timestamp": "2020-09-13T12:26:40.000Z",
                    "computer_name": "WS1.acme.example",
                    "log_name": "Microsoft-Windows-Sysmon/Operational",
                    "event_id": 1,
                    "event_data": SYSMON,
                    "host": {"name": "collector"},
                }
            ),
            "CommandLine",
            "cmd /c whoami",
        )
    ],
    "windows_ecs": [
        (
            line(
                {
                    "@timestamp": "2020-09-13T12:26:40.000Z",
                    "event": {"code": "1"},
                    "host": {"name": "collector"},
                    "winlog": {
                        "channel": "Microsoft-Windows-Sysmon/Operational",
                        "computer_name": "WS1.acme.example",
                        "event_data": SYSMON,
                    },
                }
            ),
            "CommandLine",
            "cmd /c whoami",
        ),
        (
            line(
                {
                    "@timestamp": "2020-09-13T12:26:40.000Z",
                    "winlog.event_id": 1,
                    "winlog.channel": "Microsoft-Windows-Sysmon/Operational",
                    "winlog.computer_name": "WS1.acme.example",
                    "winlog.event_data.Image": "C:\\a.exe",
                }
            ),
            "Image",
            "C:\\a.exe",
        ),
    ],
    "windows_evtx": [
        (
            line(
                {
                    "file": "x.evtx",
                    "event": {
                        "System": {
                            "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}},
                            "EventID": 1,
                            "TimeCreated": {"#attributes": {"SystemTime": "2020-09-13T12:26:40.5Z"}},
                            "Channel": "Microsoft-Windows-Sysmon/Operational",
                            "Computer": "WS1.acme.example",
                        },
                        "EventData": SYSMON,
                    },
                }
            ),
            "Provider_Name",
            "Microsoft-Windows-Sysmon",
        )
    ],
    "apache": [
        (
            b'192.0.2.7 - bob [13/Sep/2020:12:26:40 +0000] "GET /a.php?q=1 HTTP/1.1" 404 12 "-" "curl/8"',
            "cs-uri-query",
            "q=1",
        ),
        (b"[Sun Sep 13 12:26:40 2020] [error] [client 192.0.2.7] File does not exist: /x", "level", "error"),
    ],
    "auditd": [
        (
            b"type=SYSCALL msg=audit(1600000000.250:7): arch=c000003e syscall=59 success=yes exit=0 uid=0 "
            b'comm="cat" exe="/usr/bin/cat" key=(null)\x1dARCH=x86_64 SYSCALL=execve UID="root"',
            "SYSCALL",
            "execve",
        ),
        (b'node=web1.acme.example type=EXECVE msg=audit(1600000000.250:7): argc=2 a0="cat" a1=2F612062', "a1", "/a b"),
        (
            b"<38>Sep 13 12:26:40 web1 audispd: type=USER_AUTH msg=audit(1600000000.500:8): pid=1 uid=0 "
            b'msg=\'op=PAM:authentication acct="bob" exe="/usr/sbin/sshd" addr=192.0.2.7 terminal=ssh res=failed\'',
            "acct",
            "bob",
        ),
    ],
    "linux_sysmon": [
        (
            b'<14>Sep 13 12:26:40 web1 sysmon: <Event><System><Provider Name="Linux-Sysmon" Guid="{0}"/><EventID>1'
            b'</EventID><TimeCreated SystemTime="2020-09-13T12:26:40.500000000Z"/><Channel>Linux-Sysmon/Operational'
            b"</Channel><Computer>web1.acme.example</Computer></System><EventData>"
            b'<Data Name="Image">/bin/sh</Data><Data Name="CommandLine">a &amp;&amp; b</Data></EventData></Event>',
            "CommandLine",
            "a && b",
        )
    ],
    "syslog": [
        (b"<38>Sep 13 12:26:40 web1 sshd[77]: Failed password for bob from 192.0.2.7 port 4022 ssh2", "pid", 77),
        (b'<34>1 2020-09-13T12:26:40.003Z web1 app 8 ID47 [e@1 k="v\\"w"] hello', "e@1.k", 'v"w'),
    ],
    "json": [
        (
            line({"timestamp": "2020-09-13T12:26:40Z", "host": "web1", "event_type": "login", "deep": {"er": [1]}}),
            "deep.er",
            [1],
        )
    ],
}
EACH = pytest.mark.parametrize("name", sorted(FORMATS))


def position() -> Position:
    config = FormatSettings()
    at = Position("t-0", config, Hosts(config), ZoneInfo("UTC"), "default1")
    at.reference = REFERENCE
    return at


@EACH
def test_format_has_samples(name: str) -> None:
    assert SAMPLES.get(name), f"write samples for {name} in this file"


@EACH
def test_sniffs_its_own_samples_and_no_others(name: str) -> None:
    for other, samples in SAMPLES.items():
        for raw, _, _ in samples:
            if other == name:
                assert FORMATS[name].sniff(raw), f"{name} does not know its own {raw!r}"
            elif FORMATS[name].rank < CATCH_ALL:
                assert not FORMATS[name].sniff(raw), f"{name} takes {other}'s {raw!r} for its own"


@EACH
@pytest.mark.parametrize("named", [True, False], ids=["named", "sniffed"])
def test_decodes_to_a_whole_event_with_its_original_fields(name: str, named: bool) -> None:
    decoder = Decoder("t-0", FormatSettings(), name if named else "auto", default_host="default1")
    samples = SAMPLES[name]
    done = decoder.decode_batch([raw for raw, _, _ in samples], list(range(len(samples))), REFERENCE)
    assert not done.rejected
    assert len(done.events) + len(done.skipped) == len(samples)
    assert done.events
    for event in done.events:
        raw, key, value = samples[event.offset]
        assert event.raw == raw
        assert event.format == name
        assert event.host in ("ws1", "web1", "10.0.0.5", "default1")
        assert EARLIEST <= event.time < LATEST
        assert event.time // 1_000_000 == 1_600_000_000 or event.raw.startswith(b"<38>")
        assert event.kind.category in CATEGORIES
        assert event.kind.action
        assert fields(event)[key] == value


@EACH
def test_equal_kinds_are_one_object(name: str) -> None:
    raws = [raw for raw, _, _ in SAMPLES[name]]
    kinds = []
    for _ in range(2):
        decoder = Decoder("t-0", FormatSettings(), name, default_host="default1")
        kinds.append([e.kind for e in decoder.decode_batch(raws, list(range(len(raws))), REFERENCE).events])
    assert all(a is b for a, b in zip(*kinds, strict=True))


@EACH
def test_a_restored_decoder_goes_on_as_if_never_stopped(name: str) -> None:
    raws = [raw for raw, _, _ in SAMPLES[name]]
    offsets = list(range(len(raws)))
    whole = Decoder("t-0", FormatSettings(), default_host="default1").decode_batch(raws, offsets, REFERENCE)
    for cut in range(len(raws) + 1):
        first = Decoder("t-0", FormatSettings(), default_host="default1")
        before = first.decode_batch(raws[:cut], offsets[:cut], REFERENCE)
        second = Decoder("t-0", FormatSettings(), default_host="default1")
        second.restore(first.snapshot())
        after = second.decode_batch(raws[cut:], offsets[cut:], REFERENCE)
        assert before.events + after.events == whole.events
        assert before.skipped + after.skipped == whole.skipped


@EACH
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_broken_bytes_raise_nothing_but_malformed(name: str, data: st.DataObject) -> None:
    samples = [raw for raw, _, _ in SAMPLES[name]]
    raw = data.draw(st.sampled_from(samples))
    broken = bytearray(raw)
    for _ in range(data.draw(st.integers(0, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(broken)))
    at = position()
    for header in samples[: samples.index(raw)] if name == "zeek_tsv" else []:
        FORMATS[name].decode(header, at)
    try:
        event = FORMATS[name].decode(bytes(broken[:cut]), at)
    except Malformed as error:
        assert error.reason.replace("_", "").isalnum()
    else:
        assert event is None or isinstance(fields(event), dict)


@EACH
def test_a_byte_that_is_no_utf8_raises_nothing_but_malformed_wherever_it_stands(name: str) -> None:
    # The decoder looks at the bytes first; peeks, projections and tests ask a format itself.
    at = position()
    for raw, _, _ in SAMPLES[name]:
        for place in range(len(raw)):
            try:
                event = FORMATS[name].decode(raw[:place] + b"\x80" + raw[place + 1 :], at)
            except Malformed as error:
                assert error.reason != "internal_error"
            else:
                assert event is None or isinstance(fields(event), dict)
        FORMATS[name].decode(raw, at)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("name", sorted(n for n, s in SAMPLES.items() if s[0][0].startswith(b"{")))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_json_type_anywhere_raises_nothing_but_malformed(name: str, data: st.DataObject) -> None:
    record = json.loads(data.draw(st.sampled_from([raw for raw, _, _ in SAMPLES[name]])))
    inner = record
    while True:
        key = data.draw(st.sampled_from(sorted(inner)))
        if not (isinstance(inner[key], dict) and inner[key] and data.draw(st.booleans())):
            break
        inner = inner[key]
    inner[key] = data.draw(JSON)
    try:
        event = FORMATS[name].decode(line(record), position())
    except Malformed as error:
        assert error.reason.replace("_", "").isalnum()
    else:
        assert event is not None
        assert event.host
        assert isinstance(fields(event), dict)
        assert all(isinstance(v, str) for v in (event.user, event.source_ip, event.process, event.text))
        assert all(isinstance(v, int) for v in (event.source_port, event.source_bytes, event.time))
