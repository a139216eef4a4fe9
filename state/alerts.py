"""Signals, and the alerts they become. Times are integer microseconds since the epoch, UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Literal

import msgspec

#: Evidence event ids an alert keeps, the first ones in canonical order.
MAX_EVIDENCE = 20
#: Entity of what is said of the whole fleet. No host's name begins so.
FLEET = "_fleet"
#: Version of the alert message's JSON schema (``state/schemas/alert.v1.json``).
ALERT_VERSION = 1


class Level(IntEnum):
    """Sigma's severity levels, ordered."""

    informational = 0
    low = 1
    medium = 2
    high = 3
    critical = 4


class Signal(msgspec.Struct, frozen=True, gc=False):
    """One thing that a rule or a score said about one entity at one time; alerts group signals."""

    #: What said it: ``rule`` (a Sigma rule), ``threshold`` (a metric passed its limit), ``anomaly`` (a metric's score),
    #: ``text`` (the text judge), ``correlation`` (a Sigma correlation rule), ``alert`` (another system's alert, found
    #: in the telemetry), ``llm`` (an LLM's verdict), ``loss`` (messages were gone before they were read).
    kind: Literal["rule", "threshold", "anomaly", "text", "correlation", "alert", "llm", "loss"]
    #: Rule id, metric name with direction (``failed_logins:peak``), or label of the text (``sqli``).
    rule: str
    #: Title a person reads.
    name: str
    level: Level
    #: Canonical host name; of a loss ``topic-partition``; of a correlation over several hosts its first group value.
    entity: str
    time: int
    #: Why, in one line: the fields and values that met the rule, or the value against its expected band.
    reason: str
    #: ATT&CK technique ids (``T1110``) and tactic short names (``credential-access``).
    techniques: tuple[str, ...] = ()
    tactics: tuple[str, ...] = ()
    #: Id of the event that is the evidence; empty for a metric.
    event_id: str = ""
    #: Raw bytes of that event, bounded by the evidence setting; empty for a metric.
    raw: bytes = b""
    #: Versions that decided: rule set, metric set, model.
    versions: tuple[tuple[str, str], ...] = ()
    #: When what it belongs to began, µs, if that was before: the two are one alert. 0: at its own time.
    opened: int = 0
    #: How many it stands for, and the time of the last, µs; 0: ``time``.
    count: int = 1
    last: int = 0
    #: Further events that are evidence: time, id, raw bytes.
    more: tuple[tuple[int, str, bytes], ...] = ()
    #: Id of the suppression that keeps it from becoming an alert; empty: none.
    suppressed: str = ""


class Alert(msgspec.Struct, frozen=True, gc=False):
    """Signals of one rule or metric on one entity within one grouping window. Rewritten as it grows, id unchanged."""

    id: str
    kind: str
    rule: str
    name: str
    level: Level
    entity: str
    #: Start of the grouping window, µs.
    window_start: int
    first_seen: int
    last_seen: int
    #: How many signals.
    count: int
    reason: str
    techniques: tuple[str, ...] = ()
    tactics: tuple[str, ...] = ()
    #: Ids of the first events in canonical order, at most MAX_EVIDENCE.
    evidence: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()

    def message(self) -> dict[str, Any]:
        """Return the alert as its JSON message, version 1: ISO times, level by name."""
        return {
            "version": ALERT_VERSION,
            "id": self.id,
            "kind": self.kind,
            "rule": self.rule,
            "name": self.name,
            "level": self.level.name,
            "entity": self.entity,
            "window_start": iso(self.window_start),
            "first_seen": iso(self.first_seen),
            "last_seen": iso(self.last_seen),
            "count": self.count,
            "reason": self.reason,
            "techniques": list(self.techniques),
            "tactics": list(self.tactics),
            "evidence": list(self.evidence),
            "versions": dict(self.versions),
        }


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """A size-bounded copy of an event that an alert cites."""

    event_id: str
    alert_id: str
    entity: str
    time: int
    raw: bytes


def iso(time: int) -> str:
    """Return a time in µs as ISO 8601 with microseconds and ``Z``.

    >>> iso(1_600_000_000_000_000)
    '2020-09-13T12:26:40.000000Z'
    """
    return moment(time).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(time: int) -> datetime:
    """Return a time in µs as an aware datetime."""
    seconds, micros = divmod(time, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
