"""What the flow writes to Postgres: upserts that SET and never ADD, so that writing the same again changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar

import msgspec
import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from state.alerts import Alert, Evidence
from state.audits import Audited
from state.copying import HEADER, TRAILER
from state.incidents import Incident
from state.ledger import LedgerRow
from state.partitions import day_of, drop_before, ensure_days, existing_days
from state.postgres import PostgresSettings, clean_key, explained, pool
from state.rows import (
    ALERTS,
    AUDITS,
    EVIDENCE,
    HOST_WINDOWS,
    HOSTS,
    INCIDENT_ALERTS,
    INCIDENTS,
    LEDGER,
    SUPPRESSED,
    Row,
    Table,
    alert_row,
    audit_row,
    evidence_row,
    host_row,
    incident_alert_rows,
    incident_row,
    ledger_row,
    statements,
    suppressed_row,
    window_row,
)
from state.suppressions import Suppressed
from state.windows import HostSeen, HostWindow

#: Rows joined for one write to the server.
CHUNK = 500
#: Seconds between attempts while the database is away: first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0

T = TypeVar("T")


class Pruned(msgspec.Struct, frozen=True):
    """What a prune removed."""

    #: Daily partitions of host windows.
    days: int
    alerts: int
    evidence: int
    incidents: int
    #: Counts of what was suppressed, by entity, rule and day.
    suppressed: int = 0


class Store:
    """Writes what the flow owns. Each call is one transaction; a call that raised may be repeated.

    ``source`` is settings, or a pool of ``state.postgres.pool`` that the caller closes. While the database is away a
    call tries again for ``patience`` seconds, then raises ``DatabaseError``; what Postgres refuses outright is raised
    at once.
    """

    def __init__(self, source: ConnectionPool | PostgresSettings, *, patience: float = 30.0) -> None:
        self._owned = isinstance(source, PostgresSettings)
        self._pool = pool(source) if isinstance(source, PostgresSettings) else source
        self._patience = patience
        self._days: set[int] = set()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the pool if the store opened it."""
        if self._owned:
            self._pool.close()

    def write_alerts(self, alerts: Sequence[Alert]) -> None:
        """Set alerts by id; of several with one id the last counts."""
        self._upsert(ALERTS, [alert_row(alert) for alert in alerts])

    def write_evidence(self, evidence: Sequence[Evidence]) -> None:
        """Set copies of events by event and alert."""
        self._upsert(EVIDENCE, [evidence_row(event) for event in evidence])

    def trim_evidence(self, alert_ids: Sequence[str]) -> None:
        """Remove copies that these alerts, as they are stored, no longer cite: earlier events took their place."""
        if not alert_ids:
            return
        ids = sorted({clean_key(alert_id) for alert_id in alert_ids})

        def work(connection: psycopg.Connection[Any]) -> None:
            with connection.transaction():
                connection.execute(
                    "DELETE FROM evidence e USING alerts a WHERE a.id = ANY(%s) AND e.alert_id = a.id "
                    "AND NOT e.event_id = ANY(a.evidence)",
                    (ids,),
                )

        self._run(work)

    def write_incidents(self, incidents: Sequence[Incident]) -> None:
        """Set incidents by id, then which alerts are part of them."""
        self._upsert(INCIDENTS, [incident_row(incident) for incident in incidents])
        self._upsert(INCIDENT_ALERTS, [row for incident in incidents for row in incident_alert_rows(incident)])

    def write_hosts(self, hosts: Sequence[HostSeen]) -> None:
        """Set totals by host."""
        self._upsert(HOSTS, [host_row(host) for host in hosts])

    def write_host_windows(self, windows: Sequence[HostWindow]) -> None:
        """Set windows by host, length and start; make the partitions of their days as needed."""
        self._upsert(HOST_WINDOWS, [window_row(window) for window in windows], {day_of(w.start) for w in windows})

    def write_ledger(self, rows: Sequence[LedgerRow]) -> None:
        """Set ledger rows by topic, partition and bucket."""
        self._upsert(LEDGER, [ledger_row(row) for row in rows])

    def write_suppressed(self, counts: Sequence[Suppressed]) -> None:
        """Set what was suppressed by suppression, entity, kind, rule and day."""
        self._upsert(SUPPRESSED, [suppressed_row(count) for count in counts])

    def write_audits(self, audited: Sequence[Audited]) -> None:
        """Set texts of the audit sample by event. They are never pruned: a part of a sample is none."""
        self._upsert(AUDITS, [audit_row(each) for each in audited])

    def prune(self, days: int, *, now: datetime | None = None) -> Pruned:
        """Remove host windows, incidents, alerts, evidence and counts of what was suppressed, over ``days`` days back.

        An incident or alert that an analyst reviewed stays, with its alerts and evidence; so do hosts and the ledger,
        which grow by one row a host and one row 10,000 messages, and suppressions themselves. Days are of event time.
        """
        if days < 1:
            raise ValueError(f"days must be at least 1, not {days}")
        limit = (now or datetime.now(UTC)).astimezone(UTC) - timedelta(days=days)

        def work(connection: psycopg.Connection[Any]) -> Pruned:
            dropped = drop_before(connection, day_of(int(limit.timestamp() * 1_000_000)))
            with connection.transaction():
                connection.execute("SET LOCAL statement_timeout = 0")
                incidents = connection.execute(
                    "DELETE FROM incidents i WHERE last_seen < %s "
                    "AND NOT EXISTS (SELECT FROM incident_reviews r WHERE r.incident_id = i.id)",
                    (limit,),
                ).rowcount
                connection.execute(
                    "DELETE FROM incident_alerts p WHERE NOT EXISTS "
                    "(SELECT FROM incidents i WHERE i.id = p.incident_id)"
                )
                alerts = connection.execute(
                    "DELETE FROM alerts a WHERE last_seen < %s "
                    "AND NOT EXISTS (SELECT FROM alert_reviews r WHERE r.alert_id = a.id) "
                    "AND NOT EXISTS (SELECT FROM incident_alerts p JOIN incident_reviews r USING (incident_id) "
                    "WHERE p.alert_id = a.id)",
                    (limit,),
                ).rowcount
                evidence = connection.execute(
                    "DELETE FROM evidence e WHERE time < %s "
                    "AND NOT EXISTS (SELECT FROM alerts a WHERE a.id = e.alert_id)",
                    (limit,),
                ).rowcount
                suppressed = connection.execute("DELETE FROM suppressed WHERE last_seen < %s", (limit,)).rowcount
            return Pruned(dropped, alerts, evidence, incidents, suppressed)

        return self._run(work)

    def _upsert(self, table: Table, rows: Sequence[Row], days: set[int] | None = None) -> None:
        if not rows:
            return
        # The last row of a key wins, for one INSERT may not touch a row twice; and rows go in the order of their keys,
        # for workers that lock the same rows in the same order cannot wait for each other in a circle.
        last = {row.key: row.data for row in rows}
        data = [last[key] for key in sorted(last)]
        parts = statements(table)

        def work(connection: psycopg.Connection[Any]) -> None:
            if days and not days <= self._days:
                self._days = ensure_days(connection, days)
            try:
                with connection.transaction(), connection.cursor() as cursor:
                    cursor.execute(parts.prepare)
                    with cursor.copy(parts.copy) as copy:
                        copy.write(HEADER)
                        for first in range(0, len(data), CHUNK):
                            copy.write(b"".join(data[first : first + CHUNK]))
                        copy.write(TRAILER)
                    cursor.execute(parts.upsert)
            except psycopg.errors.CheckViolation:
                # A prune may have dropped a partition since; if so it is made again, and the rows go in.
                if not days or days <= existing_days(connection):
                    raise
                self._days = set()
                work(connection)

        self._run(work)

    def _run(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        deadline, pause = time.monotonic() + self._patience, FIRST_PAUSE
        with explained():
            while True:
                try:
                    with self._pool.connection() as connection:
                        return work(connection)
                except (psycopg.OperationalError, PoolTimeout):
                    if time.monotonic() + pause > deadline:
                        raise
                    time.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
