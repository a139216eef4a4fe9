"""Windows events as Winlogbeat 6 ships them: ``computer_name``, ``log_name``, ``event_id``, ``event_data``.

``host.name`` and ``beat.hostname`` are the collector's and are never the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import msgspec

from state.events import Event, Fields, Kind

from . import projection, tolerant, windows
from .base import Format, Malformed, Position
from .times import from_iso
from .windows_kinds import classify

if TYPE_CHECKING:
    from analyzers.rules.shortcut import Message, Projector


UNSET = msgspec.UNSET
#: What holds event data; the later ones prevail.
PARTS = ("event_data", "user_data")
#: Sigma's names for what the header has.
HEADER = {
    "Channel": "log_name",
    "Computer": "computer_name",
    "Hostname": "computer_name",
    "Provider_Name": "source_name",
    "Message": "message",
    "Level": "level",
}


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


class Head(msgspec.Struct, gc=False):
    """What tells the kind."""

    event_id: int
    log_name: str


class WindowsWinlogbeat6(Format):
    """Decode Winlogbeat 6 messages."""

    name: ClassVar[str] = "windows_winlogbeat6"
    rank: ClassVar[int] = 21
    verbatim: ClassVar[bool] = True
    marker: ClassVar[bytes] = b'"log_name"'
    peeks: ClassVar[bool] = True

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Winlogbeat6)
        self._head = msgspec.json.Decoder(Head)

    def sniff(self, raw: bytes) -> bool:
        """Return whether unescaped ``log_name`` and ``event_id`` stand in the line."""
        return raw.find(b'"log_name"') >= 0 and raw.find(b'"event_id"') >= 0

    def peek(self, raw: bytes) -> Kind | None:
        """Return the kind that ``log_name`` and ``event_id`` tell."""
        if raw.find(b'"log_name"') < 0:
            return None
        try:
            head = self._head.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return classify(head.log_name, head.event_id) if 0 <= head.event_id <= 65_535 else None

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

    def project(self, names: Sequence[str]) -> Projector | None:
        """Return what decodes just the named fields: of the event data, else of the top level, else of the header."""
        if any(name in PARTS or "." in name for name in names):
            return None
        parts = projection.structure(names)
        sources = tuple(dict.fromkeys(HEADER[name] for name in names if name in HEADER))
        top = projection.structure((*names, *sources), dict.fromkeys(PARTS, parts))
        decode, values_of = msgspec.json.Decoder(top).decode, msgspec.structs.astuple
        header = [
            (place, len(names) + sources.index(HEADER[name])) for place, name in enumerate(names) if name in HEADER
        ]
        code = names.index("EventID") if "EventID" in names else -1
        count, own = len(names), len(names) + len(sources)

        def project(event: Message) -> tuple[object, ...]:
            record = values_of(decode(event.raw))
            values = list(record[:count])
            if any(type(value) is dict for value in values):
                raise TypeError("an object at the top level, which would be flattened")
            for part in record[own:]:
                if part is not UNSET:
                    for place, value in enumerate(values_of(part)):
                        if value is not UNSET:
                            values[place] = value
            for place, source in header:
                values[place] = None if record[source] is UNSET else record[source]
            if code >= 0:
                values[code] = event.kind.code
            return tuple(values)

        return project

    def fields(self, event: Event) -> Fields:
        """Return event data under their own names, the header under Sigma's, the rest dotted."""
        record = cast("dict[str, Any]", tolerant.whole(event.raw))
        data: Fields = {}
        for part in PARTS:
            if isinstance(record.get(part), dict):
                data.update(record.pop(part))
        return {
            **tolerant.flatten(record),
            **data,
            "EventID": event.kind.code,
            **{name: record.get(source) for name, source in HEADER.items()},
        }
