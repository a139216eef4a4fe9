"""Windows events as Winlogbeat 6 ships them: ``computer_name``, ``log_name``, ``event_id``, ``event_data``.

``host.name`` and ``beat.hostname`` are the collector's and are never the host.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import msgspec

from state.events import Event, Fields

from . import tolerant, windows
from .base import Format, Malformed, Position
from .times import from_iso


class Account(msgspec.Struct, gc=False):
    """Whoever the event's header names."""

    name: str = ""


class Winlogbeat6(msgspec.Struct, kw_only=True, gc=False):
    """What is read of the message."""

    essential: ClassVar[frozenset[str]] = frozenset({"computer_name", "log_name", "event_id", "@timestamp"})

    event_id: int
    log_name: str
    computer_name: str | msgspec.UnsetType | None = msgspec.UNSET
    timestamp: str | None = msgspec.field(name="@timestamp", default=None)
    event_data: windows.EventData | None = None
    user_data: windows.EventData | None = None
    user: Account | None = None


class WindowsWinlogbeat6(Format):
    """Decode Winlogbeat 6 messages."""

    name: ClassVar[str] = "windows_winlogbeat6"
    rank: ClassVar[int] = 21
    verbatim: ClassVar[bool] = True
    marker: ClassVar[bytes] = b'"log_name"'

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Winlogbeat6)

    def sniff(self, raw: bytes) -> bool:
        """Return whether unescaped ``log_name`` and ``event_id`` stand in the line."""
        return raw.find(b'"log_name"') >= 0 and raw.find(b'"event_id"') >= 0

    def decode(self, raw: bytes, at: Position) -> Event:
        """Return the event."""
        record = tolerant.decode(self._decoder, Winlogbeat6, raw)
        host = record.computer_name
        if host is None or host is msgspec.UNSET:
            raise Malformed("missing_host", "computer_name is null" if host is None else "no computer_name")
        if not record.timestamp:
            raise Malformed("missing_time", "no @timestamp")
        data = record.event_data or record.user_data or windows.EventData()
        user = record.user.name if record.user is not None else ""
        time = from_iso(record.timestamp, at.zone)
        return windows.to_event(
            raw, at, self.name, time, at.hosts.name(host), record.log_name, record.event_id, data, user
        )

    def fields(self, event: Event) -> Fields:
        """Return event data under their own names, the header under Sigma's, the rest dotted."""
        record = cast("dict[str, Any]", tolerant.whole(event.raw))
        data: Fields = {}
        for part in ("event_data", "user_data"):
            if isinstance(record.get(part), dict):
                data.update(record.pop(part))
        return {
            **tolerant.flatten(record),
            **data,
            "EventID": event.kind.code,
            "Channel": record.get("log_name"),
            "Computer": record.get("computer_name"),
            "Hostname": record.get("computer_name"),
            "Provider_Name": record.get("source_name"),
            "Message": record.get("message"),
            "Level": record.get("level"),
        }
