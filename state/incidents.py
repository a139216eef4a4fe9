"""Incidents: alerts that belong together, as one entry of the queue. Times are integer µs since the epoch, UTC."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from state.alerts import Level, iso

#: Version of the incident message's JSON schema (``state/schemas/incident.v1.json``).
INCIDENT_VERSION = 1


class Incident(msgspec.Struct, frozen=True, gc=False):
    """Alerts of one attack, as far as can be told. Rewritten as it grows, id unchanged."""

    id: str
    #: The flow's own: ``open``; ``closed``, takes in no more; ``merged``, it is now part of ``merged_into``.
    state: Literal["open", "closed", "merged"]
    severity: Level
    #: The highest risk that it had.
    score: float
    #: Hosts, those of the most risk first, then ``user:…``, ``address:…`` and ``hash:…`` of a file.
    entities: tuple[str, ...]
    first_seen: int
    last_seen: int
    #: When it came to severity medium, event time; 0: it never did.
    opened: int
    #: Short names, in the order of ATT&CK's kill chain.
    tactics: tuple[str, ...]
    techniques: tuple[str, ...]
    #: How many signals.
    alert_count: int
    #: Ids of alerts, the weightiest first, bounded.
    alerts: tuple[str, ...]
    #: Ids of events, the first of each fingerprint (rule and host) before all others, bounded.
    evidence: tuple[str, ...]
    title: str
    explanation: str
    #: Ids of incidents that this one has taken in.
    aliases: tuple[str, ...] = ()
    merged_into: str = ""

    def message(self) -> dict[str, Any]:
        """Return the incident as its JSON message, version 1: ISO times, severity by name."""
        return {
            "version": INCIDENT_VERSION,
            "type": "incident",
            "id": self.id,
            "state": self.state,
            "severity": self.severity.name,
            "score": self.score,
            "entities": list(self.entities),
            "first_seen": iso(self.first_seen),
            "last_seen": iso(self.last_seen),
            "opened": iso(self.opened) if self.opened else None,
            "tactics": list(self.tactics),
            "techniques": list(self.techniques),
            "alert_count": self.alert_count,
            "alerts": list(self.alerts),
            "evidence": list(self.evidence),
            "title": self.title,
            "explanation": self.explanation,
            "aliases": list(self.aliases),
            "merged_into": self.merged_into or None,
        }


#: Why those who are notified are told of an incident.
Reason = Literal["", "new", "changed", "repeat", "merged", "closed"]


class IncidentUpdate(msgspec.Struct, frozen=True, gc=False):
    """An incident as it now is, and what is new of it."""

    incident: Incident
    #: ``same``: nothing is, but it is time to say something of it.
    change: Literal["new", "severity", "merged", "closed", "grew", "same"]
    #: Why it is to be told of to those who are notified; empty: it is not.
    reason: Reason = ""
    #: Event time at which it is, µs.
    notified_at: int = 0

    def message(self) -> dict[str, Any]:
        """Return the incident's JSON message as those who are notified get it."""
        return self.incident.message() | {"notification": self.reason, "notified_at": iso(self.notified_at)}
