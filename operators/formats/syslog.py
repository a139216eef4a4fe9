"""Syslog, RFC 3164 (with and without priority) and RFC 5424. ``syslog_messages`` parses what known programs say."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import ClassVar, NamedTuple

from state.events import Event, Fields

from .base import Format, Malformed, Position, WrongShape, bounded, text_of
from .kinds import kind, slug
from .syslog_messages import PROGRAMS, Parsed, parse
from .times import MONTHS, from_iso, moment, yearless

_OLD = re.compile(
    r"(?:<(\d{1,3})>)?"
    r"(?:(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2})(?: (?P<year>\d{4}))? (?P<clock>\d\d:\d\d:\d\d)(?:\.\d{1,9})?"
    r"|(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S{0,20}))"
    r":? (?P<rest>.*)",
    re.ASCII | re.DOTALL,
)
_TAG = re.compile(r"(?P<program>[^\s:\[(]{1,64})(?P<module>\([^\s)]{0,64}\))?(?:\[(?P<pid>[^\]\s]{0,32})\])?:(?: |$)")
_NEW = re.compile(
    r"<(\d{1,3})>\d{1,2} (?P<time>\S+) (?P<host>\S+) (?P<program>\S+) (?P<pid>\S+) (?P<msgid>\S+) "
    r'(?P<data>-|(?:\[(?:[^\]"\\]++|\\.|"(?:[^"\\]++|\\.)*+")*+\])++)(?: (?P<message>.*))?',
    re.DOTALL,
)
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


class Line(NamedTuple):
    """The parts of a syslog line; empty where it has none."""

    priority: str
    stamp: tuple[str, ...]
    host: str
    program: str
    module: str
    pid: str
    message: str
    msgid: str = ""
    data: str = ""


class Syslog(Format):
    """Decode syslog lines."""

    name: ClassVar[str] = "syslog"
    rank: ClassVar[int] = 60

    def sniff(self, raw: bytes) -> bool:
        """Return whether the line begins with a priority, a month and day, or an ISO time."""
        head = raw[:24]
        if head[:1] == b"<":
            return head[1:4].partition(b">")[0].isdigit() or head[1:5].partition(b">")[0].isdigit()
        if head[:3].lower().decode("ascii", "replace") in MONTHS:
            return head[3:4] == b" " and head[4:6].strip().isdigit()
        return head[4:5] == b"-" and head[10:11] == b"T" and head[:4].isdigit()

    def decode(self, raw: bytes, at: Position) -> Event:
        """Return the event."""
        line = _split(text_of(raw))
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
        line = _split(text_of(event.raw))
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


def _split(text: str) -> Line | None:
    """Return the parts of the line, None if it is no syslog."""
    if text[:1] == "<" and (new := _NEW.fullmatch(text)) is not None:
        host, program, pid, msgid, data = (
            "" if new[k] == "-" else new[k] for k in ("host", "program", "pid", "msgid", "data")
        )
        message = (new["message"] or "").removeprefix("\ufeff")
        return Line(new[1], (new["time"],), host, program, "", pid, message, msgid, data)
    old = _OLD.fullmatch(text)
    if old is None:
        return None
    stamp = (old["iso"],) if old["iso"] else (old["month"], old["day"], old["year"] or "", old["clock"])
    rest = old["rest"]
    host, _, after = rest.partition(" ")
    if host.endswith(":") or "[" in host:  # the tag stands where the host should
        host, after = "", rest
    tag = _TAG.match(after)
    if tag is None:
        # "syslogd 1.4.1: restart.", "last message repeated 2 times"
        words = after.split(" ", 2)
        program = words[0] if len(words) > 1 and words[1].endswith(":") and words[0].isalnum() else ""
        return Line(old[1] or "", stamp, host, program, "", "", after)
    module = (tag["module"] or "").strip("()")
    return Line(old[1] or "", stamp, host, tag["program"], module, tag["pid"] or "", after[tag.end() :])


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
