"""Windows events converted from EVTX files: ``{System, EventData | UserData}``, bare or under ``event`` or ``Event``.

Attributes stand under ``#attributes`` (evtx_dump) or with ``@`` before their name (xmltodict).
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

import msgspec

from state.events import Event, Fields

from . import tolerant, windows
from .base import Format, Malformed, Position, WrongShape
from .times import from_iso


class Text(msgspec.Struct, gc=False):
    """An element with attributes and text."""

    text: int | str | None = msgspec.field(name="#text", default=None)


class TimeAttributes(msgspec.Struct, gc=False):
    """Attributes of TimeCreated."""

    SystemTime: str | None = None


class Created(msgspec.Struct, gc=False):
    """TimeCreated."""

    attributes: TimeAttributes | None = msgspec.field(name="#attributes", default=None)
    at_SystemTime: str | None = msgspec.field(name="@SystemTime", default=None)
    SystemTime: str | None = None


class System(msgspec.Struct, kw_only=True, gc=False):
    """The event's header."""

    essential: ClassVar[frozenset[str]] = frozenset({"Computer", "Channel", "EventID", "TimeCreated"})

    EventID: int | str | Text
    Channel: str = ""
    Computer: str | Text | msgspec.UnsetType | None = msgspec.UNSET
    TimeCreated: Created | str | None = None


class Data(windows.EventData, gc=False):
    """The event's data; converters that keep the XML as it is write a list of named ``Data`` elements."""

    Data: Any = None


class Inner(msgspec.Struct, kw_only=True, gc=False):
    """The event itself."""

    System: System
    EventData: Data | None = None
    UserData: Any = None


class Evtx(msgspec.Struct, gc=False):
    """The message, whichever way the event is wrapped."""

    event: Inner | None = None
    Event: Inner | None = None
    System: System | None = None
    EventData: Data | None = None
    UserData: Any = None


class WindowsEvtx(Format):
    """Decode events converted from EVTX."""

    name: ClassVar[str] = "windows_evtx"
    rank: ClassVar[int] = 15
    verbatim: ClassVar[bool] = True
    marker: ClassVar[bytes] = b'"System"'

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(Evtx)

    def sniff(self, raw: bytes) -> bool:
        """Return whether unescaped ``System``, ``EventID`` and ``Computer`` stand in the line."""
        return raw.find(b'"System"') >= 0 and raw.find(b'"EventID"') >= 0 and raw.find(b'"TimeCreated"') >= 0

    def decode(self, raw: bytes, at: Position) -> Event:
        """Return the event."""
        record = tolerant.decode(self._decoder, Evtx, raw)
        inner = record.event or record.Event
        system = inner.System if inner is not None else record.System
        if system is None:
            raise WrongShape("no System")
        body, user_data = (
            (inner.EventData, inner.UserData) if inner is not None else (record.EventData, record.UserData)
        )
        code = system.EventID.text if isinstance(system.EventID, Text) else system.EventID
        if isinstance(code, str) and code.isdecimal() and len(code) < 10:
            code = int(code)
        if not isinstance(code, int):
            raise Malformed("bad_type", "EventID is no number")
        host = system.Computer.text if isinstance(system.Computer, Text) else system.Computer
        if not isinstance(host, str):
            raise Malformed("missing_host", "Computer is null or missing")
        data: windows.EventData
        if body is not None and isinstance(body.Data, list | dict):
            data = tolerant.coerce(windows.EventData, _named(body.Data))
        elif body is not None:
            data = body
        elif isinstance(user_data, dict):
            data = tolerant.coerce(windows.EventData, _inside(user_data))
        else:
            data = windows.EventData()
        time = from_iso(_stamp(system.TimeCreated), at.zone)
        return windows.to_event(raw, at, self.name, time, at.hosts.name(host), system.Channel, code, data)

    def fields(self, event: Event) -> Fields:
        """Return event data under their own names and the header under Sigma's."""
        record = cast("dict[str, Any]", tolerant.whole(event.raw))
        inner = next((record[k] for k in ("event", "Event") if isinstance(record.get(k), dict)), record)
        system = inner["System"]
        fields: Fields = {}
        for key, value in system.items():
            if isinstance(value, dict):
                attributes = value.get("#attributes", value)
                if isinstance(attributes, dict):
                    fields.update({f"{key}_{k.lstrip('@')}": v for k, v in attributes.items() if k != "#text"})
            else:
                fields[key] = value
        fields["UserID"] = fields.get("Security_UserID")
        body = inner.get("EventData")
        if isinstance(body, dict):
            data = body.get("Data")
            named = _named(data) if isinstance(data, list | dict) else {}
            fields.update({k: _plain(v) for k, v in body.items() if not k.startswith(("#", "@"))})
            fields.update(named)
        if isinstance(inner.get("UserData"), dict):
            fields.update(_inside(inner["UserData"]))
        fields["EventID"] = event.kind.code
        fields["Channel"] = event.kind.channel
        fields["Computer"] = fields["Hostname"] = _plain(system.get("Computer"))
        fields.setdefault("Provider_Name", None)
        return fields


def _stamp(created: Created | str | None) -> str:
    stamp = created
    if isinstance(created, Created):
        stamp = created.at_SystemTime or created.SystemTime
        if created.attributes is not None:
            stamp = created.attributes.SystemTime
    if not isinstance(stamp, str) or not stamp:
        raise Malformed("missing_time", "no System.TimeCreated.SystemTime")
    return stamp


def _named(data: Any) -> dict[str, Any]:
    """Return ``[{"@Name": "Image", "#text": "…"}]`` as ``{"Image": "…"}``."""
    out: dict[str, Any] = {}
    for element in data if isinstance(data, list) else [data]:
        if isinstance(element, dict):
            attributes = element.get("#attributes")
            name = element.get("@Name", element.get("Name"))
            if name is None and isinstance(attributes, dict):
                name = attributes.get("Name")
            if isinstance(name, str):
                out[name] = element.get("#text")
    return out


def _inside(user_data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the one element that UserData wraps, without its attributes."""
    element = next((v for v in user_data.values() if isinstance(v, dict)), user_data)
    return {k: _plain(v) for k, v in element.items() if not k.startswith(("#", "@"))}


def _plain(value: Any) -> Any:
    return value["#text"] if isinstance(value, dict) and "#text" in value else value
