"""Which events a rule's log source means, decided from the event's Kind.

A log source becomes routes: a predicate on the Kind, and the fields that Sigma names otherwise than the format does.
A log source without a route is one that no format yields; its rules compile but can never match.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

import msgspec

from analyzers.rules import linux, windows
from analyzers.rules.rule import LogSource
from analyzers.rules.view import Alias, Aliases
from state.events import Fields, Kind


class Accepts(msgspec.Struct, frozen=True, eq=False):
    """Which kinds of event a route takes: a test, and the same in words."""

    test: Callable[[Kind], bool]
    #: What is wanted, for people: ``channel Security, event id 4688``.
    wants: str

    def __call__(self, kind: Kind) -> bool:
        """Return whether events of the kind are taken."""
        return self.test(kind)


class Route(msgspec.Struct, frozen=True, eq=False):
    """One kind of event that a log source means."""

    #: What it is, for people: ``Security 4688 as process_creation``.
    name: str
    accepts: Accepts
    aliases: Aliases = {}
    #: What else must hold of the event's fields, where the Kind does not tell enough, and which fields tell it.
    holds: Callable[[Fields], bool] | None = None
    needs: tuple[str, ...] = ()


def routes(logsource: LogSource) -> tuple[Route, ...]:
    """Return the routes of a log source; none if no format yields it."""
    product, category, service = (part.lower() for part in (logsource.product, logsource.category, logsource.service))
    found: list[Route] = []
    if product in ("", "windows"):
        found += _windows(category, service, named=product == "windows")
    if product in ("", "linux") and not category:
        found += _linux(service, named=product == "linux")
    if product in ("", "linux"):
        found += _linux_sysmon(category, service)
    if product in ("zeek", "suricata") and not category:
        found += _sensor(product, service)
    if category and not service:
        found += [route for source, route in _GENERIC.get(category, ()) if product in ("", source.partition(".")[0])]
    if not category and product in ("", "apache", "nginx") and (service or product) in ("apache", "nginx"):
        found.append(
            Route(f"{service or product} logs", _source(f"{service or product}.", f"linux.{service or product}"))
        )
    return tuple(found)


def _channel(channels: Sequence[str], codes: Sequence[int] = ()) -> Accepts:
    wanted = frozenset(channel.casefold() for channel in channels)
    ids = frozenset(codes)
    words = f"channel {' or '.join(channels)}"
    if codes:
        words += f", event id {' or '.join(map(str, codes))}"
    return Accepts(lambda kind: kind.channel.casefold() in wanted and (not ids or kind.code in ids), words)


def _source(*names: str) -> Accepts:
    """Accept source types by full name, or by prefix where the name ends in a dot."""
    exact = frozenset(name for name in names if not name.endswith("."))
    prefixes = tuple(name for name in names if name.endswith("."))
    return Accepts(
        lambda kind: kind.source in exact or bool(prefixes and kind.source.startswith(prefixes)),
        f"source {' or '.join(f'{name}*' if name.endswith('.') else name for name in names)}",
    )


def _field(*names: str) -> Alias:
    """Return the first of the named fields that the event has."""

    def first(fields: Fields) -> object:
        for name in names:
            value = fields.get(name)
            if value is not None:
                return value
        return None

    return Alias(names, first, renames=len(names) == 1, verbatim=True)


def _aliases(names: Mapping[str, str | tuple[str, ...] | Alias]) -> Aliases:
    return {
        name.casefold(): _field(source)
        if isinstance(source, str)
        else _field(*source)
        if isinstance(source, tuple)
        else source
        for name, source in names.items()
    }


# ---------------------------------------------------------------------------------------------------------- Windows

#: Security 4688 in the words of Sysmon 1. ``ProcessId`` there is the parent's.
_PROCESS_4688 = _aliases(
    {
        "Image": "NewProcessName",
        "ParentImage": "ParentProcessName",
        "ProcessId": "NewProcessId",
        "ParentProcessId": "ProcessId",
        "LogonId": "SubjectLogonId",
        "User": Alias(windows.CREATED_BY, windows.created_by),
        "IntegrityLevel": Alias(("MandatoryLabel",), windows.integrity),
    }
)
#: Classic PowerShell logs hold all in ``Data``; NXLog drops the name and leaves the rendered message.
_CLASSIC = _aliases({"Data": ("Data", "Message")})
_ANTIVIRUS = _aliases(
    {
        "Signature": ("Threat Name", "ThreatName", "Threat_Name"),
        "Filename": ("Path",),
        "Action": ("Action Name", "ActionName", "Action_Name"),
    }
)
_DEFENDER = _aliases(
    {
        "ThreatName": ("ThreatName", "Threat Name", "Threat_Name"),
        "ProcessName": ("ProcessName", "Process Name", "Process_Name"),
        "NewValue": ("NewValue", "New Value", "New_Value"),
        "OldValue": ("OldValue", "Old Value", "Old_Value"),
        "Feature_Name": ("Feature_Name", "Feature Name", "FeatureName"),
        "SourceName": ("SourceName", "Provider_Name"),
    }
)


def _windows(category: str, service: str, *, named: bool) -> list[Route]:
    found: list[Route] = []
    if category in windows.SYSMON_CATEGORIES:
        route = Route(f"Sysmon as {category}", _channel((windows.SYSMON,), windows.SYSMON_CATEGORIES[category]))
        if category in windows.REGISTRY_TYPES:
            holds = _event_type(windows.REGISTRY_TYPES[category])
            route = msgspec.structs.replace(route, holds=holds, needs=("EventType",))
        found.append(route)
    if category == "process_creation":
        found.append(Route("Security 4688 as process_creation", _channel(("Security",), (4688,)), _PROCESS_4688))
    if category in windows.OTHER_CATEGORIES:
        channels, codes = windows.OTHER_CATEGORIES[category]
        aliases = _CLASSIC if channels == windows.CLASSIC_POWERSHELL else {}
        found.append(Route(f"PowerShell as {category}", _channel(channels, codes), aliases))
    if category == "antivirus":
        found.append(
            Route("Defender detections", _channel((windows.DEFENDER,), windows.DEFENDER_DETECTIONS), _ANTIVIRUS)
        )
    if service and service in windows.SERVICES:
        channels = windows.SERVICES[service]
        inside = _channel(channels)
        if category:
            return [
                msgspec.structs.replace(r, name=f"{r.name} in {service}", accepts=_both(r.accepts, inside))
                for r in found
            ]
        aliases = _CLASSIC if service == "powershell-classic" else _DEFENDER if service == "windefend" else {}
        return [Route(f"Windows {service}", inside, aliases)]
    if service:
        return []
    if not category and named:
        anything = Accepts(
            lambda kind: (
                kind.source.startswith("windows.") or (bool(kind.channel) and kind.source != linux.SYSMON_SOURCE)
            ),
            "source windows.*",
        )
        return [Route("any Windows event", anything)]
    return found


def _both(first: Accepts, second: Accepts) -> Accepts:
    return Accepts(lambda kind: first(kind) and second(kind), f"{first.wants}, and {second.wants}")


def _event_type(prefix: str) -> Callable[[Fields], bool]:
    """Hold unless the event says that it is of another type."""

    def holds(fields: Fields) -> bool:
        value = fields.get("EventType")
        # NXLog puts its own EventType (INFO) where an agent leaves Sysmon's out.
        if not isinstance(value, str) or value.isupper():
            return True
        return value.casefold().startswith(prefix)

    return holds


# ------------------------------------------------------------------------------------------------------------ Linux


def _linux_sysmon(category: str, service: str) -> list[Route]:
    """Return the route of a category that Sysmon for Linux serves; its events have the ids that Sysmon's have."""
    codes = [code for code in windows.SYSMON_CATEGORIES.get(category, ()) if code in linux.SYSMON_CODES]
    if not codes or service not in ("", "sysmon"):
        return []
    return [Route(f"Sysmon for Linux as {category}", _channel((linux.SYSMON,), codes))]


def _linux(service: str, *, named: bool) -> list[Route]:
    if not named and service not in ("sshd", "sudo", "cron", "vsftpd", "auth", "syslog"):
        return []
    if service == "":
        return [Route("syslog", _source("linux.")), Route("Linux audit", _source("auditd."))]
    if service == "syslog":
        return [Route("syslog", _source("linux."))]
    if service == "auth":
        auth = ("authentication", "iam", "session")
        return [
            Route(
                "syslog of authentication",
                Accepts(
                    lambda kind: (
                        kind.source in linux.AUTH_PROGRAMS
                        or (kind.source.startswith("linux.") and kind.category in auth)
                    ),
                    "source linux.* of category authentication, iam or session, or of a program that lets users in",
                ),
            )
        ]
    if service == "auditd":  # The daemon's own messages in syslog are no records, and rules do not mean them.
        return [Route("Linux audit", _source("auditd."))]
    programs = linux.PROGRAMS.get(service, (service,))
    return [Route(f"syslog of {service}", _source(*(f"linux.{program}" for program in programs)))]


# ---------------------------------------------------------------------------------------- Sensors, web, DNS, firewall


def _url(host: str, uri: str) -> Alias:
    """Return the request's path and query, and the whole URL: Sigma's ``c-uri`` is written both ways."""

    def urls(fields: Fields) -> object:
        path, name = fields.get(uri), fields.get(host)
        if not isinstance(path, str):
            return path
        return [path, f"http://{name}{path}"] if isinstance(name, str) and path.startswith("/") else path

    return Alias((host, uri), urls)


def _stem(uri: str) -> Alias:
    def stem(fields: Fields) -> object:
        value = fields.get(uri)
        return value.partition("?")[0] if isinstance(value, str) else None

    return Alias((uri,), stem)


def _extension(uri: str) -> Alias:
    def extension(fields: Fields) -> object:
        value = fields.get(uri)
        if not isinstance(value, str):
            return None
        try:
            name = urlsplit(value).path.rpartition("/")[2]
        except ValueError:
            return None
        return name.rpartition(".")[2] if "." in name else None

    return Alias((uri,), extension)


def _web(uri: str, host: str, more: Mapping[str, str | tuple[str, ...] | Alias]) -> Aliases:
    return _aliases(
        {
            "c-uri": _url(host, uri),
            "cs-uri": _url(host, uri),
            # Rules write path and query together here, as IIS and proxies log them.
            "cs-uri-query": uri,
            "c-uri-query": uri,
            "cs-uri-stem": _stem(uri),
            "c-uri-stem": _stem(uri),
            "c-uri-extension": _extension(uri),
            "cs-host": host,
            "r-dns": host,
            **more,
        }
    )


_ZEEK_HTTP = _web(
    "uri",
    "host",
    {
        "cs-method": "method",
        "sc-status": "status_code",
        "cs-user-agent": "user_agent",
        "c-useragent": "user_agent",
        "cs-referer": "referrer",
        "cs-referrer": "referrer",
        "cs-username": "username",
        "c-ip": "id.orig_h",
        "src_ip": "id.orig_h",
        "dst_ip": "id.resp_h",
    },
)
_SURICATA_HTTP = _web(
    "http.url",
    "http.hostname",
    {
        "cs-method": "http.http_method",
        "sc-status": "http.status",
        "cs-user-agent": "http.http_user_agent",
        "c-useragent": "http.http_user_agent",
        "cs-referer": "http.http_refer",
        "cs-referrer": "http.http_refer",
        "cs-content-type": "http.http_content_type",
        "c-ip": "src_ip",
        "dst_ip": "dest_ip",
    },
)
#: Apache's fields come in Sigma's own words; the query alone does not hold the path that rules expect with it.
_APACHE = _aliases(
    {
        "cs-uri-query": ("c-uri", "cs-uri-query"),
        "c-uri-query": ("c-uri", "cs-uri-query"),
        "cs-uri": ("c-uri", "cs-uri-stem"),
        "c-uri-stem": "cs-uri-stem",
        "c-uri-extension": _extension("c-uri"),
        "c-useragent": "cs-user-agent",
        "cs-referrer": "cs-referer",
        "src_ip": "c-ip",
    }
)
_ZEEK_DNS = _aliases(
    {
        "record_type": "qtype_name",
        "answer": "answers",
        "src_ip": "id.orig_h",
        "dst_ip": "id.resp_h",
        "QueryName": "query",
    }
)
_SURICATA_DNS = _aliases(
    {
        "query": ("dns.rrname", "dns.queries.rrname", "dns.query.rrname"),
        "record_type": ("dns.rrtype", "dns.queries.rrtype", "dns.query.rrtype"),
        "answer": ("dns.rdata", "dns.answers.rdata", "dns.grouped.A"),
        "dst_ip": "dest_ip",
    }
)
_ZEEK_CONN = _aliases(
    {
        "src_ip": "id.orig_h",
        "dst_ip": "id.resp_h",
        "src_port": "id.orig_p",
        "dst_port": "id.resp_p",
        "protocol": "proto",
    }
)
_SURICATA_FLOW = _aliases(
    {"dst_ip": "dest_ip", "dst_port": "dest_port", "protocol": "proto", "action": ("flow.action", "alert.action")}
)

_WEB = (
    ("apache.access", Route("Apache access log", _source("apache.access"), _APACHE)),
    ("zeek.http", Route("Zeek http", _source("zeek.http"), _ZEEK_HTTP)),
    ("suricata.http", Route("Suricata http", _source("suricata.http"), _SURICATA_HTTP)),
)
#: Routes of the categories that no product owns, by the source type that serves them.
_GENERIC: dict[str, tuple[tuple[str, Route], ...]] = {
    "webserver": _WEB,
    "proxy": _WEB[1:],
    "dns": (
        ("zeek.dns", Route("Zeek dns", _source("zeek.dns"), _ZEEK_DNS)),
        ("suricata.dns", Route("Suricata dns", _source("suricata.dns"), _SURICATA_DNS)),
    ),
    "firewall": (
        ("zeek.conn", Route("Zeek conn", _source("zeek.conn"), _ZEEK_CONN)),
        ("suricata.flow", Route("Suricata flow", _source("suricata.flow"), _SURICATA_FLOW)),
    ),
}


def _sensor(product: str, service: str) -> list[Route]:
    aliases = _ZEEK_HTTP if (product, service) == ("zeek", "http") else {}
    return [Route(f"{product} {service}".strip(), _source(f"{product}.{service}"), aliases)]
