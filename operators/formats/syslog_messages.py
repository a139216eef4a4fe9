"""The messages that sshd, sudo, su, PAM, cron and the account tools write to syslog, parsed into fields.

User names are the attacker's to choose, also with blanks and " from 192.0.2.1 port 22" inside: a pattern takes what
the program itself wrote last.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from .base import port

#: Longest message that is parsed, characters; the rest of a longer one stays unread.
MAX_MESSAGE = 8_192
#: Category of a program's messages that are not parsed further.
PROGRAMS: dict[str, str] = {
    "apache2": "web",
    "auditd": "configuration",
    "chage": "iam",
    "cron": "process",
    "crond": "process",
    "cupsd": "host",
    "dhclient": "network",
    "dhcpd": "network",
    "dpkg": "package",
    "ftpd": "network",
    "gdm": "session",
    "gdm-binary": "session",
    "groupadd": "iam",
    "groupdel": "iam",
    "httpd": "web",
    "kernel": "host",
    "klogind": "authentication",
    "login": "authentication",
    "mysqld": "database",
    "named": "network",
    "networkmanager": "network",
    "nginx": "web",
    "passwd": "iam",
    "postfix": "email",
    "proftpd": "network",
    "sendmail": "email",
    "snmpd": "network",
    "sshd": "authentication",
    "su": "authentication",
    "sudo": "authentication",
    "systemd-logind": "session",
    "telnetd": "network",
    "useradd": "iam",
    "userdel": "iam",
    "usermod": "iam",
    "vsftpd": "network",
    "xinetd": "network",
    "yum": "package",
}


class Parsed(msgspec.Struct, frozen=True, gc=False):
    """What a message says; empty where it says nothing."""

    category: str = ""
    action: str = ""
    outcome: str = "unknown"
    user: str = ""
    source_ip: str = ""
    source_port: int = 0
    process: str = ""
    text: str = ""
    #: Further fields by their usual names.
    more: tuple[tuple[str, str], ...] = ()

    def fields(self) -> dict[str, Any]:
        """Return what is filled, as rules name it."""
        named = {
            "user": self.user,
            "src_ip": self.source_ip,
            "src_port": self.source_port,
            "command": self.text,
            "action": self.action,
            "outcome": self.outcome if self.outcome != "unknown" else "",
        }
        return {**{k: v for k, v in named.items() if v}, **dict(self.more)}


NOTHING = Parsed()
#: Builds the result from a match.
Build = Callable[[re.Match[str]], Parsed]


def _event(category: str, action: str, outcome: str = "unknown") -> Build:
    """Return a builder that reads the groups ``user``, ``ip``, ``port`` and puts any other into ``more``."""

    def build(match: re.Match[str]) -> Parsed:
        groups = {k: v for k, v in match.groupdict().items() if v}
        return Parsed(
            category,
            action,
            outcome,
            groups.pop("user", ""),
            groups.pop("ip", ""),
            port(groups.pop("port", "")),
            more=tuple(groups.items()),
        )

    return build


def _sudo(match: re.Match[str]) -> Parsed:
    user, note = match["user"], match["note"] or ""
    parts = dict(_SUDO_PART.findall(match["parts"]))
    command = match["command"] or ""
    more = tuple((k, v) for k, v in (("tty", parts.get("TTY")), ("pwd", parts.get("PWD"))) if v)
    more += tuple((k, v) for k, v in (("target_user", parts.get("USER")), ("reason", note)) if v)
    process = command.partition(" ")[0]
    if note:
        return Parsed("authentication", "sudo-failed", "failure", user, process=process, text=command, more=more)
    return Parsed("process", "sudo-command", "success", user, process=process, text=command, more=more)


def _cron(match: re.Match[str]) -> Parsed:
    return Parsed("process", "process-created", "unknown", match["user"], text=match["command"])


_SUDO_PART = re.compile(r"\b(TTY|PWD|USER|GROUP)=([^;]*?)(?= ;|$)")
_FROM = r"(?P<ip>\S+)(?: port (?P<port>\d+))?"
_INVALID = r"(?:(?P<unknown_user>invalid|illegal) user )?"

SSHD: tuple[tuple[str, Build], ...] = (
    (
        rf"Failed (?P<method>\S+) for {_INVALID}(?P<user>.*) from {_FROM}(?: ssh\d?)?(?:: .*)?",
        _event("authentication", "logon-failed", "failure"),
    ),
    (
        rf"Accepted (?P<method>\S+) for (?P<user>.*) from {_FROM}(?: ssh\d?)?(?:: .*)?",
        _event("authentication", "logon-succeeded", "success"),
    ),
    (
        rf"(?:Invalid|Illegal) user (?P<user>.*) from {_FROM}",
        _event("authentication", "invalid-user", "failure"),
    ),
    (
        rf"(?:error: )?maximum authentication attempts exceeded for {_INVALID}(?P<user>.*) from {_FROM}.*",
        _event("authentication", "logon-attempts-exceeded", "failure"),
    ),
    (
        # With a user the port is always there; without it, a user name's end could not be told.
        r"(?:Disconnected from|Connection (?:closed|reset) by) (?:(?P<state>invalid|authenticating) )?"
        r"user (?P<user>.*) (?P<ip>\S+) port (?P<port>\d+)(?: \[preauth\])?",
        _event("session", "disconnected"),
    ),
    (
        rf"(?:Disconnected from|Connection (?:closed|reset) by) {_FROM}(?: \[preauth\])?",
        _event("session", "disconnected"),
    ),
    (
        rf"(?:error: )?Received disconnect from {_FROM}: ?\d+: (?P<reason>.*)",
        _event("session", "disconnected"),
    ),
    (rf"Did not receive identification string from {_FROM}", _event("network", "connection-without-protocol")),
    (rf"Connection from {_FROM}(?: on .*)?", _event("network", "connection")),
    (
        r"reverse mapping checking getaddrinfo for (?P<src_host>\S+) \[(?P<ip>[^\]\s]+)\] failed.*",
        _event("network", "reverse-lookup-failed"),
    ),
    (r"Server listening on .*", _event("host", "service-started")),
)
PAM_FAILURE = (
    r"authentication failure; logname=(?P<logname>\S*) uid=\d* euid=\d* tty=(?P<tty>\S*) ruser=(?P<ruser>\S*) "
    r"rhost=(?P<rhost>\S*)(?:\s+user=(?P<user>.*))?"
)
PAM: tuple[tuple[str, Build], ...] = (
    (
        r"session opened for user (?P<user>[^\s(]+)(?:\(uid=\d+\))? by (?P<by>[^\s(]*)(?:\(uid=\d*\))?",
        _event("session", "session-opened", "success"),
    ),
    (r"session closed for user (?P<user>\S+)", _event("session", "session-closed")),
    (r"check pass; user unknown", _event("authentication", "invalid-user", "failure")),
    (r"password changed for (?P<user>\S+)", _event("iam", "password-changed", "success")),
)
SU: tuple[tuple[str, Build], ...] = (
    (
        r"Successful su for (?P<target_user>\S+) by (?P<user>\S+)",
        _event("authentication", "logon-succeeded", "success"),
    ),
    (r"FAILED su for (?P<target_user>\S+) by (?P<user>\S+)", _event("authentication", "logon-failed", "failure")),
    (
        r"\(to (?P<target_user>\S+)\) (?P<user>\S+) on (?P<tty>\S+)",
        _event("authentication", "logon-succeeded", "success"),
    ),
    (
        r"FAILED SU \(to (?P<target_user>\S+)\) (?P<user>\S+) on (?P<tty>\S+)",
        _event("authentication", "logon-failed", "failure"),
    ),
    (r"\+ (?P<tty>\S+) (?P<user>[^\s:]+):(?P<target_user>\S+)", _event("authentication", "logon-succeeded", "success")),
    (r"- (?P<tty>\S+) (?P<user>[^\s:]+):(?P<target_user>\S+)", _event("authentication", "logon-failed", "failure")),
)
SUDO: tuple[tuple[str, Build], ...] = (
    (
        r"\s*(?P<user>\S+) : (?:(?P<note>[^=;]+) ; )?(?P<parts>TTY=.*?)(?: ; COMMAND=(?P<command>.*))?",
        _sudo,
    ),
)
CRON: tuple[tuple[str, Build], ...] = ((r"\((?P<user>[^)]+)\) CMD \((?P<command>.*)\)", _cron),)
ACCOUNTS: tuple[tuple[str, Build], ...] = (
    (r"new user: name=(?P<user>[^,\s]+).*", _event("iam", "user-created", "success")),
    (r"delete user '(?P<user>[^']+)'.*", _event("iam", "user-deleted", "success")),
    (r"new group: name=(?P<group>[^,\s]+).*", _event("iam", "group-created", "success")),
    (
        r"add '(?P<user>[^']+)' to (?:shadow )?group '(?P<group>[^']+)'.*",
        _event("iam", "group-member-added", "success"),
    ),
    (r"changed? user '(?P<user>[^']+)'.*", _event("iam", "user-changed", "success")),
)
FTP: tuple[tuple[str, Build], ...] = (
    (r"connection from (?P<ip>\S+) .*", _event("network", "connection")),
    (r"ANONYMOUS FTP LOGIN FROM (?P<ip>[^\s,]+).*", _event("authentication", "logon-succeeded", "success")),
)
KLOGIN: tuple[tuple[str, Build], ...] = (
    (r"Authentication failed from (?P<ip>\S+) .*", _event("authentication", "logon-failed", "failure")),
)


def _compile(table: tuple[tuple[str, Build], ...]) -> tuple[tuple[re.Pattern[str], Build], ...]:
    return tuple((re.compile(pattern, re.ASCII), build) for pattern, build in table)


_TABLES: dict[str, tuple[tuple[re.Pattern[str], Build], ...]] = {
    "sshd": _compile(SSHD),
    "sshd-session": _compile(SSHD),
    "su": _compile(SU),
    "sudo": _compile(SUDO),
    "cron": _compile(CRON),
    "crond": _compile(CRON),
    "useradd": _compile(ACCOUNTS),
    "userdel": _compile(ACCOUNTS),
    "usermod": _compile(ACCOUNTS),
    "groupadd": _compile(ACCOUNTS),
    "ftpd": _compile(FTP),
    "klogind": _compile(KLOGIN),
}
_PAM = _compile(PAM)
_PAM_FAILURE = re.compile(PAM_FAILURE, re.ASCII)
_PAM_PREFIX = re.compile(r"pam_\w+\([^)]*\): ", re.ASCII)
_REPEATED = re.compile(r"message repeated (\d+) times: \[ ?(.*)\]", re.ASCII)


def parse(program: str, module: str, message: str) -> Parsed:
    """Return what a program's message says. ``module`` is PAM's, where the tag holds it (``sshd(pam_unix)``)."""
    message = message[:MAX_MESSAGE].rstrip()
    if message.startswith("message repeated") and (repeated := _REPEATED.fullmatch(message)):
        message = repeated[2].rstrip()
    prefix = _PAM_PREFIX.match(message) if message.startswith("pam_") else None
    if prefix is not None:
        message = message[prefix.end() :]
    if prefix is not None or module.startswith("pam_"):
        # sshd itself reports each failed password too, unless it is so old that PAM's name stands in the tag.
        return _pam(message, counted=not (prefix is not None and program.startswith("sshd")))
    for pattern, build in _TABLES.get(program, ()):
        if (match := pattern.fullmatch(message)) is not None:
            return build(match)
    return NOTHING


def _pam(message: str, counted: bool) -> Parsed:
    if (match := _PAM_FAILURE.fullmatch(message)) is not None:
        action = "logon-failed" if counted else "pam-authentication-failed"
        rhost = match["rhost"] or ""
        more = tuple((k, match[k]) for k in ("logname", "tty", "ruser", "rhost") if match[k])
        user = (match["user"] or match["ruser"] or match["logname"] or "").strip()
        return Parsed("authentication", action, "failure", user, rhost, more=more)
    for pattern, build in _PAM:
        if (match := pattern.fullmatch(message)) is not None:
            return build(match)
    return NOTHING
