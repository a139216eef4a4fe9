"""Group signals into alerts: one alert a rule, entity and grouping window, whatever order its signals come in. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from analyzers.suppressed import SuppressedBook
from state.alerts import MAX_EVIDENCE, Alert, Evidence, Level, Signal
from state.ids import alert_id
from state.suppressions import Suppressed

#: Rule and name of the alert that gathers the signals for which an entity has no place among its alerts.
OVERFLOW_RULE = "_overflow"
OVERFLOW_NAME = "More alerts than are kept apart"
#: Kind, rule, and start of the grouping window, µs.
Key = tuple[str, str, int]


class AlertSettings(BaseModel):
    """How signals are grouped into alerts."""

    model_config = ConfigDict(extra="forbid")

    group_minutes: int = Field(
        default=60, ge=1, le=1440, description="Signals of one rule on one host within this are one alert."
    )
    min_level: Literal["informational", "low", "medium", "high", "critical"] = Field(
        default="low", description="Lowest level of a rule match that alerts."
    )
    evidence_bytes: int = Field(
        default=16_384, ge=256, le=1_048_576, description="Longest copy of an event kept as evidence."
    )
    max_open: int = Field(
        default=1_000, ge=10, description="Alerts remembered an entity; beyond, those of the oldest windows go."
    )

    @property
    def lowest(self) -> Level:
        """Return ``min_level`` as a level."""
        return Level[self.min_level]


class AlertUpdate(msgspec.Struct, frozen=True, gc=False):
    """An alert as it now is, whether this is its first appearance, and evidence it gained."""

    alert: Alert
    is_new: bool
    evidence: tuple[Evidence, ...] = ()
    #: Of a new alert: as its first signal alone made it, which does not depend on how signals came in batches.
    opening: Alert | None = None


class _Saved(msgspec.Struct):
    version: int
    alerts: list[Alert]
    cited: list[list[tuple[int, str]]]
    suppressed: list[Suppressed] = []


class AlertBook:
    """The open alerts of one entity, and counts of what was suppressed there.

    Counts, first and last time, and evidence (the first events in canonical order) do not depend on the order in which
    signals come, so a match that is alerted at once and one that waited for its turn add up to the same alert.

    >>> from state.alerts import Level, Signal
    >>> book = AlertBook(AlertSettings())
    >>> hit = Signal("rule", "r1", "Web shell", Level.high, "web-1", 5, "why", event_id="t-0-1")
    >>> [update.alert.count for update in book.add([hit, hit])]
    [2]
    """

    VERSION = 2

    def __init__(self, settings: AlertSettings) -> None:
        self._settings = settings
        self._window = settings.group_minutes * 60_000_000
        self._alerts: dict[Key, Alert] = {}
        #: For each alert, (time, event id) of its evidence, sorted.
        self._cited: dict[Key, list[tuple[int, str]]] = {}
        self._suppressed = SuppressedBook()
        #: Signals gathered in overflow alerts since this was last read.
        self.folded = 0

    def __len__(self) -> int:
        return len(self._alerts) + len(self._suppressed)

    def suppress(self, signals: Iterable[Signal]) -> list[Suppressed]:
        """Count signals that are suppressed; they make no alert. Return each count that changed, once."""
        return self._suppressed.add(signals)

    def add(self, signals: Iterable[Signal]) -> list[AlertUpdate]:
        """Take in signals of one entity; return each alert touched, once, as it is after all of them."""
        touched: dict[Key, tuple[bool, list[Evidence]]] = {}
        opened: dict[Key, Alert] = {}
        gone: dict[Key, Alert] = {}
        for signal in signals:
            start = signal.opened or signal.time
            key: Key = (signal.kind, signal.rule, start - start % self._window)
            known = self._alerts.get(key)
            if known is None and len(self._alerts) >= self._settings.max_open:
                signal, key = self._make_room(signal, key, gone)
                known = self._alerts.get(key)
            if known is None:
                self._alerts[key] = self._open(signal, key[2])
                self._cited[key] = []
            else:
                self._alerts[key] = self._grow(known, signal)
            evidence = touched.setdefault(key, (known is None, []))[1]
            evidence += self._cite(key, signal)
            if known is None:
                opened[key] = self._alerts[key]
        return [
            AlertUpdate(self._alerts.get(key) or gone[key], new, tuple(evidence), opened.get(key))
            for key, (new, evidence) in touched.items()
        ]

    def forget(self, before: int) -> None:
        """Drop the alerts and counts that did not grow from ``before`` on, µs."""
        self._suppressed.forget(before)
        for key in [key for key, alert in self._alerts.items() if alert.last_seen < before]:
            del self._alerts[key], self._cited[key]

    def _make_room(self, signal: Signal, key: Key, gone: dict[Key, Alert]) -> tuple[Signal, Key]:
        """Drop alerts of windows older than the signal's; if there are none, turn it into one of the overflow alert.

        What was dropped thus never begins anew under its id: a signal for it finds no older window any more.
        """
        while len(self._alerts) >= self._settings.max_open:
            # Of a window the overflow alert goes last, for the same reason.
            oldest = min(self._alerts, key=lambda key: (key[2], key[1] == OVERFLOW_RULE, key))
            if oldest[2] >= key[2]:
                self.folded += 1
                folded = msgspec.structs.replace(signal, rule=OVERFLOW_RULE, name=OVERFLOW_NAME)
                return folded, (signal.kind, OVERFLOW_RULE, oldest[2])
            gone[oldest] = self._alerts.pop(oldest)
            del self._cited[oldest]
        return signal, key

    def _open(self, signal: Signal, start: int) -> Alert:
        return Alert(
            id=alert_id(signal.kind, signal.rule, signal.entity, start),
            kind=signal.kind,
            rule=signal.rule,
            name=signal.name,
            level=signal.level,
            entity=signal.entity,
            window_start=start,
            first_seen=signal.time,
            last_seen=max(signal.time, signal.last),
            count=signal.count,
            reason=signal.reason,
            techniques=signal.techniques,
            tactics=signal.tactics,
            versions=signal.versions,
        )

    def _grow(self, alert: Alert, signal: Signal) -> Alert:
        # The reason is that of the earliest signal, of the least text among several at one time.
        earlier = (signal.time, signal.reason) < (alert.first_seen, alert.reason)
        return msgspec.structs.replace(
            alert,
            level=max(alert.level, signal.level),
            first_seen=min(alert.first_seen, signal.time),
            last_seen=max(alert.last_seen, signal.time, signal.last),
            count=alert.count + signal.count,
            reason=signal.reason if earlier else alert.reason,
        )

    def _cite(self, key: Key, signal: Signal) -> list[Evidence]:
        copied: list[Evidence] = []
        if not signal.event_id:
            return copied
        cited = self._cited[key]
        for time, event_id, raw in ((signal.time, signal.event_id, signal.raw), *signal.more):
            mark = (time, event_id)
            if mark in cited or (len(cited) >= MAX_EVIDENCE and mark > cited[-1]):
                continue
            cited.append(mark)
            cited.sort()
            del cited[MAX_EVIDENCE:]
            raw = raw[: self._settings.evidence_bytes]
            copied.append(Evidence(event_id, self._alerts[key].id, signal.entity, time, raw))
        if copied:
            evidence = tuple(event_id for _, event_id in cited)
            self._alerts[key] = msgspec.structs.replace(self._alerts[key], evidence=evidence)
            kept = set(evidence)
            copied = [copy for copy in copied if copy.event_id in kept]
        return copied

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        keys = list(self._alerts)
        alerts, cited = [self._alerts[k] for k in keys], [self._cited[k] for k in keys]
        saved = _Saved(self.VERSION, alerts, cited, self._suppressed.snapshot())
        return msgspec.msgpack.encode(saved)

    @classmethod
    def restore(cls, settings: AlertSettings, state: bytes) -> AlertBook:
        """Return a book that goes on from a snapshot.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != cls.VERSION:
            raise ValueError(f"alert book: snapshot version {saved.version} cannot be read")
        book = cls(settings)
        for alert, cited in zip(saved.alerts, saved.cited, strict=True):
            key = (alert.kind, alert.rule, alert.window_start)
            book._alerts[key] = alert
            book._cited[key] = cited
        book._suppressed = SuppressedBook(saved.suppressed)
        return book
