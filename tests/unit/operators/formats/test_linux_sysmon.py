"""Sysmon for Linux in syslog: the same fields as Sysmon's on Windows, whatever a command line holds."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.formats import Decoder, FormatSettings, fields
from operators.formats.linux_sysmon import MAX_VALUES
from state.events import Event

REFERENCE = 1_700_000_000_000_000
TIME = 1_669_278_601_467_399


def xml(code: int, computer: str = "web1", time: str = "2022-11-24T08:30:01.467399000Z", **data: str) -> str:
    values = "".join(f'<Data Name="{name}">{escape(value)}</Data>' for name, value in data.items())
    return (
        '<Event><System><Provider Name="Linux-Sysmon" Guid="{ff032593-a8d3-4f13-b0d6-01fc615a0f97}"/>'
        f"<EventID>{code}</EventID><Version>5</Version><Level>4</Level><Task>{code}</Task><Opcode>0</Opcode>"
        f'<Keywords>0x8000000000000000</Keywords><TimeCreated SystemTime="{time}"/><EventRecordID>75097</EventRecordID>'
        '<Correlation/><Execution ProcessID="1109" ThreadID="1109"/><Channel>Linux-Sysmon/Operational</Channel>'
        f'<Computer>{computer}</Computer><Security UserId="0"/></System><EventData>{values}</EventData></Event>'
    )


CREATED = {
    "RuleName": "-",
    "UtcTime": "2022-11-20 01:02:03.000",
    "ProcessId": "3372",
    "Image": "/usr/bin/bash",
    "CommandLine": "bash -c \"a && b <c >d 'e'\"",
    "User": "root",
    "ParentImage": "/usr/sbin/cron",
}


def decode(*lines: str, **options: Any) -> tuple[list[Event], list[str]]:
    decoder = Decoder("t-0", FormatSettings(), default_host="default1", **options)
    done = decoder.decode_batch([line.encode() for line in lines], list(range(len(lines))), REFERENCE)
    return done.events, [each.reason for each in done.rejected]


def event(line: str) -> Event:
    (found,), _ = decode(line)
    assert found.format == "linux_sysmon"
    return found


@pytest.mark.parametrize(
    "before",
    [
        "Nov 24 08:30:01 collector sysmon: ",
        "Nov 24 08:30:01 collector sysmon[1109]: ",
        "<14>Nov 24 08:30:01 collector sysmon: ",
        "<14>1 2022-11-24T08:30:01Z collector sysmon 1109 - - ",
        "2022-11-24T08:30:01.467+00:00 collector sysmon: ",
        "",
        '<?xml version="1.0" encoding="UTF-8"?>',
    ],
)
def test_a_started_process_by_every_way(before: str) -> None:
    found = event(before + xml(1, computer="Web1.acme.example", **CREATED))
    assert (found.host, found.time, found.user, found.process) == ("web1", TIME, "root", "/usr/bin/bash")
    assert (found.text, found.text_kind) == (CREATED["CommandLine"], "shell")
    assert (found.kind.source, found.kind.action, found.kind.code) == ("linux.sysmon", "process-created", 1)
    told = fields(found)
    assert CREATED.items() <= told.items()
    assert (told["EventID"], told["Computer"], told["Provider_Name"]) == (1, "Web1.acme.example", "Linux-Sysmon")


def test_a_connection_has_both_ends_and_says_who_opened_it() -> None:
    ends = {"SourceIp": "10.0.0.5", "SourcePort": "37678", "DestinationIp": "192.0.2.7", "DestinationPort": "443"}
    out = event(xml(3, Image="/usr/bin/curl", Initiated="true", **ends))
    assert (out.source_ip, out.source_port, out.destination_ip, out.destination_port) == (
        *("10.0.0.5", 37678, "192.0.2.7", 443),
    )
    assert (out.kind.category, out.kind.action, out.inbound) == ("network", "connection", False)
    assert event(xml(3, Initiated="false", **ends)).inbound


def test_syslog_beside_it_stays_syslog() -> None:
    sshd = "Nov 24 08:30:01 web1 sshd[77]: Failed password for root from 192.0.2.7 port 4022 ssh2"
    own = "Nov 24 08:30:01 web1 sysmon[9]: Linux-Sysmon started"
    other = "Nov 24 08:30:01 web1 app: " + xml(1, **CREATED)
    lines = [sshd, xml(1, **CREATED), sshd, own, f"Nov 24 08:30:01 web1 sysmon: {xml(5)}", other, sshd]
    events, _ = decode(*lines)
    assert [each.format for each in events] == [
        *("syslog", "linux_sysmon", "syslog", "syslog", "linux_sysmon", "syslog", "syslog"),
    ]


def test_what_syslog_cut_off_is_read_as_far_as_it_goes() -> None:
    whole = "Nov 24 08:30:01 web1 sysmon: " + xml(1, **CREATED)
    cut = whole[: whole.index(" &lt;c")]
    assert fields(event(cut))["CommandLine"] == 'bash -c "a && b'
    # Without its header's end it is a line of syslog and no event.
    (left,), _ = decode(whole[: whole.index("<Computer>")])
    assert left.format == "syslog"


def test_what_is_broken_is_refused_with_its_reason() -> None:
    lines = [
        xml(1, time="yesterday"),
        xml(1).replace("SystemTime", "Other"),
        xml(1, computer="a b"),
        xml(1).replace("<EventID>1<", "<EventID>one<"),
        xml(1).replace("Linux-Sysmon", "Other", 1),
    ]
    assert decode(*lines) == ([], ["bad_time", "missing_time", "bad_host", "unknown_format", "unknown_format"])


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=32, exclude_characters="\x85\u2028\u2029\r", exclude_categories=("Cs",))))
def test_a_command_line_comes_back_letter_by_letter(text: str) -> None:
    found = fields(event(xml(1, CommandLine=text, Image="/x")))
    assert (found["CommandLine"], found["Image"]) == (text, "/x")


def test_references_to_no_letter_stay_and_nothing_is_expanded() -> None:
    line = xml(1, CommandLine="X", Image="/x")
    for text, read in (
        ("&#99999999;&#x110000;&#xDFFF;&bomb;&", "&#99999999;&#x110000;&#xDFFF;&bomb;&"),
        ("&amp;lt;", "&lt;"),
        ("&#65;&#x42;", "AB"),
    ):
        assert fields(event(line.replace(">X<", f">{text}<")))["CommandLine"] == read
    bomb = '<!DOCTYPE lolz [<!ENTITY a "&b;&b;">]>' + line
    assert decode(bomb)[1] == ["unknown_format"]


def test_the_first_of_two_values_counts_and_their_number_is_bounded() -> None:
    assert fields(event(xml(1, Image="/x").replace("</EventData>", '<Data Name="Image">/y</Data>')))["Image"] == "/x"
    many = "".join(f'<Data Name="{"A" * (n % 60 + 1)}{"B" * (n // 60)}">1</Data>' for n in range(600))
    assert len(fields(event(xml(1).replace("<EventData>", f"<EventData>{many}")))) <= MAX_VALUES + 10
