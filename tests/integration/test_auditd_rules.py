"""SigmaHQ's own auditd rules over audit records as auditd, the kernel and syslog write them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

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


@pytest.fixture(scope="module")
def rules(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> RuleSet:
    """Every rule of product linux and service auditd."""
    folder = tmp_path_factory.mktemp("auditd")
    with (
        (data_dir / "sigma/rules.tar.zst").open("rb") as file,
        zstandard.open(file, "rb") as plain,
        tarfile.open(fileobj=io.BufferedReader(plain), mode="r|") as archive,
    ):
        for member in archive:
            name = Path(member.name).name
            if name.startswith("lnx_auditd_") and name.endswith(".yml") and (inner := archive.extractfile(member)):
                (folder / name).write_bytes(inner.read())
    loaded = RuleSet.load(folder)
    assert not loaded.problems
    assert len(loaded.rules) > 50
    assert not loaded.unserved(), "rules that no event can meet"
    return loaded


def test_rules_meet_the_records_that_they_mean_and_no_others(rules: RuleSet) -> None:
    lines = [line.encode() for line, _ in CASES]
    decoder = Decoder("audit-0", FormatSettings(), default_host="web1")
    done = decoder.decode_batch(lines, list(range(len(lines))), 1_700_000_000_000_000)
    assert not done.rejected
    met: dict[int, set[str]] = {number: set() for number in range(len(CASES))}
    for match in rules.match_batch(done.events, fields):
        met[done.events[match.index].offset].add(Path(match.rule.path).stem)
    for number, (line, expected) in enumerate(CASES):
        assert met[number] == expected, line
