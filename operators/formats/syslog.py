"""Syslog, RFC 3164 (with and without priority) and RFC 5424. ``syslog_messages`` parses what known programs say."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import ClassVar

from state.events import Event, Fields

from .auditd_records import carries_record
from .base import Format, Malformed, Position, WrongShape, bounded, text_of
from .kinds import kind, slug
from .linux_sysmon import carries_event
from .syslog_lines import split
from .syslog_messages import PROGRAMS, Parsed, parse
from .times import MONTHS, from_iso, moment, yearless

_ELEMENT = re.compile(r'\[(?P<id>[^\s\]"]+)(?P<params>(?:[^\]"\\]++|\\.|"(?:[^"\\]++|\\.)*+")*+)\]')
_PARAM = re.compile(r'([^\s="]+)="((?:[^"\\]++|\\.)*+)"')
FACILITIES = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "audit",
    "alert",
    "clock",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
]
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


class Syslog(Format):
    """Decode syslog lines."""

    name: ClassVar[str] = "syslog"
    rank: ClassVar[int] = 60

    def sniff(self, raw: bytes) -> bool:
        """Return whether the line begins with a priority, a month and day, or an ISO time.

        One that carries an audit record or an event of Sysmon does not count: they have formats of their own.
        """
        if raw.find(b"audit(") >= 0 and carries_record(raw):
            return False
        if raw.find(b"Linux-Sysmon") >= 0 and carries_event(raw):
            return False
        head = raw[:24]
        if head[:1] == b"<":
            return head[1:4].partition(b">")[0].isdigit() or head[1:5].partition(b">")[0].isdigit()
        if head[:3].lower().decode("ascii", "replace") in MONTHS:
            return head[3:4] == b" " and head[4:6].strip().isdigit()
        return head[4:5] == b"-" and head[10:11] == b"T" and head[:4].isdigit()

    def decode(self, raw: bytes, at: Position) -> Event:
        """Return the event."""
        line = split(text_of(raw))
        if line is None:
            raise WrongShape("no syslog header")
        time = _time(line.stamp, at)
        if line.host:
            host = at.hosts.name(line.host)
        elif at.default_host:
            host = at.default_host
        else:
            raise Malformed("missing_host", "the line names no host, and the stream has no default host")
        program = slug(line.program.rpartition("/")[2] or "syslog", also="_.")
        parsed = parse(program, line.module, line.message)
        source = at.hosts.address(parsed.source_ip) if parsed.source_ip else None
        category = parsed.category or PROGRAMS.get(program, "host")
        return Event(
            at.origin,
            at.offset,
            time,
            host,
            kind("linux." + program, category, parsed.action or "log-message", parsed.outcome),
            raw,
            "syslog",
            parsed.user,
            source.ip if source is not None else "",
            parsed.source_port,
            "",
            0,
            parsed.process or line.program,
            bounded(parsed.text) if parsed.text else "",
            "shell" if parsed.text else "",
            inbound=source is not None,
        )

    def fields(self, event: Event) -> Fields:
        """Return the header's parts, the structured data as ``<id>.<name>``, and what the message was parsed into."""
        line = split(text_of(event.raw))
        if line is None:  # cannot be: decode split it
            return {}
        parsed: Parsed = parse(event.kind.source.removeprefix("linux."), line.module, line.message)
        fields: Fields = {
            "host": line.host or event.host,
            "program": line.program,
            "process": line.program,
            "message": line.message,
        }
        if line.pid:
            fields["pid"] = int(line.pid) if line.pid.isdecimal() and len(line.pid) < 19 else line.pid
        if line.module:
            fields["module"] = line.module
        if line.msgid:
            fields["msgid"] = line.msgid
        if line.priority:
            number = int(line.priority)
            fields["facility"] = FACILITIES[number // 8] if number // 8 < len(FACILITIES) else str(number // 8)
            fields["severity"] = SEVERITIES[number % 8]
        for element in _ELEMENT.finditer(line.data):
            for name, value in _PARAM.findall(element["params"]):
                fields[f"{element['id']}.{name}"] = re.sub(r'\\(["\\\]])', r"\1", value)
        fields.update(parsed.fields())
        return fields


def _time(stamp: tuple[str, ...], at: Position) -> int:
    if len(stamp) == 1:
        if stamp[0] == "-":
            raise Malformed("missing_time", "the time stamp is nil")
        return from_iso(stamp[0], at.zone)
    month, day, year, clock = stamp
    number = MONTHS.get(month.lower())
    if number is None:
        raise Malformed("bad_time", f"no month: {month}")
    hour, minute, second = int(clock[:2]), int(clock[3:5]), int(clock[6:])
    given = int(year) if year else at.settings.year
    if given:
        return moment(given, number, int(day), hour, minute, second, at.zone)
    return _yearless(number, int(day), hour, minute, second, at.zone, at.reference)


# A stream brings many lines of one second, and one broker time for a whole batch of them.
_yearless = lru_cache(maxsize=4_096)(yearless)
