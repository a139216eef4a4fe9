"""What analysts' verdicts say of single texts: reviews of the audit sample, of text alerts and of their incidents."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row

#: Rows of each kind that are read, the newest ones.
MOST = 10_000


class ReviewedText(msgspec.Struct, frozen=True):
    """A text of the audit sample that was reviewed."""

    event_id: str
    time: datetime
    source: str
    text: str
    #: The model's most probable label then, its probability, and from which one that label alerts.
    label: str
    malicious: float
    alerts_from: float
    #: ``malicious`` or ``benign``.
    truth: str


class ReviewedEvent(msgspec.Struct, frozen=True):
    """An event whose text alerted, and of whose alert or incident there is a verdict."""

    event_id: str
    time: datetime
    #: What the alert is about; the host of a message that names none.
    entity: str
    raw: bytes
    #: As which the text alerted.
    label: str
    #: ``malicious`` of a true positive, ``benign`` of a false one.
    truth: str


def reviewed_texts(connection: psycopg.Connection[Any]) -> list[ReviewedText]:
    """Return the reviewed texts of the audit sample, the newest ``MOST``, the oldest first."""
    with connection.cursor(row_factory=class_row(ReviewedText)) as cursor:
        found = cursor.execute(
            "SELECT a.event_id, a.time, a.source, a.text, a.label, a.malicious, a.alerts_from, r.truth FROM audits a "
            "JOIN audit_reviews r USING (event_id) ORDER BY a.time DESC, a.event_id DESC LIMIT %s",
            (MOST,),
        ).fetchall()
    return found[::-1]


def reviewed_events(connection: psycopg.Connection[Any]) -> list[ReviewedEvent]:
    """Return the evidence of text alerts that are true or false positives, the newest ``MOST``, the oldest first.

    What was said of the alert counts, else what was said of its incident, of events until then and unless it became
    more severe since: what came later nobody has seen. What is ``benign`` was an attack that was allowed: of its text
    that says nothing. Neither does an event of which both was said.
    """
    with connection.cursor(row_factory=class_row(ReviewedEvent)) as cursor:
        found = cursor.execute(
            """
            SELECT e.event_id, min(e.time) AS time, min(e.entity) AS entity, (array_agg(e.raw))[1] AS raw,
                a.rule AS label,
                CASE min(said.verdict) WHEN 'true_positive' THEN 'malicious' ELSE 'benign' END AS truth
            FROM alerts a JOIN evidence e ON e.alert_id = a.id LEFT JOIN alert_reviews w ON w.alert_id = a.id
            LEFT JOIN incident_alerts p ON p.alert_id = a.id LEFT JOIN incidents i ON i.id = p.incident_id
            LEFT JOIN incident_reviews r
                ON r.incident_id = i.id AND i.severity <= r.severity AND e.time <= r.updated_at,
            LATERAL (SELECT coalesce(nullif(w.verdict, ''), r.verdict) AS verdict) said
            WHERE a.kind = 'text' AND said.verdict IN ('true_positive', 'false_positive')
            GROUP BY e.event_id, a.rule HAVING min(said.verdict) = max(said.verdict)
            ORDER BY 2 DESC, 1 DESC, a.rule DESC LIMIT %s
            """,
            (MOST,),
        ).fetchall()
    return found[::-1]
