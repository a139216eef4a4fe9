"""Everything that people look at, read from Postgres: typed, bounded, and by SELECT alone.

Each function takes an open connection; ``snapshot`` lends one on which all of them see the same moment. Times are aware
datetimes, UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg_pool import ConnectionPool

from dashboards.records import (
    AlertDetail,
    AlertFilter,
    AlertPage,
    AlertRow,
    Cursor,
    EvidenceRow,
    HostRow,
    Lanes,
    MetricPoint,
    Minute,
    Partition,
    Source,
    Totals,
)
from state.alerts import Level
from state.postgres import explained
from state.reviews import QueuedIncident, find, queue
from state.summaries import Summary, summary
from state.suppressions import KeptSuppression, kept

Connection = psycopg.Connection[Any]

#: Length of the windows that are charted, seconds.
MINUTE = 60
#: The metric that counts all events of a host.
EVENTS_METRIC = "events"
#: Most rows any function returns.
MAX_ROWS = 1_000


@contextmanager
def snapshot(pool: ConnectionPool) -> Iterator[Connection]:
    """Lend a connection on which all reads see one moment; raise ``DatabaseError`` when the database is away."""
    with explained(), pool.connection() as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield connection


def totals(connection: Connection) -> Totals:
    """Return the totals over the whole ledger."""
    row = connection.execute(
        """
        SELECT coalesce(sum(consumed), 0)::bigint, coalesce(sum(consumed - rejected - skipped), 0)::bigint,
               coalesce(sum(rejected), 0)::bigint, coalesce(sum(late), 0)::bigint, coalesce(sum(future), 0)::bigint,
               coalesce(sum(rule), 0)::bigint, coalesce(sum(bert), 0)::bigint, coalesce(sum(llm), 0)::bigint,
               (SELECT count(*) FROM hosts), max(updated_at), clock_timestamp()
        FROM ledger
        """
    ).fetchone()
    assert row is not None
    return Totals(*row)


def lanes(connection: Connection) -> Lanes:
    """Return how the router decides, and where the LLM lane stands."""
    row = connection.execute(
        """
        SELECT coalesce((SELECT versions->>'calibration' FROM ledger WHERE versions ? 'calibration'
                         ORDER BY updated_at DESC LIMIT 1), ''),
               count(*) FILTER (WHERE status IN ('waiting', 'asking')),
               count(*) FILTER (WHERE status = 'answered'), count(*) FILTER (WHERE status = 'refused')
        FROM escalations
        """
    ).fetchone()
    assert row is not None
    return Lanes(*row)


def sources(connection: Connection, *, hours: float = 24.0, limit: int = 50) -> list[Source]:
    """Return events by source type, most first, over the ledger rows written in the last ``hours``."""
    rows = connection.execute(
        """
        SELECT key, sum(value::bigint)::bigint AS events
        FROM ledger, jsonb_each_text(sources)
        WHERE updated_at > clock_timestamp() - %s
        GROUP BY key ORDER BY events DESC, key LIMIT %s
        """,
        (timedelta(hours=hours), _bounded(limit)),
    )
    return [Source(*row) for row in rows]


def partitions(connection: Connection, *, limit: int = 200) -> list[Partition]:
    """Return what was read of each partition, the most recently read first."""
    rows = connection.execute(
        """
        SELECT topic, "partition", sum(consumed)::bigint, sum(rejected)::bigint, sum(late)::bigint, max(updated_at)
        FROM ledger GROUP BY topic, "partition" ORDER BY max(updated_at) DESC, topic, "partition" LIMIT %s
        """,
        (_bounded(limit),),
    )
    return [Partition(*row) for row in rows]


def minutes(connection: Connection, *, last: int = 60) -> list[Minute]:
    """Return events by minute of event time over the ``last`` minutes up to the newest window, oldest first.

    Minutes without events are there, as 0, so that a gap is seen as one.
    """
    newest = _value(connection, "SELECT max(start) FROM host_windows WHERE seconds = %s", MINUTE)
    if newest is None:
        return []
    # Apart from the above, so that the planner knows the span and spreads the scan over workers.
    rows = connection.execute(
        """
        SELECT start, sum("values"[array_position(metrics, %s)]) FROM host_windows
        WHERE seconds = %s AND start > %s AND start <= %s GROUP BY start
        """,
        (EVENTS_METRIC, MINUTE, newest - timedelta(minutes=_bounded(last)), newest),
    )
    counted = {start: events or 0.0 for start, events in rows}
    step = timedelta(seconds=MINUTE)
    steps = round((newest - min(counted)) / step)
    return [Minute(start, counted.get(start, 0.0)) for start in (newest - step * back for back in range(steps, -1, -1))]


def levels(connection: Connection) -> dict[Level, int]:
    """Return how many alerts of each level no analyst has closed; every level is there."""
    rows = connection.execute(
        """
        SELECT level, count(*) FROM alerts a LEFT JOIN alert_reviews r ON r.alert_id = a.id
        WHERE coalesce(r.status, 'open') <> 'closed' GROUP BY level
        """
    )
    found = {Level(level): count for level, count in rows}
    return {level: found.get(level, 0) for level in Level}


_ALERT = """
    SELECT a.id, a.kind, a.rule, a.name, a.level, a.entity, a.first_seen, a.last_seen, a.count, a.reason,
           a.techniques, a.tactics, coalesce(r.status, 'open')
    FROM alerts a LEFT JOIN alert_reviews r ON r.alert_id = a.id
"""


def alerts(
    connection: Connection, wanted: AlertFilter | None = None, *, limit: int = 100, after: Cursor | None = None
) -> AlertPage:
    """Return alerts newest first, ``limit`` a page; pass a page's ``next`` as ``after`` for the following one."""
    wanted = wanted or AlertFilter()
    limit = _bounded(limit)
    rows = connection.execute(
        _ALERT
        + """
        WHERE a.level >= %(level)s
          AND (%(entity)s = '' OR a.entity = %(entity)s)
          AND (%(kind)s = '' OR a.kind = %(kind)s)
          AND (%(technique)s = '' OR %(technique)s = ANY (a.techniques))
          AND (%(status)s = '' OR coalesce(r.status, 'open') = %(status)s)
          AND (%(since)s::timestamptz IS NULL OR a.last_seen >= %(since)s)
          AND (%(text)s = '' OR a.name ILIKE %(like)s OR a.entity ILIKE %(like)s OR a.rule ILIKE %(like)s
               OR a.reason ILIKE %(like)s)
          AND (%(after)s::timestamptz IS NULL OR (a.last_seen, a.id) < (%(after)s, %(after_id)s))
        ORDER BY a.last_seen DESC, a.id DESC LIMIT %(limit)s
        """,
        {
            "level": int(wanted.level),
            "entity": wanted.entity,
            "kind": wanted.kind,
            "technique": wanted.technique,
            "status": wanted.status,
            "since": wanted.since,
            "text": wanted.text,
            "like": f"%{_escape_like(wanted.text)}%",
            "after": after.last_seen if after else None,
            "after_id": after.id if after else "",
            "limit": limit + 1,
        },
    ).fetchall()
    found = tuple(_alert(row) for row in rows[:limit])
    more = len(rows) > limit
    return AlertPage(found, Cursor(found[-1].last_seen, found[-1].id) if more else None)


def alerts_by_id(connection: Connection, ids: Sequence[str]) -> list[AlertRow]:
    """Return the alerts with these ids, in this order, without those that are gone."""
    rows = connection.execute(_ALERT + "WHERE a.id = ANY (%s)", (list(ids[:MAX_ROWS]),))
    found = {row[0]: _alert(row) for row in rows}
    return [found[id_] for id_ in ids if id_ in found]


def alert(connection: Connection, alert_id: str) -> AlertDetail | None:
    """Return one alert with its evidence, in order of time; None if there is none of this id."""
    found = alerts_by_id(connection, [alert_id])
    rest = connection.execute("SELECT evidence, versions, updated_at FROM alerts WHERE id = %s", (alert_id,)).fetchone()
    if not found or rest is None:
        return None
    evidence = connection.execute(
        "SELECT event_id, time, raw FROM evidence WHERE alert_id = %s ORDER BY time, event_id LIMIT %s",
        (alert_id, MAX_ROWS),
    )
    return AlertDetail(found[0], tuple(rest[0]), tuple(EvidenceRow(*row) for row in evidence), rest[1], rest[2])


def incidents(connection: Connection, *, limit: int = 50) -> tuple[list[QueuedIncident], int]:
    """Return the queue of incidents that nobody closed, the most severe first, and how many more there are."""
    found = queue(connection, limit=MAX_ROWS)
    return found[: _bounded(limit)], max(0, len(found) - _bounded(limit))


def suppressions(connection: Connection, *, limit: int = 50) -> list[KeptSuppression]:
    """Return what is suppressed now, the newest first, with how much each has kept back."""
    return kept(connection, limit=_bounded(limit))


def incidents_by_id(connection: Connection, ids: Sequence[str]) -> list[QueuedIncident]:
    """Return the incidents with these ids, in this order, without those that are gone or merged."""
    found = [find(connection, id_) for id_ in ids[:MAX_ROWS]]
    return [one for one, id_ in zip(found, ids, strict=False) if one is not None and one.id == id_]


def incident(connection: Connection, incident_id: str) -> tuple[QueuedIncident, list[AlertRow], Summary | None] | None:
    """Return one incident, by its id or an alias, its alerts in order of time, and its summary; None: there is none."""
    found = find(connection, incident_id)
    if found is None:
        return None
    rows = connection.execute(
        _ALERT
        + """
        JOIN incident_alerts m ON m.alert_id = a.id
        WHERE m.incident_id = %s ORDER BY a.first_seen, a.id LIMIT %s
        """,
        (found.id, MAX_ROWS),
    )
    return found, [_alert(row) for row in rows], summary(connection, found.id)


def metric(connection: Connection, host: str, name: str, *, since: datetime, until: datetime) -> list[MetricPoint]:
    """Return one metric of one host by minute between two times, oldest first."""
    rows = connection.execute(
        """
        SELECT start, "values"[at], scores[at]
        FROM (
            SELECT start, "values", scores, array_position(metrics, %s) AS at FROM host_windows
            WHERE host = %s AND seconds = %s AND start BETWEEN %s AND %s
        ) windows
        WHERE at IS NOT NULL ORDER BY start LIMIT %s
        """,
        (name, host, MINUTE, since, until, MAX_ROWS),
    )
    return [MetricPoint(*row) for row in rows]


def hosts(connection: Connection, *, limit: int = 200) -> list[HostRow]:
    """Return hosts with open alerts first, the highest level first, then by events."""
    rows = connection.execute(
        """
        WITH alerted AS (
            SELECT a.entity, count(*) AS alerts,
                   count(*) FILTER (WHERE coalesce(r.status, 'open') <> 'closed') AS open_alerts,
                   max(a.level) FILTER (WHERE coalesce(r.status, 'open') <> 'closed') AS worst
            FROM alerts a LEFT JOIN alert_reviews r ON r.alert_id = a.id GROUP BY a.entity
        ),
        listed AS (
            SELECT h.host, h.events, h.first_seen, h.last_seen,
                   CASE WHEN h.judged_from > h.last_seen THEN h.judged_from END AS warming_until,
                   coalesce(a.alerts, 0) AS alerts,
                   coalesce(a.open_alerts, 0) AS open_alerts, a.worst
            FROM hosts h LEFT JOIN alerted a ON a.entity = h.host
            ORDER BY a.worst DESC NULLS LAST, open_alerts DESC, h.events DESC, h.host LIMIT %s
        )
        SELECT l.*, w.start, w.metrics, w."values", w.scores
        FROM listed l
        LEFT JOIN LATERAL (
            SELECT start, metrics, "values", scores FROM host_windows w
            WHERE w.host = l.host AND w.seconds = %s
              AND w.start BETWEEN l.last_seen - interval '1 day' AND l.last_seen + interval '1 day'
            ORDER BY start DESC LIMIT 1
        ) w ON true
        ORDER BY l.worst DESC NULLS LAST, l.open_alerts DESC, l.events DESC, l.host
        """,
        (_bounded(limit), MINUTE),
    )
    return [_host(row) for row in rows]


def freshness(connection: Connection) -> datetime | None:
    """Return when the flow last wrote anything that is dated; None if it never did."""
    found: datetime | None = _value(
        connection,
        "SELECT greatest((SELECT max(updated_at) FROM ledger), (SELECT max(updated_at) FROM alerts), "
        "(SELECT max(updated_at) FROM hosts))",
    )
    return found


def _value(connection: Connection, query: LiteralString, *parameters: object) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None


def _alert(row: Sequence[Any]) -> AlertRow:
    id_, kind, rule, name, level, entity, first, last, count, reason, techniques, tactics, status = row
    severity, named, tagged = Level(level), tuple(techniques), tuple(tactics)
    return AlertRow(id_, kind, rule, name, severity, entity, first, last, count, reason, named, tagged, status)


def _host(row: Sequence[Any]) -> HostRow:
    host, events, first, last, warming, alerted, opened, worst, window, names, values, scores = row
    metrics = dict(zip(names or (), values or (), strict=False))
    seen = [score for score in scores or () if score >= 0]
    return HostRow(
        *(host, events, first, last, warming, alerted, opened, None if worst is None else Level(worst)),
        *(window, metrics, max(seen) if seen else None),
    )


def _bounded(limit: int) -> int:
    return max(1, min(limit, MAX_ROWS))


def _escape_like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
