"""What correlations have to say for incidents: sightings, and up to when all of them were said. Pure."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec

from analyzers.anomaly.barrier import END, WindowClosed
from analyzers.incidents.sightings import Heard, links_of
from analyzers.incidents.watch import MINUTE, Watch
from state.alerts import FLEET, Signal


class _Saved(msgspec.Struct):
    version: int
    closed: int
    said: dict[int, int]
    watches: list[tuple[str, tuple[Any, ...] | None]]


class Sighted:
    """The sightings of correlations, minute by minute, as one more of those who close minutes.

    Args:
        closer: its number among them.
        most: entities whose past is remembered; that of the one not named for longest goes.

    >>> from state.alerts import Level
    >>> signal = Signal("correlation", "c1", "Many passwords refused", Level.medium, "web-1", 61_000_000, "why")
    >>> sighted = Sighted(33, 10)
    >>> sighted.hear(signal, 61_000_000).window
    60000000
    >>> [(closed.start, closed.hosts) for closed in sighted.close(125_000_000)]
    [(60000000, 1)]
    """

    VERSION = 1

    def __init__(self, closer: int, most: int) -> None:
        self._closer = closer
        self._most = most
        #: Start of the last minute that is closed, µs.
        self._closed = -1
        #: Sightings of minutes that are not, by start.
        self._said: dict[int, int] = {}
        self._watches: OrderedDict[str, Watch] = OrderedDict()

    def hear(self, signal: Signal, place: int, links: Sequence[str] = ()) -> Heard | None:
        """Return what incidents hear of a signal at its place in time (µs); of the fleet as a whole, nothing."""
        if signal.entity == FLEET:
            return None
        minute = max(place - place % MINUTE, self._closed + MINUTE if self._closed >= 0 else 0)
        watch = self._watches.pop(signal.entity, None) or Watch(signal.entity)
        self._watches[signal.entity] = watch
        while len(self._watches) > self._most:
            self._watches.popitem(last=False)
        self._said[minute] = self._said.get(minute, 0) + 1
        (sighting,) = watch.signals([signal], minute)
        cites = tuple((time, event_id, b"") for time, event_id, _ in signal.more)
        sighting = msgspec.structs.replace(sighting, cites=sighting.cites + cites, links=tuple(links))
        return Heard(signal.entity, minute, (sighting,))

    def close(self, watermark: int) -> list[WindowClosed]:
        """Return the minutes that a watermark (µs) has passed since this was last asked; those without a word go by."""
        last = END if watermark >= END else watermark // MINUTE * MINUTE - MINUTE
        if last <= self._closed or last < 0:
            return []
        self._closed = last
        passed = sorted(minute for minute in self._said if minute <= last)
        found = [WindowClosed(self._closer, minute, self._said.pop(minute)) for minute in passed]
        if not passed or passed[-1] < last:
            found.append(WindowClosed(self._closer, last, 0))
        return found

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        watches = [(entity, watch.snapshot()) for entity, watch in self._watches.items()]
        return msgspec.msgpack.encode(_Saved(self.VERSION, self._closed, self._said, watches))

    def restore(self, state: bytes) -> None:
        """Go on from a snapshot. Raises ValueError if it is of another version."""
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != self.VERSION:
            raise ValueError(f"sighted correlations: snapshot version {saved.version} cannot be read")
        self._closed, self._said = saved.closed, saved.said
        self._watches = OrderedDict((entity, Watch.restore(entity, state)) for entity, state in saved.watches)


def group_links(names: Sequence[str], values: Sequence[str]) -> tuple[str, ...]:
    """Return what a group's values link by: its users and its addresses.

    >>> group_links(["IpAddress", "TargetUserName", "uri"], ["198.51.100.7", "LAB\\\\bob", "/x"])
    ('address:198.51.100.7', 'user:bob')
    >>> group_links(["source.ip", "destination.ip"], ["10.0.0.9", "10.0.0.53"])
    ('address:10.0.0.9', 'to:10.0.0.53')
    """
    found: list[str] = []
    for name, value in zip(names, values, strict=False):
        try:
            address = str(ipaddress.ip_address(value))
            found += links_of("", "", address) if _is_destination(name) else links_of("", address)
        except ValueError:
            if "user" in name.casefold():
                found += links_of(value)
    return tuple(dict.fromkeys(found))


def _is_destination(field: str) -> bool:
    """Say whether a field names who was spoken to: ECS and Sysmon's destination, Suricata's, Zeek's responder."""
    name = field.casefold()
    return name.startswith("dst") or "dest" in name or "resp_" in name
