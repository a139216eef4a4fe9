"""Apache's access logs (Common, Combined, with virtual host; nginx writes the same) and error logs."""

from __future__ import annotations

import re
from datetime import UTC
from typing import ClassVar, cast
from zoneinfo import ZoneInfo

from state.events import Event, Fields

from .base import Format, Malformed, Position, WrongShape, bounded, count, port, text_of
from .kinds import kind
from .times import MONTHS, from_iso, moment

_QUOTED = r'(?:[^"\\]++|\\.)*+'
_ACCESS = re.compile(
    r"(?:(?P<vhost>[^\s:]+):(?P<vport>\d+) )?(?P<client>\S+) (?P<ident>\S+) (?P<user>.{1,256}?) "
    r"\[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    rf'"(?P<request>{_QUOTED})" (?P<status>\d{{3}}) (?P<bytes>\d+|-)'
    rf'(?: "(?P<referer>{_QUOTED})" "(?P<agent>{_QUOTED})")?.*',
    re.ASCII | re.DOTALL,
)
_ERROR = re.compile(
    r"\[[A-Z][a-z]{2} (?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,6}))? "
    r"(?P<year>\d{4})\] \[(?:(?P<module>[^\]:]*):)?(?P<level>[^\]:]+)\]"
    r"(?: \[pid (?P<pid>\d+)(?::tid (?P<tid>\d+))?\])?"
    r"(?: (?P<code>\(\d+\)[^\[]*?:))?"
    r"(?: \[client (?P<client>[^\]]+)\])? (?P<message>.*)",
    re.ASCII | re.DOTALL,
)
_REQUEST = re.compile(r"(?P<method>[A-Z][A-Z_-]*) (?P<uri>.*?)(?: (?P<version>HTTP/[\d.]+))?", re.ASCII | re.DOTALL)
_SNIFF = re.compile(rb'[^"\[\]{]{3,400}\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:|\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:')


class Apache(Format):
    """Decode Apache logs. Their lines name no host: they belong to the stream's default host."""

    name: ClassVar[str] = "apache"
    rank: ClassVar[int] = 50

    def sniff(self, raw: bytes) -> bool:
        """Return whether the line begins as an error log's, or has an access log's time before any quote."""
        return _SNIFF.match(raw, 0, 512) is not None

    def decode(self, raw: bytes, at: Position) -> Event:
        """Return the event."""
        line = text_of(raw)
        access = _ACCESS.fullmatch(line)
        error = _ERROR.fullmatch(line) if access is None else None
        if access is None and error is None:
            raise WrongShape("neither an access nor an error log line")
        if not at.default_host:
            raise Malformed("missing_host", "the log names no host, and the stream has no default host")
        return _access(access, raw, at) if access is not None else _error(cast("re.Match[str]", error), raw, at)

    def fields(self, event: Event) -> Fields:
        """Return an access line in Sigma's web server taxonomy, an error line by its parts."""
        line = text_of(event.raw)
        error = _ERROR.fullmatch(line)
        if event.kind.source == "apache.error" and error is not None:
            fields: Fields = {k: error[k] for k in ("level", "module", "message") if error[k] is not None}
            for key in ("pid", "tid"):
                if error[key] is not None:
                    fields[key] = int(error[key][:18])
            if error["client"] is not None:
                fields["c-ip"] = event.source_ip or error["client"]
            return fields
        access = _ACCESS.fullmatch(line)
        if access is None:  # cannot be: decode matched it
            return {}
        fields = {
            "c-ip": access["client"],
            "cs-username": access["user"],
            "cs-user-agent": access["agent"],
            "cs-referer": access["referer"],
            "cs-host": access["vhost"],
            "sc-status": int(access["status"]),
            "sc-bytes": None if access["bytes"] == "-" else int(access["bytes"][:18]),
            "request": access["request"],
        }
        request = _REQUEST.fullmatch(access["request"])
        if request is not None:
            stem, _, query = request["uri"].partition("?")
            fields.update({"cs-method": request["method"], "c-uri": request["uri"], "cs-version": request["version"]})
            fields.update({"cs-uri-stem": stem, "cs-uri-query": query, "c-uri-query": query, "cs-uri": request["uri"]})
        return {k: v for k, v in fields.items() if v is not None}


def _access(match: re.Match[str], raw: bytes, at: Position) -> Event:
    stamp = match["time"]
    month = MONTHS.get(stamp[3:6].lower())
    if month is None:
        raise Malformed("bad_time", f"no month: {stamp[3:6]}")
    time = from_iso(f"{stamp[7:11]}-{month:02}-{stamp[:2]}T{stamp[12:20]}{stamp[21:]}", UTC)
    source = at.hosts.address(match["client"])
    request = _REQUEST.fullmatch(match["request"])
    uri = request["uri"] if request is not None else match["request"]
    outcome = "success" if match["status"] < "400" else "failure"
    user = match["user"]
    return Event(
        at.origin,
        at.offset,
        time,
        at.default_host,
        kind("apache.access", "web", "http-request", outcome),
        raw,
        "apache",
        "" if user in ("-", '""') else user,
        source.ip,
        0,
        "",
        port(match["vport"]),
        "",
        bounded(uri),
        "http" if uri else "",
        0,
        0 if match["bytes"] == "-" else count(int(match["bytes"][:18])),
        inbound=True,
    )


def _error(match: re.Match[str], raw: bytes, at: Position) -> Event:
    month = MONTHS.get(match["month"].lower())
    if month is None:
        raise Malformed("bad_time", f"no month: {match['month']}")
    clock = match["clock"]
    time = _moment(int(match["year"]), month, int(match["day"]), clock, at.zone)
    if match["fraction"]:
        time += int(match["fraction"].ljust(6, "0"))
    client, number = match["client"] or "", ""
    if client.count(":") == 1 or client.startswith("["):
        client, _, number = client.rpartition(":")
    source = at.hosts.address(client.strip("[]")) if client else None
    outcome = "failure" if match["level"] in ("error", "crit", "alert", "emerg") else "unknown"
    return Event(
        at.origin,
        at.offset,
        time,
        at.default_host,
        kind("apache.error", "web", "server-error" if outcome == "failure" else "server-message", outcome),
        raw,
        "apache",
        source_ip=source.ip if source is not None else "",
        source_port=port(number),
        inbound=True,
    )


def _moment(year: int, month: int, day: int, clock: str, zone: ZoneInfo) -> int:
    return moment(year, month, day, int(clock[:2]), int(clock[3:5]), int(clock[6:]), zone)
