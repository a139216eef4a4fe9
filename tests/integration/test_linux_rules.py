"""SigmaHQ's own Linux rules over audit records and Sysmon events as auditd, the kernel and syslog write them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
import zstandard

from analyzers.rules import RuleSet
from operators.formats import Decoder, FormatSettings, fields

pytestmark = pytest.mark.data

STAMP = "msg=audit(1626611363.720:348501):"
CALL = "arch=c000003e success=yes exit=0 a0=55c094deb5c0 a1=0 items=2 ppid=722 pid=724 auid=1000 uid=0 euid=0 tty=pts3"
KEY = b"susp_activity"
#: A line, and the files of exactly those rules that it must meet.
CASES: list[tuple[str, set[str]]] = [
    (f'type=EXECVE {STAMP} argc=3 a0="getcap" a1="-r" a2="/"', {"lnx_auditd_capabilities_discovery"}),
    (
        f'node=web1 type=EXECVE {STAMP} argc=2 a0="wget" a1=2D2D706F73742D66696C653D2F746D702F612062',
        {"lnx_auditd_data_exfil_wget"},
    ),
    (f'type=EXECVE {STAMP} argc=2 a0="wget" a1="--version"', set()),
    (
        f'<14>Jul 18 12:29:23 web1 audisp-syslog: type=EXECVE {STAMP} argc=3 a0="chmod" a1="777" a2="/x"',
        {"lnx_auditd_susp_cmds", "lnx_auditd_file_or_folder_permissions"},
    ),
    (
        f'type=EXECVE {STAMP} argc=6 a0="/sbin/iptables" a1="-t" a2="nat" a3="-A" a4="--to-ports" a5="42391"',
        {"lnx_auditd_bpfdoor_port_redirect"},
    ),
    (f'type=EXECVE {STAMP} argc=2 a0="cat" a1="/root/.bash_history"', {"lnx_auditd_susp_histfile_operations"}),
    # This rule writes the type in lower case.
    (f'type=EXECVE {STAMP} argc=2 a0="gzip" a1="-k"', {"lnx_auditd_data_compressed"}),
    # Kinds of records that the rule does not ask for do not meet it.
    (f'type=CWD {STAMP} cwd="/root/.bash_history"', set()),
    (f'type=PATH {STAMP} item=0 name="/etc/ld.so.preload" inode=5 nametype=NORMAL', {"lnx_auditd_ld_so_preload_mod"}),
    (
        f'type=PATH {STAMP} item=1 name="/etc/systemd/system/x.service" nametype=CREATE',
        {"lnx_auditd_systemd_service_creation"},
    ),
    (f'type=PATH {STAMP} item=1 name="/etc/systemd/system/x.service" nametype=NORMAL', set()),
    (f"type=PATH {STAMP} item=0 name=2F746D702F2E61206220 inode=5", {"lnx_auditd_hidden_binary_execution"}),
    # Raw and enriched: the rule asks for the name of the system call.
    (
        f'type=SYSCALL {STAMP} syscall=133 {CALL} comm="mknod" exe="/usr/bin/mknod"',
        {"lnx_auditd_susp_special_file_creation_via_mknod_syscall"},
    ),
    (
        f'type=SYSCALL {STAMP} syscall=133 {CALL} comm="x" exe="/usr/bin/x"\x1dARCH=x86_64 SYSCALL=mknod',
        {"lnx_auditd_susp_special_file_creation_via_mknod_syscall"},
    ),
    (f'type=SYSCALL {STAMP} syscall=2 {CALL} comm="x" exe="/usr/bin/x"', set()),
    (
        f"Jul 18 12:29:23 web1 kernel: [ 9.1] audit: type=1300 {STAMP[4:]} arch=c000003e syscall=103 a0=5 a1=0 "
        'exe="/usr/bin/x"',
        {"lnx_auditd_clean_disable_dmesg_logs_via_syslog"},
    ),
    (
        f'type=SYSCALL {STAMP} arch=c00000b7 syscall=221 success=yes a0=1 euid=33 comm="sh" exe="/usr/bin/dash"',
        {"lnx_auditd_web_rce"},
    ),
    (
        f'type=SYSCALL {STAMP} arch=c000003e syscall=41 a0=26 a1=5 euid=1000 comm="x" exe="/usr/bin/x"',
        {"lnx_auditd_exploit_cve_2026_31431_af_alg_socket_creation"},
    ),
    (f'type=SYSCALL {STAMP} syscall=2 {CALL} comm="x" exe=2F746D702F612062', {"lnx_auditd_susp_exe_folders"}),
    (
        f'type=SYSCALL {STAMP} syscall=2 {CALL} comm="x" exe="/bin/x" key={b"k".hex()}01{KEY.hex().upper()}',
        {"lnx_auditd_susp_c2_commands"},
    ),
    (
        f"type=ADD_USER {STAMP} pid=9 uid=0 msg='op=add-user id=1001 exe=\"/usr/sbin/useradd\" hostname=? res=success'",
        {"lnx_auditd_create_account"},
    ),
    (
        f'type=SERVICE_STOP {STAMP} pid=1 uid=0 auid=4294967295 msg=\'unit=firewalld comm="systemd" '
        'exe="/usr/lib/systemd/systemd" hostname=? addr=? terminal=? res=success\'\x1dUID="root" AUID="unset"',
        {"lnx_auditd_disable_system_firewall"},
    ),
    (
        f'type=TTY {STAMP} tty pid=1 uid=0 major=136 minor=0 comm="bash" data=6C730D',
        {"lnx_auditd_keylogging_with_pam_d"},
    ),
    ("Jul 18 12:29:23 web1 auditd[77]: Audit daemon rotating log files", set()),
]


def sysmon(code: int, **data: str) -> str:
    values = "".join(f'<Data Name="{name}">{escape(value)}</Data>' for name, value in data.items())
    return (
        '<14>Nov 24 08:30:01 web1 sysmon: <Event><System><Provider Name="Linux-Sysmon" Guid="{0}"/>'
        f'<EventID>{code}</EventID><TimeCreated SystemTime="2022-11-24T08:30:01.467399000Z"/>'
        "<Channel>Linux-Sysmon/Operational</Channel><Computer>web1</Computer></System>"
        f"<EventData>{values}</EventData></Event>"
    )


SYSMON_CASES: list[tuple[str, set[str]]] = [
    (
        sysmon(1, Image="/usr/bin/base64", CommandLine="base64 -d x", ParentImage="/usr/bin/make"),
        {"proc_creation_lnx_base64_decode"},
    ),
    (sysmon(1, Image="/usr/bin/base64", CommandLine="base64 x", ParentImage="/usr/bin/make"), set()),
    (
        sysmon(1, Image="/usr/bin/dash", CommandLine='sh -c "true :> /var/log/syslog"', ParentImage="/usr/bin/make"),
        {"proc_creation_lnx_clear_syslog"},
    ),
    # The end of a process is not its beginning.
    (sysmon(5, Image="/usr/bin/base64", CommandLine="base64 -d x"), set()),
    (sysmon(11, Image="/usr/bin/vi", TargetFilename="/etc/doas.conf"), {"file_event_lnx_doas_conf_creation"}),
    (sysmon(23, Image="/usr/bin/rm", TargetFilename="/etc/doas.conf"), set()),
    (
        sysmon(3, Image="/usr/bin/bash", Initiated="true", DestinationIp="192.0.2.7", DestinationPort="443"),
        {"net_connection_lnx_back_connect_shell_dev"},
    ),
    (sysmon(3, Image="/usr/bin/bash", Initiated="true", DestinationIp="127.0.0.1", DestinationPort="443"), set()),
    (
        sysmon(3, Image="/usr/bin/x", Initiated="true", DestinationIp="203.0.113.9", DestinationPort="4444"),
        {"net_connection_lnx_susp_malware_callback_port"},
    ),
]


@pytest.fixture(scope="module")
def archived(data_dir: Path) -> dict[str, bytes]:
    """Every rule file of the data set whose name says that it is of Linux."""
    found: dict[str, bytes] = {}
    with (
        (data_dir / "sigma/rules.tar.zst").open("rb") as file,
        zstandard.open(file, "rb") as plain,
        tarfile.open(fileobj=io.BufferedReader(plain), mode="r|") as archive,
    ):
        for member in archive:
            name = Path(member.name).name
            if "lnx_" in name and name.endswith(".yml") and (inner := archive.extractfile(member)):
                found[name] = inner.read()
    return found


@pytest.mark.parametrize(
    ("prefixes", "least", "cases"),
    [
        (("lnx_auditd_",), 50, CASES),
        (("proc_creation_lnx_", "file_event_lnx_", "net_connection_lnx_"), 130, SYSMON_CASES),
    ],
    ids=["auditd", "sysmon"],
)
def test_rules_meet_the_events_that_they_mean_and_no_others(
    archived: dict[str, bytes], tmp_path: Path, prefixes: tuple[str, ...], least: int, cases: list[tuple[str, set[str]]]
) -> None:
    for name, body in archived.items():
        if name.startswith(prefixes):
            (tmp_path / name).write_bytes(body)
    rules = RuleSet.load(tmp_path)
    assert not rules.problems and len(rules.rules) >= least
    assert not rules.unserved(), "rules that no event can meet"
    lines = [line.encode() for line, _ in cases]
    decoder = Decoder("linux-0", FormatSettings(), default_host="web1")
    done = decoder.decode_batch(lines, list(range(len(lines))), 1_700_000_000_000_000)
    assert not done.rejected
    met: dict[int, set[str]] = {number: set() for number in range(len(cases))}
    for match in rules.match_batch(done.events, fields):
        met[done.events[match.index].offset].add(Path(match.rule.path).stem)
    for number, (line, expected) in enumerate(cases):
        assert met[number] == expected, line
