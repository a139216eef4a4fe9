"""Windows events as NXLog ships them: one flat object, header and event data side by side."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING, ClassVar, cast

import msgspec

from state.events import Event, Fields, Kind

from . import projection, tolerant, windows
from .base import Format, Malformed, Position
from .times import from_iso
from .windows_kinds import classify

if TYPE_CHECKING:
    from analyzers.rules.shortcut import Projector

#: Sigma's names for header fields, which NXLog has under names of its own.
STAND_INS = {"Computer": "Hostname", "Provider_Name": "SourceName"}
#: Hosts whose clock a stream remembers.
MAX_CLOCKS = 10_000
#: Kinds that peeking remembers.
MAX_KINDS = 10_000
#: Offsets from UTC are multiples of a quarter of an hour, and two stamps of one event differ by less than a minute.
QUARTER, MINUTE = 900_000_000, 60_000_000


class NxLog(windows.EventData, kw_only=True, gc=False):
    """The header fields, beside the event data."""

    essential: ClassVar[frozenset[str]] = frozenset({"Hostname", "Channel", "EventID", "@timestamp"})

    EventID: int
    Channel: str
    Hostname: str | msgspec.UnsetType | None = msgspec.UNSET
    timestamp: str | None = msgspec.field(name="@timestamp", default=None)
    TimeCreated: str | None = None
    EventTime: str | None = None
    AccountName: str = ""


class WindowsNxLog(Format):
    """Decode NXLog's flat Windows events."""

    name: ClassVar[str] = "windows_nxlog"
    rank: ClassVar[int] = 20
    verbatim: ClassVar[bool] = True
    marker: ClassVar[bytes] = b'"EventID"'
    peeks: ClassVar[bool] = True

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(NxLog)
        self._kinds: dict[tuple[bytes, bytes], Kind] = {}

    def sniff(self, raw: bytes) -> bool:
        """Return whether unescaped ``EventID``, ``Channel`` and a key of NXLog's own stand in the line."""
        header = raw.find(b'"Hostname"') >= 0 or raw.find(b'"EventReceivedTime"') >= 0
        return header and raw.find(b'"EventID"') >= 0 and raw.find(b'"Channel"') >= 0

    def peek(self, raw: bytes) -> Kind | None:
        """Return the kind that channel and event id tell; unescaped, both can only be keys of the one object."""
        code = raw.find(b'"EventID":')
        channel = raw.find(b'"Channel":"')
        if code < 0 or channel < 0:
            return None
        key = (raw[code + 10 : raw.find(b",", code)], raw[channel + 11 : raw.find(b'"', channel + 11)])
        known = self._kinds.get(key)
        if known is None:
            try:
                number, name = int(key[0]), key[1].decode()
            except ValueError:
                return None
            if "\\" in name or not name or not 0 <= number <= 65_535:
                return None
            if len(self._kinds) >= MAX_KINDS:
                self._kinds.clear()
            known = self._kinds[key] = classify(name, number)
        return known

    def decode(self, raw: bytes, at: Position) -> Event:
        """Return the event."""
        record = tolerant.decode(self._decoder, NxLog, raw)
        host = record.Hostname
        if host is None or host is msgspec.UNSET:
            raise Malformed("missing_host", "Hostname is null" if host is None else "no Hostname")
        name = at.hosts.name(host)
        time = from_iso(record.timestamp, at.zone) if record.timestamp else _local(record, name, at)
        user = record.AccountName
        return windows.to_event(raw, at, self.name, time, name, record.Channel, record.EventID, record, user)

    def project(self, names: Sequence[str]) -> Projector:
        """Return what decodes just the named fields."""
        return projection.flat(names, STAND_INS)

    def fields(self, event: Event) -> Fields:
        """Return the object as it is, with Sigma's names for the header fields."""
        fields = cast("Fields", tolerant.whole(event.raw))
        fields["EventID"] = event.kind.code
        for name, other in STAND_INS.items():
            fields.setdefault(name, fields.get(other))
        return fields


def _local(record: NxLog, host: str, at: Position) -> int:
    """Return the time of an event without ``@timestamp``.

    Sysmon's ``UtcTime`` is the truth. The other stamps are in the host's own clock, whose distance from UTC an event
    that bears both has told; until one has, they are taken for stamps of the zone that is set.
    """
    stamp = record.TimeCreated or record.EventTime
    if record.UtcTime:
        time = from_iso(record.UtcTime, UTC)
        if stamp and not _zoned(stamp):
            distance = time - from_iso(stamp, UTC)
            rounded = (distance + QUARTER // 2) // QUARTER * QUARTER
            if abs(distance - rounded) < MINUTE and (host in at.clocks or len(at.clocks) < MAX_CLOCKS):
                at.clocks[host] = rounded
        return time
    if not stamp:
        raise Malformed("missing_time", "none of @timestamp, UtcTime, TimeCreated, EventTime")
    if not _zoned(stamp) and (known := at.clocks.get(host)) is not None:
        return from_iso(stamp, UTC) + known
    return from_iso(stamp, at.zone)


def _zoned(stamp: str) -> bool:
    return stamp.endswith("Z") or "+" in stamp or stamp.rfind("-") > 10
