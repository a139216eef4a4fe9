"""One host's side of incidents: its sightings, each with how often the host has shown the like."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from analyzers.anomaly.rarity import Rarity
from analyzers.anomaly.surprise import Standing
from analyzers.incidents.sightings import Alerts, Sighting, bounded, links_of
from state.alerts import Signal
from state.events import Event

MINUTE = 60_000_000


class Watch:
    """What a host has signalled, by rule. Holds nothing until there is something.

    >>> from state.alerts import Level
    >>> hit = Signal("rule", "r1", "Web shell", Level.high, "web-1", 5, "why", event_id="t-0-1")
    >>> [(s.count, s.standing is not None) for s in Watch("web-1").signals([hit, hit], 0)]
    [(1, True), (1, False)]
    """

    def __init__(self, host: str, state: tuple[Any, ...] | None = None) -> None:
        self._host = host
        self._rarity = Rarity.restore(state) if state is not None else None
        self._minute = -1
        #: Values that this minute has been told of.
        self._told: set[str] = set()
        #: When the first was seen, if it was since this was last read, µs; else -1.
        self.born = -1

    @property
    def since(self) -> int:
        """Return when the host first had anything to say, µs; -1: it never had."""
        return -1 if self._rarity is None else self._rarity.born

    def signals(
        self, signals: Iterable[Signal], place: int, event: Event | None = None, indicators: Sequence[str] = ()
    ) -> list[Sighting]:
        """Return the sightings of an event's signals, or of a window's; ``place`` is where it stands in time, µs.

        ``indicators`` are the files and processes that the event names.
        """
        minute = place - place % MINUTE
        links: tuple[str, ...] = ()
        if event is not None:
            named = links_of(event.user, event.source_ip, event.destination_ip, host=event.host)
            links = tuple(bounded((*named, *indicators)))
        found = []
        for signal in signals:
            value = f"{signal.kind}:{signal.rule}"
            # What is suppressed is as if it had not been: the same rule elsewhere on the host stays as rare as it is.
            standing = {} if signal.suppressed else self._learn({value: 1.0}, minute)
            found.append(sighting_of(signal, minute, links, standing.get(value)))
        return found

    def window(self, start: int, alerts: Alerts) -> list[Sighting]:
        """Return the sightings of other systems' alerts in the window that began at ``start`` (µs)."""
        standing = self._learn({f"alert:{rule}": float(alert.count) for rule, alert in alerts.items()}, start)
        return [
            Sighting(
                self._host,
                start,
                "alert",
                rule,
                alert.told.name,
                alert.told.level,
                alert.first,
                alert.last,
                alert.count,
                "",
                alert.told.techniques,
                alert.told.tactics,
                tuple(alert.cites),
                tuple(alert.links),
                0,
                standing.get(f"alert:{rule}"),
            )
            for rule, alert in sorted(alerts.items())
        ]

    def _learn(self, counts: dict[str, float], minute: int) -> dict[str, Any]:
        if self._rarity is None:
            self._rarity = Rarity()
            self.born = minute
        if minute != self._minute:
            self._minute = minute
            self._told.clear()
        new = {value: count for value, count in counts.items() if value not in self._told}
        self._told.update(new)
        standing = {value: self._rarity.standing(value, t=minute) for value in new}
        if new:
            self._rarity.learn_one(new, t=minute)
        return standing

    def snapshot(self) -> tuple[Any, ...] | None:
        """Return the state as plain data; what this minute was told of goes with it."""
        if self._rarity is None:
            return None
        return (*self._rarity.snapshot(), self._minute, sorted(self._told))

    @classmethod
    def restore(cls, host: str, state: tuple[Any, ...] | None) -> Watch:
        """Return a watch that goes on from a snapshot."""
        if state is None:
            return cls(host)
        *rarity, minute, told = state
        watch = cls(host, tuple(rarity))
        watch._minute, watch._told = minute, set(told)
        return watch


def sighting_of(signal: Signal, minute: int, links: tuple[str, ...] = (), standing: Standing | None = None) -> Sighting:
    """Return a signal as a sighting in the minute that began at ``minute`` (µs)."""
    return Sighting(
        signal.entity,
        minute,
        signal.kind,
        signal.rule,
        signal.name,
        signal.level,
        signal.time,
        max(signal.time, signal.last),
        signal.count,
        signal.reason,
        signal.techniques,
        signal.tactics,
        ((signal.time, signal.event_id, b""),) if signal.event_id else (),
        links,
        signal.opened,
        standing,
        signal.suppressed,
    )
