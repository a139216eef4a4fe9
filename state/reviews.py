"""The queue of incidents as people see it: what the flow wrote, beside what analysts said of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
import psycopg
from psycopg.rows import class_row

from state.alerts import Level

Verdict = Literal["", "true_positive", "false_positive", "benign"]

#: What an analyst closed comes back when it is more severe than it was then.
_STATE = """
    CASE WHEN r.state = 'closed' AND i.severity > r.severity THEN 'reopened'
         WHEN r.state IS NULL OR r.state = 'open' THEN CASE WHEN i.state = 'closed' THEN 'over' ELSE 'new' END
         ELSE r.state END
"""
_COLUMNS = f"""
    i.id, {_STATE} AS status, i.severity, i.score, i.entities, i.first_seen, i.last_seen, i.opened, i.tactics,
    i.techniques, i.alert_count, i.evidence, i.title, i.explanation, i.aliases, i.merged_into,
    coalesce(r.verdict, '') AS verdict, coalesce(r.author, '') AS author, coalesce(r.reason, '') AS reason
"""
_FROM = "FROM incidents i LEFT JOIN incident_reviews r ON r.incident_id = i.id"


class QueuedIncident(msgspec.Struct, frozen=True, kw_only=True):
    """An incident and its review."""

    id: str
    #: ``new``; ``over``, it takes in no more and nobody looked; ``acknowledged``; ``closed``; ``reopened``, for it
    #: became more severe than when it was closed.
    status: str
    severity: int
    score: float
    entities: list[str]
    first_seen: datetime
    last_seen: datetime
    opened: datetime | None
    tactics: list[str]
    techniques: list[str]
    alert_count: int
    evidence: list[str]
    title: str
    explanation: str
    aliases: list[str]
    merged_into: str
    verdict: str
    author: str
    reason: str


def queue(
    connection: psycopg.Connection[Any], *, least: Level = Level.low, all: bool = False, limit: int = 50
) -> list[QueuedIncident]:
    """Return incidents from ``least`` on, the most severe and newest first; without ``all`` not those closed."""
    with connection.cursor(row_factory=class_row(QueuedIncident)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} {_FROM} WHERE i.state <> 'merged' AND i.severity >= %s "
            f"AND (%s OR {_STATE} <> 'closed') ORDER BY i.severity DESC, i.last_seen DESC, i.id LIMIT %s",
            (int(least), all, limit),
        ).fetchall()


def find(connection: psycopg.Connection[Any], incident_id: str) -> QueuedIncident | None:
    """Return an incident by its id, or by that of one that it has taken in."""
    with connection.cursor(row_factory=class_row(QueuedIncident)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} {_FROM} WHERE i.id = %s OR (%s = ANY(i.aliases) AND i.state <> 'merged') "
            "ORDER BY i.state = 'merged', i.id LIMIT 1",
            (incident_id, incident_id),
        ).fetchone()


def review(
    connection: psycopg.Connection[Any],
    incident: QueuedIncident,
    state: Literal["open", "acknowledged", "closed"],
    author: str,
    reason: str,
    verdict: Verdict = "",
) -> None:
    """Set what an analyst says of an incident, with the severity that it has now."""
    connection.execute(
        "INSERT INTO incident_reviews (incident_id, state, verdict, severity, author, reason) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (incident_id) DO UPDATE SET state = excluded.state, "
        "verdict = excluded.verdict, severity = excluded.severity, author = excluded.author, "
        "reason = excluded.reason, updated_at = clock_timestamp()",
        (incident.id, state, verdict, incident.severity, author, reason),
    )
