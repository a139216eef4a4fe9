"""Suppressions as people keep them in Postgres, and what the flow counted of each. Times are aware datetimes, UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from state.alerts import moment
from state.control import Suppression

#: Length of a day, µs: what is suppressed is counted by days.
DAY = 86_400_000_000


class Suppressed(msgspec.Struct, frozen=True, gc=False):
    """How often a suppression kept one kind of signal of one entity back on one day. Rewritten as it grows."""

    #: Id of the suppression.
    suppression: str
    entity: str
    kind: str
    rule: str
    #: Start of the day, event time, µs.
    day: int
    count: int
    first_seen: int
    last_seen: int
    #: Id of the last event of which one is known, and its time, µs; empty: it was no single event's.
    last_event: str = ""
    last_event_time: int = 0


class KeptSuppression(msgspec.Struct, frozen=True, kw_only=True):
    """A suppression, who wrote it and why, and what it has suppressed."""

    id: str
    #: ``waiting``, ``active``, ``expired``, ``removed``; ``unsure``, Kafka did not say that it has it; ``unknown``,
    #: the flow knows it and this table does not.
    status: str
    rule: str | None
    entity: str | None
    fields: dict[str, str]
    author: str | None
    reason: str | None
    created_at: datetime | None
    from_time: datetime | None
    until_time: datetime | None
    removed_at: datetime | None
    #: Event time from which it no longer holds.
    removed_from: datetime | None
    removed_by: str | None
    removed_reason: str | None
    #: Signals that it has kept back, and the last one: when, on whom, and its event.
    count: int
    last_seen: datetime | None
    last_entity: str | None
    last_event: str | None


_SELECT = """
    WITH counted AS (
        SELECT suppression, sum(count)::bigint AS count, max(last_seen) AS last_seen,
               (array_agg(entity ORDER BY last_seen DESC, entity))[1] AS last_entity,
               (array_agg(last_event ORDER BY last_event = '', last_seen DESC, last_event))[1] AS last_event
        FROM suppressed WHERE %(id)s::text IS NULL OR suppression = %(id)s GROUP BY suppression
    ), kept AS (
        SELECT coalesce(s.id, c.suppression) AS id,
               CASE WHEN s.id IS NULL THEN 'unknown'
                    WHEN s.removed_at IS NOT NULL AND s.removed_from <= clock_timestamp() THEN 'removed'
                    WHEN s.told_at IS NULL THEN 'unsure'
                    WHEN s.until_time <= clock_timestamp() THEN 'expired'
                    WHEN s.from_time > clock_timestamp() THEN 'waiting'
                    ELSE 'active' END AS status,
               s.rule, s.entity, coalesce(s.fields, '{}'::jsonb) AS fields, s.author, s.reason, s.created_at,
               s.from_time, s.until_time, s.removed_at, s.removed_from, s.removed_by, s.removed_reason,
               coalesce(c.count, 0) AS count, c.last_seen, c.last_entity, c.last_event
        FROM suppressions s FULL JOIN counted c ON c.suppression = s.id
    )
    SELECT * FROM kept
"""


def kept(connection: psycopg.Connection[Any], *, all: bool = False, limit: int = 1_000) -> list[KeptSuppression]:
    """Return the suppressions, the newest first; without ``all`` not those that are over."""
    with connection.cursor(row_factory=class_row(KeptSuppression)) as cursor:
        return cursor.execute(
            _SELECT + "WHERE %(all)s OR status NOT IN ('removed', 'expired') "
            "ORDER BY created_at DESC NULLS FIRST, id LIMIT %(limit)s",
            {"id": None, "all": all, "limit": limit},
        ).fetchall()


def find(connection: psycopg.Connection[Any], id: str) -> KeptSuppression | None:
    """Return a suppression by its id."""
    with connection.cursor(row_factory=class_row(KeptSuppression)) as cursor:
        return cursor.execute(_SELECT + "WHERE id = %(id)s", {"id": id}).fetchone()


def keep(connection: psycopg.Connection[Any], message: Suppression) -> None:
    """Store a suppression that the flow is about to be told."""
    connection.execute(
        "INSERT INTO suppressions (id, rule, entity, fields, author, reason, created_at, from_time, until_time) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            message.id,
            message.rule,
            message.entity,
            Jsonb(message.fields),
            message.author,
            message.reason,
            moment(message.written_at),
            moment(message.from_time),
            None if message.until_time is None else moment(message.until_time),
        ),
    )


def told(connection: psycopg.Connection[Any], id: str) -> None:
    """Store that Kafka has a suppression."""
    connection.execute("UPDATE suppressions SET told_at = clock_timestamp() WHERE id = %s", (id,))


def removed(connection: psycopg.Connection[Any], message: Suppression) -> None:
    """Store that a suppression ends, by whom and why."""
    connection.execute(
        "UPDATE suppressions SET removed_at = %s, removed_from = %s, removed_by = %s, removed_reason = %s "
        "WHERE id = %s",
        (moment(message.written_at), moment(message.from_time), message.author, message.reason, message.removes),
    )
