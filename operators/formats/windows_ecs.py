"""Windows events in the Elastic Common Schema: Winlogbeat 7 and later, Elastic Agent; nested or dotted keys.

``host.name`` may be the collector's where events are forwarded; ``winlog.computer_name`` is the host's.
Winlogbeat's Sysmon module moves event data to ECS fields; they are read back from there.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import msgspec

from state.events import Event, Fields

from . import tolerant, windows
from .base import Format, Malformed, Position, WrongShape
from .times import from_iso

#: Where Winlogbeat's Sysmon and Security modules put what Sigma rules call by the event's own names.
MOVED: dict[str, str] = {
    "process.executable": "Image",
    "process.command_line": "CommandLine",
    "process.working_directory": "CurrentDirectory",
    "process.pid": "ProcessId",
    "process.entity_id": "ProcessGuid",
    "process.parent.executable": "ParentImage",
    "process.parent.command_line": "ParentCommandLine",
    "process.parent.pid": "ParentProcessId",
    "process.pe.original_file_name": "OriginalFileName",
    "file.path": "TargetFilename",
    "registry.path": "TargetObject",
    "source.ip": "SourceIp",
    "source.port": "SourcePort",
    "destination.ip": "DestinationIp",
    "destination.port": "DestinationPort",
    "destination.domain": "DestinationHostname",
    "dns.question.name": "QueryName",
    "user.name": "User",
}


class User(msgspec.Struct, gc=False):
    """ECS user."""

    name: str = ""


class Process(msgspec.Struct, gc=False):
    """ECS process."""

    executable: str = ""
    command_line: str = ""


class Side(msgspec.Struct, gc=False):
    """ECS source or destination."""

    ip: str = ""
    port: int = 0


class Question(msgspec.Struct, gc=False):
    """ECS dns.question."""

    name: str = ""


class Dns(msgspec.Struct, gc=False):
    """ECS dns."""

    question: Question | None = None


class Code(msgspec.Struct, gc=False):
    """ECS event."""

    code: int | str | None = None


class HostName(msgspec.Struct, gc=False):
    """ECS host."""

    name: str | None = None


class Winlog(msgspec.Struct, gc=False):
    """Winlogbeat's own part."""

    essential: ClassVar[frozenset[str]] = frozenset({"computer_name", "channel", "event_id"})

    channel: str = ""
    computer_name: str | msgspec.UnsetType | None = msgspec.UNSET
    event_id: int | str | None = None
    event_data: windows.EventData | None = None
    user_data: windows.EventData | None = None
    user: User | None = None


class Ecs(msgspec.Struct, kw_only=True, gc=False):
    """What is read of the message."""

    essential: ClassVar[frozenset[str]] = frozenset({"@timestamp", "winlog"})

    winlog: Winlog
    timestamp: str | None = msgspec.field(name="@timestamp", default=None)
    event: Code | None = None
    host: HostName | None = None
    process: Process | None = None
    source: Side | None = None
    destination: Side | None = None
    dns: Dns | None = None
    user: User | None = None


class WindowsEcs(Format):
    """Decode Winlogbeat 7+ and Elastic Agent messages."""

    name: ClassVar[str] = "windows_ecs"
    rank: ClassVar[int] = 22
    verbatim: ClassVar[bool] = True
    marker: ClassVar[bytes] = b'"winlog"'

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Ecs)

    def sniff(self, raw: bytes) -> bool:
        """Return whether an unescaped key ``winlog`` or ``winlog.…`` stands in the line."""
        return raw.find(b'"winlog"') >= 0 or b'"winlog.' in raw

    def decode(self, raw: bytes, at: Position) -> Event:
        """Return the event."""
        try:
            record = self._decoder.decode(raw)
        except msgspec.ValidationError:
            record = tolerant.coerce(Ecs, _nested(tolerant.parse(raw)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise tolerant.malformed(error) from error
        log = record.winlog
        code = log.event_id if log.event_id is not None else record.event.code if record.event is not None else None
        if code is None or not log.channel:
            raise WrongShape("no event id or channel")
        if isinstance(code, str):
            if not code.isdecimal() or len(code) > 9:
                raise Malformed("bad_type", f"event id is {code[:40]!r}")
            code = int(code)
        host = log.computer_name
        if host is msgspec.UNSET and record.host is not None:
            host = record.host.name
        if host is None or host is msgspec.UNSET:
            raise Malformed("missing_host", "winlog.computer_name is null" if host is None else "no computer name")
        if not record.timestamp:
            raise Malformed("missing_time", "no @timestamp")
        data = log.event_data or log.user_data or windows.EventData()
        _move(record, data)
        user = log.user.name if log.user is not None else record.user.name if record.user is not None else ""
        time = from_iso(record.timestamp, at.zone)
        return windows.to_event(raw, at, self.name, time, at.hosts.name(host), log.channel, code, data, user)

    def fields(self, event: Event) -> Fields:
        """Return ``winlog.event_data.*`` under plain names, the header under Sigma's, and all original keys dotted."""
        flat = tolerant.flatten(cast("dict[str, Any]", tolerant.whole(event.raw)))
        fields = dict(flat)
        for key, value in flat.items():
            for prefix in ("winlog.event_data.", "winlog.user_data."):
                if key.startswith(prefix):
                    fields[key.removeprefix(prefix)] = value
        for key, name in MOVED.items():
            if key in flat:
                fields.setdefault(name, flat[key])
        fields["EventID"] = event.kind.code
        fields["Channel"] = flat.get("winlog.channel")
        fields["Computer"] = fields["Hostname"] = flat.get("winlog.computer_name", flat.get("host.name"))
        fields["Provider_Name"] = flat.get("winlog.provider_name", flat.get("event.provider"))
        fields.setdefault("Message", flat.get("message"))
        return fields


def _move(record: Ecs, data: windows.EventData) -> None:
    """Fill what the event data lack from the ECS fields."""
    if record.process is not None:
        if not (data.Image or data.NewProcessName or data.ProcessName):
            data.Image = record.process.executable
        data.CommandLine = data.CommandLine or record.process.command_line
    if record.source is not None and not (data.SourceIp or data.SourceAddress or data.IpAddress):
        data.SourceIp, data.SourcePort = record.source.ip, record.source.port
        if record.destination is not None:
            data.DestinationIp, data.DestinationPort = record.destination.ip, record.destination.port
    if record.dns is not None and record.dns.question is not None:
        data.QueryName = data.QueryName or record.dns.question.name


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Return dotted keys as nested objects; where both forms clash, the nested one stays."""
    if not any("." in key for key in flat):
        return flat
    nested: dict[str, Any] = {key: value for key, value in flat.items() if "." not in key}
    for key, value in flat.items():
        *path, last = key.split(".")
        inner: Any = nested
        for part in path:
            inner = inner.setdefault(part, {}) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner.setdefault(last, value)
    return nested
