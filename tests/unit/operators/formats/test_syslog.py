"""Syslog lines of both RFCs; what sshd, sudo, su and PAM say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from operators.formats import Decoder, FormatSettings, fields
from state.events import Event

REFERENCE = int(datetime(2024, 12, 11, tzinfo=UTC).timestamp()) * 1_000_000


def decode(*lines: str, default_host: str = "", **config: Any) -> list[Event]:
    raws = [line.encode() for line in lines]
    decoder = Decoder("t-0", FormatSettings(**config), default_host=default_host)
    done = decoder.decode_batch(raws, list(range(len(raws))), REFERENCE)
    assert not done.rejected
    return done.events


def message(text: str, tag: str = "sshd[77]") -> Event:
    (event,) = decode(f"Dec 10 06:55:46 LabSZ {tag}: {text}")
    return event


@pytest.mark.parametrize(
    "line",
    [
        "Dec 10 06:55:46 Web1.acme.example app[5]: hello",
        "<13>Dec 10 06:55:46 web1 app[5]: hello",
        "<13>Dec 10 2024 06:55:46 web1 app[5]: hello",
        "2024-12-10T06:55:46+00:00 web1 app[5]: hello",
        "<13>1 2024-12-10T06:55:46Z web1 app 5 - - hello",
        '<13>1 2024-12-10T07:55:46.000000+01:00 web1.acme.example app 5 ID [x@1 a="b"] \ufeffhello',
    ],
)
def test_every_header_says_the_same(line: str) -> None:
    (event,) = decode(line)
    assert event.time == int(datetime(2024, 12, 10, 6, 55, 46, tzinfo=UTC).timestamp()) * 1_000_000
    assert (event.host, event.kind.source, event.process) == ("web1", "linux.app", "app")
    found = fields(event)
    assert (found["program"], found["pid"], found["message"]) == ("app", 5, "hello")


def test_structured_data_and_priority_become_fields() -> None:
    (event,) = decode('<165>1 2024-12-10T06:55:46Z web1 app - ID47 [a@1 k="v" q="x\\"]y"][b@2 n="1"] hi')
    found = fields(event)
    assert (found["a@1.k"], found["a@1.q"], found["b@2.n"]) == ("v", 'x"]y', "1")
    assert (found["facility"], found["severity"], found["msgid"]) == ("local4", "notice", "ID47")


def test_a_stamp_without_zone_belongs_to_the_zone_that_is_set() -> None:
    (event,) = decode("Dec 10 06:55:46 web1 app: x", timezone="America/New_York")
    assert event.time == int(datetime(2024, 12, 10, 11, 55, 46, tzinfo=UTC).timestamp()) * 1_000_000


def test_the_year_can_be_set() -> None:
    (event,) = decode("Jun 14 15:16:01 combo app: x", year=2005)
    assert datetime.fromtimestamp(event.time / 1e6, UTC).year == 2005


def test_a_line_without_host_belongs_to_the_default_host() -> None:
    (event,) = decode("<34>Oct 11 22:14:15 su: FAILED su for root by eve", default_host="box7")
    assert (event.host, event.kind.action, event.user) == ("box7", "logon-failed", "eve")
    done = Decoder("t-0", FormatSettings()).decode_batch([b"<34>Oct 11 22:14:15 su: x"], [0], REFERENCE)
    assert [r.reason for r in done.rejected] == ["missing_host"]


@pytest.mark.parametrize(
    ("text", "action", "outcome", "user", "ip", "port"),
    [
        (
            "Failed password for root from 192.0.2.7 port 4022 ssh2",
            "logon-failed",
            "failure",
            "root",
            "192.0.2.7",
            4022,
        ),
        (
            "Failed password for invalid user web master from 192.0.2.7 port 4022 ssh2",
            "logon-failed",
            "failure",
            "web master",
            "192.0.2.7",
            4022,
        ),
        ("Failed none for invalid user  from 2001:db8::1 port 9 ssh2", "logon-failed", "failure", "", "2001:db8::1", 9),
        (
            "Accepted publickey for bob from 192.0.2.7 port 4022 ssh2: RSA SHA256:abc",
            "logon-succeeded",
            "success",
            "bob",
            "192.0.2.7",
            4022,
        ),
        ("Accepted password for bob from 192.0.2.7 port 1 ssh2", "logon-succeeded", "success", "bob", "192.0.2.7", 1),
        ("Invalid user test9 from 192.0.2.7", "invalid-user", "failure", "test9", "192.0.2.7", 0),
        ("Invalid user x from 192.0.2.7 port 5", "invalid-user", "failure", "x", "192.0.2.7", 5),
        ("Received disconnect from 192.0.2.7: 11: Bye Bye [preauth]", "disconnected", "unknown", "", "192.0.2.7", 0),
        ("Disconnected from user bob 192.0.2.7 port 5", "disconnected", "unknown", "bob", "192.0.2.7", 5),
        (
            "Connection closed by authenticating user root 192.0.2.7 port 5 [preauth]",
            "disconnected",
            "unknown",
            "root",
            "192.0.2.7",
            5,
        ),
        ("Connection closed by 192.0.2.7 [preauth]", "disconnected", "unknown", "", "192.0.2.7", 0),
        (
            "message repeated 5 times: [ Failed password for root from 192.0.2.7 port 9 ssh2]",
            "logon-failed",
            "failure",
            "root",
            "192.0.2.7",
            9,
        ),
        (
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= "
            "rhost=192.0.2.7  user=root",
            "pam-authentication-failed",
            "failure",
            "root",
            "192.0.2.7",
            0,
        ),
        ("pam_unix(sshd:auth): check pass; user unknown", "invalid-user", "failure", "", "", 0),
        (
            "pam_unix(sshd:session): session opened for user bob(uid=1000) by (uid=0)",
            "session-opened",
            "success",
            "bob",
            "",
            0,
        ),
        ("pam_unix(sshd:session): session closed for user bob", "session-closed", "unknown", "bob", "", 0),
        ("Something new entirely", "log-message", "unknown", "", "", 0),
    ],
)
def test_sshd(text: str, action: str, outcome: str, user: str, ip: str, port: int) -> None:
    event = message(text)
    assert event.kind.source == "linux.sshd"
    assert (event.kind.action, event.kind.outcome) == (action, outcome)
    assert (event.user, event.source_ip, event.source_port) == (user, ip, port)
    found = fields(event)
    assert found.get("user", "") == user
    assert found.get("src_ip", "") == ip


def test_a_user_name_cannot_forge_the_source_address() -> None:
    event = message("Failed password for invalid user x from 198.51.100.1 port 1 ssh2 from 192.0.2.7 port 4022 ssh2")
    assert (event.source_ip, event.source_port) == ("192.0.2.7", 4022)


def test_old_pam_style_is_a_failed_logon_of_its_own() -> None:
    text = "authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=ns.example.net  user=root"
    event = message(text, "sshd(pam_unix)[19939]")
    assert (event.kind.source, event.kind.action, event.user) == ("linux.sshd", "logon-failed", "root")
    assert fields(event)["rhost"] == "ns.example.net"
    assert event.source_ip == ""


def test_sudo_command_is_text_worth_classifying() -> None:
    event = message("alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/cat /etc/shadow ; id", "sudo")
    assert (event.kind.category, event.kind.action, event.user) == ("process", "sudo-command", "alice")
    assert (event.text, event.text_kind, event.process) == ("/bin/cat /etc/shadow ; id", "shell", "/bin/cat")
    assert fields(event)["target_user"] == "root"
    assert fields(event)["pwd"] == "/home/alice"


def test_sudo_refused() -> None:
    event = message("eve : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh", "sudo")
    assert (event.kind.category, event.kind.action, event.kind.outcome) == ("authentication", "sudo-failed", "failure")
    assert event.user == "eve"


@pytest.mark.parametrize(
    ("text", "tag", "action", "user"),
    [
        ("Successful su for root by alice", "su[9]", "logon-succeeded", "alice"),
        ("FAILED SU (to root) eve on pts/1", "su[9]", "logon-failed", "eve"),
        ("(to root) alice on pts/1", "su", "logon-succeeded", "alice"),
        ("session opened for user cyrus by (uid=0)", "su(pam_unix)[21416]", "session-opened", "cyrus"),
        ("new user: name=eve, UID=1001, GID=1001, home=/home/eve", "useradd[4]", "user-created", "eve"),
        ("add 'eve' to group 'sudo'", "usermod[4]", "group-member-added", "eve"),
        ("(root) CMD (curl x | sh)", "CRON[4]", "process-created", "root"),
    ],
)
def test_other_programs(text: str, tag: str, action: str, user: str) -> None:
    event = message(text, tag)
    assert (event.kind.action, event.user) == (action, user)


@pytest.mark.parametrize(
    "line",
    [
        "Dec 10 06:55:46 web1 last message repeated 2 times",
        "Dec 10 06:55:46 web1 syslogd 1.4.1: restart.",
        "Dec 10 06:55:46 web1 kernel: [1.0] eth0: up",
        "Dec 10 06:55:46 web1 /usr/sbin/cron[1]: x",
        "Dec  1 06:55:46 web1 -- root[5]: ROOT LOGIN ON tty2",
        "Dec 10 06:55:46 web1 " + "[" * 2000,
    ],
)
def test_odd_lines_are_events_all_the_same(line: str) -> None:
    (event,) = decode(line)
    assert event.host == "web1"
    assert event.kind.source.startswith("linux.")
    assert isinstance(fields(event), dict)


def test_hostile_lines_cost_no_time() -> None:
    """Patterns that backtrack would hang here."""
    quotes = "<1>1 2024-12-10T06:55:46Z h a - - [x " + 'a="\\' * 20_000
    decoder = Decoder("t-0", FormatSettings(), default_host="d")
    lines = [quotes, "Dec 10 06:55:46 h sshd: Failed password for " + "a from " * 20_000, "1 - - [" + '"\\' * 50_000]
    done = decoder.decode_batch([x.encode() for x in lines], [0, 1, 2], REFERENCE)
    assert len(done.events) + len(done.rejected) == 3
