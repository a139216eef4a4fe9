"""Summaries of incidents by an LLM, in Postgres: what is to be asked about, who asks, and what was written.

The table belongs to ``winnow triage``: the flow never writes it. A summary that is asked for anew stays until it is
replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from state.alerts import Level
from state.answers import Remembered, release, remember
from state.budget import settle
from state.postgres import clean, clean_key, explained
from state.triage import Settlement

#: Summaries that wait, at most: incidents are bounded, what is written to their topic is not.
MOST_WAITING = 10_000
#: Alerts and events of an incident that a summary may rest on.
MOST_ALERTS, MOST_EVENTS = 12, 8


class Heard(msgspec.Struct, frozen=True):
    """What an incident's message says that matters here."""

    incident_id: str
    severity: Level
    tactics: tuple[str, ...]


class ClaimedSummary(msgspec.Struct, frozen=True):
    """A summary that is ours to write until the lease ends."""

    incident_id: str
    owner: str
    attempts: int


class StoryAlert(msgspec.Struct, frozen=True):
    """An alert of an incident."""

    id: str
    kind: str
    rule: str
    name: str
    level: int
    entity: str
    count: int
    reason: str
    techniques: list[str]


class StoryEvent(msgspec.Struct, frozen=True):
    """An event that an alert of an incident cites."""

    id: str
    host: str
    raw: bytes


class Story(msgspec.Struct, frozen=True):
    """What there is to tell of an incident, the weightiest alerts first."""

    id: str
    severity: int
    title: str
    explanation: str
    entities: list[str]
    tactics: list[str]
    techniques: list[str]
    alerts: tuple[StoryAlert, ...] = ()
    events: tuple[StoryEvent, ...] = ()


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A summary as people see it."""

    incident_id: str
    #: ``waiting``, ``asking``, ``written``, or ``refused`` with the reason; the text of before stays.
    status: str
    #: Sentences with the numbers of their citations; empty: there is none.
    text: str
    #: By number, from 1: ``event_id`` or ``alert_id``, and ``field``.
    citations: list[dict[str, str]]
    model: str
    reason: str
    written_at: datetime | None


class SummaryQueue:
    """The table; ``pool`` is of ``state.postgres.pool``. Every method raises ``DatabaseError``."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def heard(self, incidents: Sequence[Heard], gone: Sequence[str] = ()) -> int:
        """Ask for summaries of incidents that are new here; return how many that is.

        ``gone``: incidents that became part of others.
        """
        count = 0
        with explained(), self._pool.connection() as connection, connection.transaction():
            for one in incidents:
                count += connection.execute(
                    """
                    INSERT INTO incident_summaries (incident_id, severity, tactics)
                    SELECT %s, %s, %s
                    WHERE (SELECT count(*) FROM incident_summaries WHERE status IN ('waiting', 'asking')) < %s
                    ON CONFLICT (incident_id) DO NOTHING
                    """,
                    (
                        clean_key(one.incident_id),
                        int(one.severity),
                        [clean(tactic) for tactic in one.tactics],
                        MOST_WAITING,
                    ),
                ).rowcount
            if gone:
                connection.execute(
                    "DELETE FROM incident_summaries WHERE incident_id = ANY(%s)", ([clean_key(name) for name in gone],)
                )
        return count

    def changed(self) -> int:
        """Ask anew for the summaries of incidents whose severity or tactics are others now; return how many."""
        with explained(), self._pool.connection() as connection:
            return connection.execute(
                """
                UPDATE incident_summaries s SET status = 'waiting', received_at = now(), not_before = now(),
                    attempts = 0
                FROM incidents i WHERE i.id = s.incident_id AND s.status IN ('written', 'refused')
                    AND i.state <> 'merged' AND (i.severity <> s.severity OR i.tactics <> s.tactics)
                """
            ).rowcount

    def claim(self, process: str, lease: float) -> ClaimedSummary | None:
        """Take the most severe incident that waits for a summary, if no escalation waits for an answer.

        The lease is in seconds. What the flow has not yet stored waits on.
        """
        with explained(), self._pool.connection() as connection:
            row = connection.execute(
                """
                WITH next AS (
                    SELECT s.incident_id, i.severity, i.tactics
                    FROM incident_summaries s JOIN incidents i ON i.id = s.incident_id
                    WHERE (s.status = 'waiting' AND s.not_before <= now() OR s.status = 'asking'
                        AND s.lease_until < now()) AND i.state <> 'merged'
                        AND NOT EXISTS (SELECT FROM escalations WHERE status = 'waiting' AND not_before <= now())
                    ORDER BY s.severity DESC, s.received_at, s.incident_id LIMIT 1 FOR UPDATE OF s SKIP LOCKED
                )
                UPDATE incident_summaries s SET status = 'asking', attempts = s.attempts + 1,
                    severity = next.severity, tactics = next.tactics,
                    owner = %s || '/' || s.incident_id || '/' || s.attempts,
                    lease_until = now() + make_interval(secs => %s)
                FROM next WHERE s.incident_id = next.incident_id
                RETURNING s.incident_id, s.owner, s.attempts
                """,
                (clean(process), lease),
            ).fetchone()
        return None if row is None else ClaimedSummary(*row)

    def extend(self, owner: str, lease: float) -> None:
        """Hold a summary, and the question asked for it, for ``lease`` seconds from now."""
        with explained(), self._pool.connection() as connection:
            for table in ("incident_summaries", "llm_answers"):
                connection.execute(
                    f"UPDATE {table} SET lease_until = now() + make_interval(secs => %s) WHERE owner = %s",  # noqa: S608 - our names
                    (lease, owner),
                )

    def story(self, incident_id: str) -> Story | None:
        """Return what there is to tell of an incident; None: it is gone."""
        with explained(), self._pool.connection() as connection:
            found = connection.execute(
                "SELECT id, severity, title, explanation, entities, tactics, techniques FROM incidents WHERE id = %s",
                (incident_id,),
            ).fetchone()
            if found is None:
                return None
            alerts = connection.execute(
                "SELECT a.id, a.kind, a.rule, a.name, a.level, a.entity, a.count, a.reason, a.techniques "
                "FROM incident_alerts p JOIN alerts a ON a.id = p.alert_id WHERE p.incident_id = %s "
                "ORDER BY p.position, a.id LIMIT %s",
                (incident_id, MOST_ALERTS),
            ).fetchall()
            # One event of each alert before the second of any.
            events = connection.execute(
                """
                SELECT event_id, entity, raw FROM (
                    SELECT DISTINCT ON (v.event_id) v.event_id, v.entity, v.raw, p.position,
                        row_number() OVER (PARTITION BY v.alert_id ORDER BY v.time, v.event_id) AS place
                    FROM incident_alerts p JOIN evidence v USING (alert_id)
                    WHERE p.incident_id = %s AND p.alert_id = ANY(%s) ORDER BY v.event_id, p.position
                ) found ORDER BY place, position, event_id LIMIT %s
                """,
                (incident_id, [alert[0] for alert in alerts], MOST_EVENTS),
            ).fetchall()
        name, severity, title, explanation, entities, tactics, techniques = found
        return Story(
            id=name,
            severity=severity,
            title=title,
            explanation=explanation,
            entities=entities,
            tactics=tactics,
            techniques=techniques,
            alerts=tuple(StoryAlert(*alert) for alert in alerts),
            events=tuple(StoryEvent(event, host, bytes(raw)) for event, host, raw in events),
        )

    def put_back(self, claimed: ClaimedSummary, seconds: float, reason: str, *, counted: bool = True) -> None:
        """Let a summary wait again, for ``seconds`` at least; ``counted``: whether this attempt counts."""
        with explained(), self._pool.connection() as connection, connection.transaction():
            connection.execute(
                "UPDATE incident_summaries SET status = 'waiting', owner = NULL, lease_until = NULL, reason = %s, "
                "attempts = attempts - %s, not_before = now() + make_interval(secs => %s) WHERE owner = %s",
                (clean(reason)[:200], 0 if counted else 1, seconds, claimed.owner),
            )
            release(connection, claimed.owner)

    def finish(
        self,
        claimed: ClaimedSummary,
        text: str,
        citations: Sequence[dict[str, str]],
        *,
        model: str,
        prompt: str,
        reason: str = "",
        cost: float = 0.0,
        settlement: Settlement | None = None,
        remembered: Remembered | None = None,
    ) -> bool:
        """Store a summary, or with an empty text the reason why there is none; what it did cost; and the answer.

        Return whether it was still ours to write. What was written before stays if there is no new one.
        """
        with explained(), self._pool.connection() as connection, connection.transaction():
            if settlement is not None:
                settle(connection, settlement.call, settlement.spent, settlement.outcome)
            if remembered is not None:
                remember(connection, remembered)
            release(connection, claimed.owner)
            if not text:
                return (
                    connection.execute(
                        "UPDATE incident_summaries SET status = 'refused', reason = %s, cost = %s, owner = NULL, "
                        "lease_until = NULL WHERE owner = %s",
                        (clean(reason)[:500], cost, claimed.owner),
                    ).rowcount
                    > 0
                )
            told = [{name: clean(value) for name, value in citation.items()} for citation in citations]
            return (
                connection.execute(
                    "UPDATE incident_summaries SET status = 'written', text = %s, citations = %s, model = %s, "
                    "prompt = %s, reason = '', cost = %s, owner = NULL, lease_until = NULL, written_at = now() "
                    "WHERE owner = %s",
                    (clean(text), Jsonb(told), clean(model), clean(prompt), cost, claimed.owner),
                ).rowcount
                > 0
            )

    def counts(self) -> dict[str, int]:
        """Return how many summaries stand where."""
        with explained(), self._pool.connection() as connection:
            return dict(connection.execute("SELECT status, count(*) FROM incident_summaries GROUP BY 1").fetchall())

    def give_up(self, minutes: float) -> int:
        """Refuse what has waited for so long; return how much that is."""
        with explained(), self._pool.connection() as connection:
            return connection.execute(
                "UPDATE incident_summaries SET status = 'refused', reason = left('no answer in time: ' || reason, 500) "
                "WHERE status = 'waiting' AND received_at < now() - make_interval(secs => %s)",
                (60 * minutes,),
            ).rowcount


def summary(connection: psycopg.Connection[Any], incident_id: str) -> Summary | None:
    """Return the summary of an incident; None: none was asked for."""
    with connection.cursor(row_factory=class_row(Summary)) as cursor:
        return cursor.execute(
            "SELECT incident_id, status, text, citations, model, reason, written_at FROM incident_summaries "
            "WHERE incident_id = %s",
            (incident_id,),
        ).fetchone()


def told(found: Summary) -> list[str]:
    """Return a summary in lines: by whom it was written, the text, and what each number cites; or why there is none."""
    if not found.text:
        why = f": {found.reason}" if found.reason else ""
        return [_seen(f"Summary by a language model: {found.status}{why}")]
    again = "" if found.status == "written" else f", of before; the new one: {found.status}"
    lines = [_seen(f"Summary, written by {found.model} and not by an analyst{again}:"), _seen(found.text)]
    for number, citation in enumerate(found.citations, 1):
        kind = "alert" if "alert_id" in citation else "event"
        lines.append(_seen(f"[{number}] {kind} {citation.get(f'{kind}_id', '')}, {citation.get('field', '')}"))
    return lines


def _seen(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
