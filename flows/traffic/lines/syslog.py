"""Syslog of Linux hosts, RFC 3164 or RFC 5424 as the host has it: sshd, sudo, cron, systemd."""

from __future__ import annotations

from flows.traffic.clock import SECOND, bsd, iso_micros
from flows.traffic.fleet import Host
from flows.traffic.message import Tape

FORMAT = "syslog"
#: Facilities' codes (RFC 5424, table 1), times eight.
_AUTHPRIV, _CRON, _DAEMON = 80, 72, 24


def write(tape: Tape, time: int, host: Host, program: str, message: str, facility: int = _DAEMON, pid: int = 0) -> None:
    """Write one line of severity informational."""
    pid = pid or tape.integer(800, 32_768)
    if host.modern_syslog:
        line = f"<{facility + 6}>1 {iso_micros(time, '+00:00')} {host.name} {program} {pid} - - {message}"
    else:
        line = f"<{facility + 6}>{bsd(time)} {host.name} {program}[{pid}]: {message}"
    tape.write(time, host.name, FORMAT, line.encode())


def failed_password(tape: Tape, time: int, host: Host, user: str, ip: str, port: int, known: bool = True) -> None:
    """Write sshd's line about a wrong password."""
    who = user if known else f"invalid user {user}"
    write(tape, time, host, "sshd", f"Failed password for {who} from {ip} port {port} ssh2", _AUTHPRIV)


def invalid_user(tape: Tape, time: int, host: Host, user: str, ip: str, port: int) -> None:
    """Write sshd's line about a user that does not exist."""
    write(tape, time, host, "sshd", f"Invalid user {user} from {ip} port {port}", _AUTHPRIV)


def accepted(tape: Tape, time: int, host: Host, user: str, ip: str, port: int, method: str = "publickey") -> None:
    """Write sshd's two lines about a login: the method and the session."""
    pid = tape.integer(800, 32_768)
    key = f": ED25519 SHA256:{tape.letters(43)}" if method == "publickey" else ""
    write(tape, time, host, "sshd", f"Accepted {method} for {user} from {ip} port {port} ssh2{key}", _AUTHPRIV, pid)
    opened = f"pam_unix(sshd:session): session opened for user {user}(uid={1000 + len(user)}) by (uid=0)"
    write(tape, time + SECOND // 20, host, "sshd", opened, _AUTHPRIV, pid)


def closed(tape: Tape, time: int, host: Host, user: str, ip: str, port: int) -> None:
    """Write sshd's two lines about the end of a session."""
    pid = tape.integer(800, 32_768)
    gone = f"Disconnected from user {user} {ip} port {port}"
    write(tape, time, host, "sshd", gone, _AUTHPRIV, pid)
    ended = f"pam_unix(sshd:session): session closed for user {user}"
    write(tape, time + SECOND // 50, host, "sshd", ended, _AUTHPRIV, pid)


def sudo(tape: Tape, time: int, host: Host, user: str, command: str, target: str = "root") -> None:
    """Write sudo's line about a command."""
    message = f"{user:>8} : TTY=pts/0 ; PWD=/home/{user} ; USER={target} ; COMMAND={command}"
    write(tape, time, host, "sudo", message, _AUTHPRIV)


def cron(tape: Tape, time: int, host: Host, user: str, command: str) -> None:
    """Write cron's line about a job."""
    write(tape, time, host, "CRON", f"({user}) CMD ({command})", _CRON)


def daemon(tape: Tape, time: int, host: Host, program: str, message: str) -> None:
    """Write a service's line."""
    write(tape, time, host, program, message, _DAEMON)
