"""Linux audit records: every way they are written gives rules the same fields, and what is encoded is decoded."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.formats import Decoder, FormatSettings, fields
from operators.formats.auditd_records import MAX_FIELDS, decode_value
from operators.formats.auditd_types import NAMES
from state.events import Event

REFERENCE = 1_700_000_000_000_000
STAMP = "msg=audit(1626611363.720:348501):"
TIME = 1_626_611_363_720_000
CALL = (
    "arch=c000003e syscall=59 success=yes exit=0 a0=55c094deb5c0 a1=55c094dea770 a2=26 a3=8 items=3 ppid=722 pid=724 "
    'auid=1000 uid=0 gid=0 euid=33 tty=pts3 ses=3 comm="perl" exe="/usr/bin/perl" subj=unconfined key=(null)'
)
LOGIN = (
    'pid=77 uid=0 auid=4294967295 ses=4294967295 msg=\'op=PAM:authentication grantors=? acct="root" '
    'exe="/usr/sbin/sshd" hostname=192.0.2.7 addr=192.0.2.7 terminal=ssh res=failed\''
)


def events(*lines: str, format: str = "auto", default_host: str = "default1", **more: Any) -> list[Event]:
    decoder = Decoder("t-0", FormatSettings(**more), format, default_host=default_host)
    done = decoder.decode_batch([line.encode() for line in lines], list(range(len(lines))), REFERENCE)
    assert not done.rejected, done.rejected
    return done.events


def record(type: str, body: str) -> dict[str, Any]:
    (event,) = events(f"type={type} {STAMP} {body}")
    assert event.format == "auditd"
    return fields(event)


@pytest.mark.parametrize(
    ("line", "host"),
    [
        (f"type=SYSCALL {STAMP} {CALL}", "default1"),
        (f"node=Web1.acme.example type=SYSCALL {STAMP} {CALL}\n", "web1"),
        (f"type=SYSCALL {STAMP} {CALL}\x1dARCH=x86_64 SYSCALL=execve", "default1"),
        (f"Jul 18 12:29:23 web1 audispd: type=SYSCALL {STAMP} {CALL}", "web1"),
        (f"Jul 18 12:29:23 collector audispd: node=web1 type=SYSCALL {STAMP} {CALL}", "web1"),
        (f"<14>Jul 18 12:29:23 web1 audisp-syslog[77]: type=SYSCALL {STAMP} {CALL} ARCH=x86_64 SYSCALL=execve", "web1"),
        (f"<133>Jul 18 12:29:23 web1 audit_log: type=SYSCALL {STAMP} {CALL}#035ARCH=x86_64 SYSCALL=execve", "web1"),
        (f"<14>1 2021-07-18T12:29:23Z web1 audisp-syslog 77 - - type=SYSCALL {STAMP} {CALL}", "web1"),
        (f"Jul 18 12:29:23 web1 kernel: [ 1498.988417] audit: type=1300 {STAMP[4:]} {CALL}", "web1"),
        (f"2021-07-18T12:29:23+00:00 web1 kernel: type=1300 {STAMP[4:]} {CALL}", "web1"),
        (f"type=UNKNOWN[1300] {STAMP} {CALL}", "default1"),
    ],
)
def test_every_way_of_writing_says_the_same(line: str, host: str) -> None:
    for format in ("auto", "auditd"):
        (event,) = events(line, format=format)
        assert (event.format, event.time, event.host) == ("auditd", TIME, host)
        kind = event.kind
        assert (kind.source, kind.category, kind.action, kind.outcome) == (
            *("auditd.syscall", "process", "syscall-execve", "success"),
        )
        assert (event.process, event.user) == ("/usr/bin/perl", "0")
        found = fields(event)
        assert (found["type"], found["SYSCALL"], found["syscall"], found["a2"]) == ("SYSCALL", "execve", "59", "26")
        assert (found["exe"], found["comm"], found["euid"], found["key"]) == ("/usr/bin/perl", "perl", "33", None)
        assert found["serial"] == "348501"


def test_syslog_and_audit_in_one_stream_are_told_apart_line_by_line() -> None:
    plain = "Jul 18 12:29:23 web1 sshd[77]: Failed password for root from 192.0.2.7 port 4022 ssh2"
    audit = f"Jul 18 12:29:23 web1 audispd: type=USER_AUTH {STAMP} {LOGIN}"
    # These only look like it: they stay what they are.
    about = 'Jul 18 12:29:23 web1 app[5]: audit("x") called'
    quoted = f"Jul 18 12:29:23 web1 app[5]: seen: type=SYSCALL {STAMP} a0=1"
    nonsense = "Jul 18 12:29:23 web1 audispd: type=USER_ACCT msg=audit(1): pid=1"
    lines = [plain, audit, audit, plain, about, audit, quoted, nonsense, f"type=CWD {STAMP} cwd=2F", plain]
    found = [event.format for event in events(*lines)]
    assert found == [
        *("syslog", "auditd", "auditd", "syslog", "syslog", "auditd", "syslog", "syslog", "auditd", "syslog"),
    ]


def test_a_stream_named_syslog_keeps_audit_records_as_syslog() -> None:
    (event,) = events(f"Jul 18 12:29:23 web1 audispd: type=USER_AUTH {STAMP} {LOGIN}", format="syslog")
    assert (event.format, event.kind.source) == ("syslog", "linux.audispd")


def test_a_record_without_a_host_anywhere_is_refused() -> None:
    decoder = Decoder("t-0", FormatSettings(), "auditd")
    done = decoder.decode_batch([f"type=EOE {STAMP} ".encode(), b"hello", b"type=EOE msg=audit(1.5:1):"], [0, 1, 2], 0)
    assert [each.reason for each in done.rejected] == ["missing_host", "unknown_format", "time_out_of_range"]


def test_arguments_are_decoded_and_make_a_command_line() -> None:
    (event,) = events(f'type=EXECVE {STAMP} argc=4 a0="bash" a1="-c" a2=6563686F20E28098612062E28099 a3=')
    found = fields(event)
    assert (found["a0"], found["a1"], found["a2"], found["a3"]) == ("bash", "-c", "echo ‘a b’", "")
    assert event.text == found["cmdline"] == "bash -c echo ‘a b’ "
    assert (event.text_kind, event.kind.action) == ("shell", "process-created")


def test_an_argument_in_parts_is_joined_before_it_is_decoded() -> None:
    found = record("EXECVE", 'argc=3 a0="x" a1_len=8 a1[0]=61C3 a1[1]=A962 a2_len=4 a2[0]="12" a2[1]="34" a10="z"')
    assert (found["a1"], found["a2"], found["a1_len"]) == ("aéb", "1234", "8")
    assert found["cmdline"] == "x aéb 1234 z"


def test_the_rest_of_many_arguments_is_no_second_process() -> None:
    (event,) = events(f'type=EXECVE {STAMP} a40="x" a41="y"')
    assert (event.kind.source, event.kind.action) == ("auditd.execve", "process-arguments")


def test_only_encoded_fields_are_decoded() -> None:
    found = record(
        "SYSCALL",
        "arch=c00000b7 syscall=221 a0=6162 comm=61622063 exe=2F746D702F6120 key=6B310162 tty=(none) name=abc dev=AB",
    )
    assert (found["a0"], found["dev"], found["tty"]) == ("6162", "AB", "(none)")
    assert (found["comm"], found["exe"], found["name"]) == ("ab c", "/tmp/a ", "abc")
    assert found["key"] == ["k1", "b"]
    assert found["SYSCALL"] == "execve"


def test_a_system_call_of_an_unknown_machine_keeps_its_number_only() -> None:
    (event,) = events(f"type=SYSCALL {STAMP} arch=c0000015 syscall=11 success=no exit=-13")
    assert "SYSCALL" not in fields(event)
    assert (event.kind.action, event.kind.outcome) == ("syscall", "failure")


def test_a_program_s_message_is_opened() -> None:
    (event,) = events(f'type=USER_AUTH {STAMP} {LOGIN}\x1dUID="root" AUID="unset"')
    assert (event.user, event.source_ip, event.inbound, event.process) == ("root", "192.0.2.7", True, "/usr/sbin/sshd")
    assert (event.kind.category, event.kind.action, event.kind.outcome) == ("authentication", "logon-failed", "failure")
    found = fields(event)
    assert (found["op"], found["acct"], found["res"], found["AUID"]) == (
        "PAM:authentication",
        "root",
        "failed",
        "unset",
    )


def test_what_the_kernel_wrote_cannot_be_overwritten_from_a_program_s_message() -> None:
    found = record("USER_CMD", "pid=1 uid=1000 msg='uid=0 type=LIE serial=1 cmd=6C73 terminal=? res=success'")
    assert (found["uid"], found["type"], found["serial"], found["cmd"]) == ("1000", "USER_CMD", "348501", "ls")


def test_apostrophes_blanks_and_old_ways_of_writing() -> None:
    quoted = record("USER_ACCT", 'pid=1 msg=\'op=PAM:accounting acct="o\'brien" exe="/bin/su" res=success\'\x1dUID="a"')
    assert (quoted["acct"], quoted["res"], quoted["UID"]) == ("o'brien", "success", "a")
    old = record(
        "USER_AUTH",
        'user pid=1 uid=0 msg=\'PAM: authentication acct="bob" : exe="/bin/su" (hostname=?, addr=?, res=ok)\'',
    )
    assert (old["acct"], old["exe"], old["hostname"], old["addr"], old["res"]) == ("bob", "/bin/su", "?", "?", "ok")
    words = record("ADD_GROUP", "pid=1 msg='op=adding group to /etc/group id=5 exe=\"/usr/sbin/useradd\" res=success'")
    assert (words["op"], words["id"]) == ("adding group to /etc/group", "5")
    assert record("CONFIG_CHANGE", "op=set audit_enabled=1 old=1 res=1")["op"] == "set"


def test_selinux_apparmor_and_sockets() -> None:
    body = 'avc:  denied  { read write } for  pid=5 comm="ls" path="/root/x" dev="rootfs" ino=2 tclass=file permissive='
    (event,) = events(f"type=AVC {STAMP} {body}0")
    assert (fields(event)["seresult"], fields(event)["seperms"]) == ("denied", ["read", "write"])
    assert event.kind.outcome == "failure"
    (event,) = events(f"type=AVC {STAMP} {body}1")
    assert event.kind.outcome == "unknown"
    assert record("AVC", 'apparmor="DENIED" operation="open" profile="/usr/bin/x y" name=2F612062')["name"] == "/a b"
    told = {"saddr_fam": "inet", "laddr": "10.0.0.1", "lport": "53"}
    raw = "saddr=020000350A0000010000000000000000"
    for body in (raw, f"{raw}\x1dSADDR={{ saddr_fam=inet laddr=10.0.0.1 lport=53 }}"):
        assert told.items() <= record("SOCKADDR", body).items()
    six = "saddr=0A000050000000002001" + "0DB8" + "00" * 11 + "0100000000"
    assert record("SOCKADDR", six)["laddr"] == "2001:db8::1"
    assert record("SOCKADDR", "saddr=01002F72756E2F7800")["path"] == "/run/x"
    assert record("SOCKADDR", "saddr=0100002F72756E2F78")["path"] == "@/run/x"
    assert set(record("SOCKADDR", "saddr=0200")) == {"type", "serial", "saddr"}


def test_files_titles_and_terminals() -> None:
    (event,) = events(f'type=PATH {STAMP} item=1 name="/etc/x" inode=5 mode=0100644 nametype=CREATE\x1dOUID="root"')
    assert (event.kind.category, event.kind.action, fields(event)["name"]) == ("file", "file-created", "/etc/x")
    assert record("PROCTITLE", "proctitle=2F62696E2F7368002F782079")["proctitle"] == "/bin/sh /x y"
    assert record("PROCTITLE", 'proctitle="bash"')["proctitle"] == "bash"
    assert record("TTY", "tty pid=1 data=6C730D")["data"] == "ls\r"


@pytest.mark.parametrize(
    "body",
    [
        "a=" * 20_000,
        "=" * 50_000,
        "x" * 50_000,
        "SADDR=" + "{ a=" * 20_000,
        'a="' * 20_000,
        "msg='" * 20_000,
        "op=a " * 20_000,
        "(" * 20_000 + "avc: denied {" * 3_000,
        f"SADDR={'{ SADDR=' * 20_000}\x1dSADDR={'{ SADDR=' * 20_000}",
        " ".join(f"f{n}=1" for n in range(10_000)),
        "a1[0]=61 " * 9_000,
    ],
)
def test_hostile_bodies_are_bounded(body: str) -> None:
    for type in ("EXECVE", "AVC", "USER_AUTH", "SYSCALL"):
        assert len(record(type, body)) <= MAX_FIELDS + 10


def test_record_types_have_their_numbers() -> None:
    told = {"1006": "LOGIN", "1112": "USER_LOGIN", "1131": "SERVICE_STOP", "1300": "SYSCALL", "1302": "PATH"}
    told |= {
        "1307": "CWD",
        "1309": "EXECVE",
        "1326": "SECCOMP",
        "1327": "PROCTITLE",
        "1400": "AVC",
        "1701": "ANOM_ABEND",
    }
    assert told.items() <= NAMES.items()


def kernel_writes(text: str) -> str:
    """Return a value as ``audit_log_untrustedstring`` of the kernel writes it."""
    data = text.encode()
    if any(byte == 0x22 or byte < 0x21 or byte > 0x7E for byte in data):
        return data.hex().upper()
    return f'"{text}"'


def unescaped(value: str) -> bytes:
    """Return what ``au_unescape`` of auparse makes of an unquoted value: pairs of digits, no further."""
    digits = re.match("[0-9A-Fa-f]*", value)
    pairs = re.findall("..", digits[0] if digits else "")
    return bytes(int(pair, 16) for pair in pairs)


LETTERS = st.characters(exclude_characters="\0", exclude_categories=("Cs",))


@settings(deadline=None)
@given(st.lists(st.text(LETTERS, max_size=12), min_size=1, max_size=6))
def test_what_the_kernel_wrote_comes_back(values: list[str]) -> None:
    body = " ".join(f"a{number}={kernel_writes(value)}" for number, value in enumerate(values))
    found = record("EXECVE", f"argc={len(values)} {body}")
    assert [found[f"a{number}"] for number in range(len(values))] == values
    for name in ("name", "exe", "comm", "cwd", "cmd", "acct", "data"):
        assert record("PATH", f"item=0 {name}={kernel_writes(values[0])} inode=1")[name] == values[0]


@settings(deadline=None)
@given(st.text(LETTERS, max_size=9), st.text(LETTERS, max_size=9), st.sampled_from(["yes", "no"]), st.booleans())
def test_the_event_says_what_the_fields_say(comm: str, exe: str, success: str, enriched: bool) -> None:
    told = f"success={success} comm={kernel_writes(comm)} exe={kernel_writes(exe)} uid=7 key=(null)"
    words = '\x1dARCH=aarch64 SYSCALL=connect UID="web"' if enriched else ""
    (event,) = events(f"type=SYSCALL {STAMP} arch=c00000b7 syscall=203 {told}{words}")
    found = fields(event)
    assert (event.process, event.user) == (found["exe"], found["UID"] if enriched else found["uid"])
    assert event.process == exe and found["comm"] == comm
    assert (event.kind.action, event.kind.category) == (f"syscall-{found['SYSCALL']}", "network")
    assert event.kind.outcome == {"yes": "success", "no": "failure"}[found["success"]]


@settings(deadline=None)
@given(st.text("0123456789abcdefABCDEF", max_size=40))
def test_hexadecimal_is_read_as_auditd_s_own_tools_read_it(value: str) -> None:
    # Half a byte is no value that auditd writes; its tools drop the digit, we leave the text as it is.
    if len(value) % 2 == 0 and value:
        assert decode_value(value) == unescaped(value).decode("utf-8", "backslashreplace")
    else:
        assert decode_value(value) == value


@settings(deadline=None)
@given(st.text(LETTERS, max_size=30), st.integers(1, 5))
def test_an_argument_cut_anywhere_is_the_same(text: str, step: int) -> None:
    data = (text + "é").encode().hex().upper()
    chunks = [data[start : start + step * 2] for start in range(0, len(data), step * 2)]
    body = " ".join(f"a1[{number}]={chunk}" for number, chunk in enumerate(chunks))
    assert record("EXECVE", f'argc=2 a0="x" a1_len={len(data)} {body}')["a1"] == text + "é"


@pytest.mark.parametrize(
    "marker", ['"_path"', '"id.orig_h"', '"winlog"', '"event_type" "flow_id"', '"log_name" "event_id"']
)
def test_another_formats_marker_in_an_argument_hides_no_record(marker: str) -> None:
    """Else whoever runs a command decides whether its record is read."""
    zeek = '{"_path":"conn","ts":1600000000.5,"id.orig_h":"10.0.0.1","id.resp_h":"192.0.2.7"}'
    line = f"type=EXECVE {STAMP} argc=2 a0={marker.split()[0]} a1={marker.split()[-1]}"
    for before in ([], [zeek]):
        assert events(*before, line)[-1].format == "auditd"
