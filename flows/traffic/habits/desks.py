"""Benign work at Windows hosts: programs, files, logons, administration."""

from __future__ import annotations

from flows.traffic.clock import SECOND
from flows.traffic.fleet import ADMINS, Fleet, Host
from flows.traffic.lines import windows_security, windows_sysmon
from flows.traffic.message import Tape
from flows.traffic.words import ADMIN_PROGRAMS, FILES, POWERSHELL_SCRIPTS, PROGRAMS, TASKS, Program


def _start(tape: Tape, host: Host, time: int, program: Program, user: str) -> None:
    windows_sysmon.process(tape, time, host, program, f"CORP\\{user}")
    if tape.chance(0.5):
        windows_security.process(tape, time + 3_000, host, program, user)


def program(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Start an everyday program."""
    _start(tape, host, time, tape.pick(PROGRAMS), host.user)


def file(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Save a file."""
    windows_sysmon.file(tape, time, host, "C:\\Windows\\explorer.exe", tape.pick(FILES), f"CORP\\{host.user}")


def logon(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Unlock the screen or log on, and off again within the hour."""
    kind = tape.pick((2, 7, 7, 7, 11))
    windows_security.logon(tape, time, host, host.user, "127.0.0.1", kind)
    windows_security.logoff(tape, time + tape.integer(60, 3_600) * SECOND, host, host.user, kind)


def mistyped_password(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Mistype the password once to three times, then get it right."""
    for _ in range(tape.integer(1, 4)):
        windows_security.logon_failed(tape, time, host, host.user, "127.0.0.1", 2)
        time += tape.integer(3, 12) * SECOND
    windows_security.logon(tape, time, host, host.user, "127.0.0.1", 2)


def administration(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Administer the host: an elevated logon, some commands, often PowerShell."""
    admin = tape.pick(ADMINS)
    windows_security.logon(tape, time, host, admin, fleet.any_of(tape, "workstation").ip, 10)
    windows_security.privileges(tape, time + 4_000, host, admin)
    for _ in range(tape.integer(1, 5)):
        time += tape.integer(5, 60) * SECOND
        _start(tape, host, time, tape.pick(ADMIN_PROGRAMS), admin)
        if tape.chance(0.5):
            windows_sysmon.script(tape, time + SECOND // 2, host, tape.pick(POWERSHELL_SCRIPTS))
    windows_security.logoff(tape, time + 30 * SECOND, host, admin, 10)


def scheduled_task(tape: Tape, fleet: Fleet, host: Host, time: int) -> None:
    """Run what the task scheduler runs at any hour: a service logon, an updater or a report script."""
    windows_security.logon(tape, time, host, "SYSTEM", "", 5)
    windows_security.privileges(tape, time + 2_000, host)
    _start(tape, host, time + 40_000, tape.pick(TASKS), "SYSTEM")
