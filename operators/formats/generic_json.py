"""Any other JSON object, read by a settable mapping of keys (``FormatSettings.json_mapping``)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar, cast

from state.events import Event, Fields, Kind

from . import tolerant
from .base import Format, Malformed, Position, bounded, count, port
from .hosts import NOWHERE, Address
from .kinds import kind, slug
from .times import from_stamp
from .windows import POWERSHELL

#: ECS event categories; others are not believed.
CATEGORIES = frozenset(
    [
        "api",
        "authentication",
        "configuration",
        "database",
        "driver",
        "email",
        "file",
        "host",
        "iam",
        "intrusion_detection",
        "library",
        "malware",
        "network",
        "package",
        "process",
        "registry",
        "session",
        "threat",
        "vulnerability",
        "web",
    ]
)
#: Words in an event type that tell its category, the first that occurs counts.
WORDS: tuple[tuple[str, str], ...] = (
    ("alert", "intrusion_detection"),
    ("intrusion", "intrusion_detection"),
    ("malware", "malware"),
    ("virus", "malware"),
    ("ransom", "malware"),
    ("login", "authentication"),
    ("logon", "authentication"),
    ("logout", "session"),
    ("logoff", "session"),
    ("auth", "authentication"),
    ("password", "authentication"),
    ("session", "session"),
    ("privilege", "iam"),
    ("user", "iam"),
    ("account", "iam"),
    ("http", "web"),
    ("web", "web"),
    ("sql", "database"),
    ("database", "database"),
    ("dns", "network"),
    ("network", "network"),
    ("connection", "network"),
    ("traffic", "network"),
    ("flow", "network"),
    ("scan", "network"),
    ("firewall", "network"),
    ("exfil", "network"),
    ("email", "email"),
    ("phish", "email"),
    ("file", "file"),
    ("data", "file"),
    ("registry", "registry"),
    ("process", "process"),
    ("command", "process"),
    ("config", "configuration"),
    ("policy", "configuration"),
    ("vulnerab", "vulnerability"),
    ("threat", "threat"),
)
GOOD = frozenset(
    [
        "success",
        "succeeded",
        "successful",
        "ok",
        "allowed",
        "accepted",
        "granted",
        "true",
        "pass",
        "passed",
    ]
)
BAD = frozenset(["failure", "failed", "fail", "error", "denied", "blocked", "rejected", "refused", "false"])
#: Actions under the names that the other formats use.
SAME = {"dns": "dns-query", "http": "http-request", "flow": "connection", "process": "process-created"}

_ABSENT: Any = object()


class GenericJson(Format):
    """Decode JSON objects of no known product."""

    name: ClassVar[str] = "json"
    rank: ClassVar[int] = 95
    verbatim: ClassVar[bool] = True

    def sniff(self, raw: bytes) -> bool:
        """Return whether the line begins as JSON."""
        return raw[:16].lstrip()[:1] in (b"{", b"[", b'"')

    def decode(self, raw: bytes, at: Position) -> Event:
        """Return the event."""
        data = tolerant.parse(raw)
        paths = at.json_paths
        stamp = _get(data, paths["time"])
        if stamp is _ABSENT or stamp is None or stamp == "":
            raise Malformed("missing_time", "none of the time keys" if stamp is _ABSENT else "time is null or empty")
        time = from_stamp(stamp, at.zone)
        host = _host(data, at)
        source, target = _address(data, "source_ip", at), _address(data, "destination_ip", at)
        process = _text(data, paths["process"])
        text, text_kind = _classifiable(data, at, process)
        return Event(
            at.origin,
            at.offset,
            time,
            host,
            _kind(data, at),
            raw,
            "json",
            _text(data, paths["user"]),
            source.ip,
            port(_get(data, paths["source_port"])),
            target.ip,
            port(_get(data, paths["destination_port"])),
            process,
            text,
            text_kind,
            _count(data, paths["source_bytes"]),
            _count(data, paths["destination_bytes"]),
            "",
            host == target.host != source.host,
        )

    def fields(self, event: Event) -> Fields:
        """Return nested objects as dotted keys; lists stay lists."""
        return tolerant.flatten(cast("dict[str, Any]", tolerant.whole(event.raw)))


def _get(data: dict[str, Any], paths: tuple[tuple[str, tuple[str, ...]], ...]) -> Any:
    """Return the value of the first path that is present and no object; null counts as present."""
    for path, parts in paths:
        value: Any = data.get(path, _ABSENT)
        if value is _ABSENT:
            if len(parts) == 1 or parts[0] not in data:
                continue
            value = data
            for part in parts:
                value = value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT
        if value is not _ABSENT and not isinstance(value, dict):
            return value
    return _ABSENT


def _host(data: dict[str, Any], at: Position) -> str:
    value = _get(data, at.json_paths["host"])
    if value is _ABSENT:
        if at.default_host:
            return at.default_host
        raise Malformed("missing_host", "none of the host keys, and the stream has no default host")
    if value is None:
        raise Malformed("missing_host", "host is null")
    if not isinstance(value, str):
        raise Malformed("bad_type", f"host is of type {type(value).__name__}")
    return at.hosts.name(value)


def _address(data: dict[str, Any], name: str, at: Position) -> Address:
    value = _get(data, at.json_paths[name])
    if value is _ABSENT or value is None:
        return NOWHERE
    if isinstance(value, list) and value and isinstance(value[0], str):
        value = value[0]
    if not isinstance(value, str):
        raise Malformed("bad_type", f"{name} is of type {type(value).__name__}")
    return at.hosts.address(value)


def _text(data: dict[str, Any], paths: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    """Return a text, a number as text, anything else as empty."""
    value = _get(data, paths)
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return bounded(str(value))


def _count(data: dict[str, Any], paths: tuple[tuple[str, tuple[str, ...]], ...]) -> int:
    value = _get(data, paths)
    return count(value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _classifiable(data: dict[str, Any], at: Position, process: str) -> tuple[str, str]:
    if text := _text(data, at.json_paths["command_line"]):
        return text, "powershell" if process.lower().endswith(POWERSHELL) else "shell"
    if text := _text(data, at.json_paths["url"]):
        return text, "http"
    if text := _text(data, at.json_paths["dns"]):
        return text, "dns"
    return "", ""


def _kind(data: dict[str, Any], at: Position) -> Kind:
    rule = data.get("rule")
    if type(rule) is dict and "id" in rule and "level" in rule:
        return kind("json.wazuh", "intrusion_detection", "alert")
    paths = at.json_paths
    return _told_kind(*(_text(data, paths[name])[:256] for name in ("dataset", "action", "category", "outcome")))


@lru_cache(maxsize=4_096)
def _told_kind(dataset: str, action: str, category: str, told: str) -> Kind:
    dataset = slug(dataset, "generic", also="._")
    action = slug(action, "event")
    words = f"{dataset} {action}"
    category, told = category.lower(), told.lower()
    if category not in CATEGORIES:
        category = next((c for word, c in WORDS if word in words), "host")
    outcome = "success" if told in GOOD else "failure" if told in BAD else "unknown"
    if outcome == "unknown":
        outcome = "failure" if "fail" in words or "denied" in words else "success" if "success" in words else "unknown"
    if category == "authentication" and outcome != "unknown" and ("log" in action or "auth" in action):
        action = "logon-failed" if outcome == "failure" else "logon-succeeded"
    return kind("json." + dataset, category, SAME.get(action, action), outcome)
