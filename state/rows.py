"""The tables that the flow owns, and how its records become their rows."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
from psycopg import sql

from state import copying
from state.alerts import Alert, Evidence
from state.audits import Audited
from state.ids import suppressed_id
from state.incidents import Incident
from state.ledger import LedgerRow
from state.postgres import clean_key
from state.suppressions import Suppressed
from state.windows import HostSeen, HostWindow


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row: its key, by which rows are told apart and sorted, and all of its columns as COPY takes them."""

    key: tuple[Any, ...]
    data: bytes


class Table(msgspec.Struct, frozen=True):
    """A table that is written by upsert."""

    name: str
    #: Columns in the order of a row's data.
    columns: tuple[str, ...]
    #: How many of them, from the first, are the key.
    key: int
    #: Whether ``updated_at`` says when a row was last written.
    dated: bool = True


_COUNTS = ("consumed", "rejected", "skipped", "absent", "lost", "rule", "bert", "llm", "late", "future")

ALERTS = Table(
    "alerts",
    (
        *("id", "kind", "rule", "name", "level", "entity", "window_start", "first_seen", "last_seen", "count"),
        *("reason", "techniques", "tactics", "evidence", "versions"),
    ),
    key=1,
)
EVIDENCE = Table("evidence", ("event_id", "alert_id", "entity", "time", "raw"), key=2, dated=False)
HOSTS = Table("hosts", ("host", "events", "first_seen", "last_seen", "judged_from"), key=1)
HOST_WINDOWS = Table("host_windows", ("host", "seconds", "start", "metrics", "values", "scores"), key=3, dated=False)
INCIDENTS = Table(
    "incidents",
    (
        *("id", "state", "severity", "score", "entities", "first_seen", "last_seen", "opened", "tactics", "techniques"),
        *("alert_count", "evidence", "title", "explanation", "aliases", "merged_into"),
    ),
    key=1,
)
INCIDENT_ALERTS = Table("incident_alerts", ("incident_id", "alert_id", "position"), key=2, dated=False)
LEDGER = Table("ledger", ("topic", "partition", "bucket", *_COUNTS, "sources", "versions", "rules"), key=3)
SUPPRESSED = Table(
    "suppressed",
    ("id", "suppression", "entity", "kind", "rule", "day", "count", "first_seen", "last_seen", "last_event"),
    key=1,
)

AUDITS = Table(
    "audits",
    (
        *("event_id", "host", "time", "source", "text", "label", "malicious", "alerts_from", "model", "windows"),
        *("screen", "said", "calibration", "one_in", "seed"),
    ),
    key=1,
)


class Statements(msgspec.Struct, frozen=True):
    """What writes one table: rows are copied into a temporary table of the session, then set from there."""

    prepare: sql.Composed
    copy: sql.Composed
    upsert: sql.Composed


@functools.cache
def statements(table: Table) -> Statements:
    """Return the statements that write ``table``, to be run in one transaction."""
    names = [sql.Identifier(name) for name in table.columns]
    updates: list[sql.Composable] = [sql.SQL("{0} = excluded.{0}").format(name) for name in names[table.key :]]
    if table.dated:
        updates.append(sql.SQL("updated_at = clock_timestamp()"))
    parts = {
        "table": sql.Identifier(table.name),
        "incoming": sql.Identifier(f"incoming_{table.name}"),
        "columns": sql.SQL(", ").join(names),
        "key": sql.SQL(", ").join(names[: table.key]),
        "updates": sql.SQL(", ").join(updates),
    }
    return Statements(
        sql.SQL(
            "CREATE TEMPORARY TABLE IF NOT EXISTS {incoming} ON COMMIT DELETE ROWS AS "
            "SELECT {columns} FROM {table} WITH NO DATA"
        ).format(**parts),
        sql.SQL("COPY {incoming} ({columns}) FROM STDIN (FORMAT binary)").format(**parts),
        sql.SQL(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM {incoming} "
            "ON CONFLICT ({key}) DO UPDATE SET {updates}"
        ).format(**parts),
    )


def alert_row(alert: Alert) -> Row:
    """Return the row of an alert."""
    key = clean_key(alert.id)
    data = copying.row(
        copying.text(key),
        copying.text(alert.kind),
        copying.text(alert.rule),
        copying.text(alert.name),
        copying.int2(alert.level),
        copying.text(clean_key(alert.entity)),
        copying.timestamp(alert.window_start),
        copying.timestamp(alert.first_seen),
        copying.timestamp(alert.last_seen),
        copying.int8(alert.count),
        copying.text(alert.reason),
        copying.texts(alert.techniques),
        copying.texts(alert.tactics),
        copying.texts(tuple(clean_key(event) for event in alert.evidence)),
        copying.jsonb(dict(alert.versions)),
    )
    return Row((key,), data)


def incident_row(incident: Incident) -> Row:
    """Return the row of an incident."""
    key = clean_key(incident.id)
    data = copying.row(
        copying.text(key),
        copying.text(incident.state),
        copying.int2(incident.severity),
        copying.double(incident.score),
        copying.texts(tuple(clean_key(entity) for entity in incident.entities)),
        copying.timestamp(incident.first_seen),
        copying.timestamp(incident.last_seen),
        copying.timestamp_or_null(incident.opened),
        copying.texts(incident.tactics),
        copying.texts(incident.techniques),
        copying.int8(incident.alert_count),
        copying.texts(tuple(clean_key(event) for event in incident.evidence)),
        copying.text(incident.title),
        copying.text(incident.explanation),
        copying.texts(incident.aliases),
        copying.text(incident.merged_into),
    )
    return Row((key,), data)


def incident_alert_rows(incident: Incident) -> list[Row]:
    """Return the rows of the alerts that are part of an incident, in its order."""
    key = clean_key(incident.id)
    return [
        Row((key, alert), copying.row(copying.text(key), copying.text(alert), copying.int4(position)))
        for position, alert in enumerate(incident.alerts)
    ]


def evidence_row(evidence: Evidence) -> Row:
    """Return the row of a copied event."""
    key = (clean_key(evidence.event_id), clean_key(evidence.alert_id))
    data = copying.row(
        copying.text(key[0]),
        copying.text(key[1]),
        copying.text(clean_key(evidence.entity)),
        copying.timestamp(evidence.time),
        copying.binary(evidence.raw),
    )
    return Row(key, data)


def host_row(host: HostSeen) -> Row:
    """Return the row of a host's totals."""
    key = clean_key(host.host)
    data = copying.row(
        copying.text(key),
        copying.int8(host.events),
        copying.timestamp(host.first_seen),
        copying.timestamp(host.last_seen),
        copying.timestamp(host.judged_from) if host.judged_from else copying.NULL,
    )
    return Row((key,), data)


def window_row(window: HostWindow) -> Row:
    """Return the row of a window."""
    key = clean_key(window.host)
    data = copying.row(
        copying.text(key),
        copying.int4(window.seconds),
        copying.timestamp(window.start),
        copying.texts(window.metrics),
        copying.float8s(window.values),
        copying.float4s(window.scores),
    )
    return Row((key, window.seconds, window.start), data)


def ledger_row(row: LedgerRow) -> Row:
    """Return the row of a span of offsets."""
    topic = clean_key(row.topic)
    data = copying.row(
        copying.text(topic),
        copying.int4(row.partition),
        copying.int8(row.bucket),
        *(copying.int8(getattr(row, name)) for name in _COUNTS),
        copying.jsonb(row.sources),
        copying.jsonb(row.versions),
        copying.jsonb({str(first): version for first, version in row.rules.items()}),
    )
    return Row((topic, row.partition, row.bucket), data)


def suppressed_row(suppressed: Suppressed) -> Row:
    """Return the row of what a suppression kept back of an entity on a day."""
    key = suppressed_id(suppressed.suppression, suppressed.entity, suppressed.kind, suppressed.rule, suppressed.day)
    data = copying.row(
        copying.text(key),
        copying.text(suppressed.suppression),
        copying.text(clean_key(suppressed.entity)),
        copying.text(suppressed.kind),
        copying.text(suppressed.rule),
        copying.timestamp(suppressed.day),
        copying.int8(suppressed.count),
        copying.timestamp(suppressed.first_seen),
        copying.timestamp(suppressed.last_seen),
        copying.text(clean_key(suppressed.last_event)),
    )
    return Row((key,), data)


def audit_row(audited: Audited) -> Row:
    """Return the row of a text of the audit sample."""
    key = clean_key(audited.event_id)
    data = copying.row(
        copying.text(key),
        copying.text(clean_key(audited.host)),
        copying.timestamp(audited.time),
        copying.text(audited.source),
        copying.text(audited.text),
        copying.text(audited.label),
        copying.double(audited.malicious),
        copying.double(audited.alerts_from),
        copying.text(audited.model),
        copying.int4(audited.windows),
        copying.boolean(audited.screen),
        copying.text(audited.said),
        copying.text(audited.calibration),
        copying.int4(audited.one_in),
        copying.int8(audited.seed),
    )
    return Row((key,), data)
