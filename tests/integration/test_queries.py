"""What people see wrongly if a query is wrong: figures, order, filters, pages, and a moment that is not one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from dashboards import queries
from dashboards.records import AlertFilter, Source
from state.alerts import Alert, Evidence, Level, moment
from state.control import Suppression
from state.ledger import LedgerRow
from state.postgres import DatabaseError, PostgresSettings, connect, pool
from state.revisions import migrate
from state.store import Store
from state.suppressions import DAY, Suppressed, keep, told
from state.windows import HostSeen, HostWindow

T0 = 1_770_000_000_000_000 // 60_000_000 * 60_000_000
MINUTE = 60_000_000


@pytest.fixture
def settings(postgres_dsn: str) -> PostgresSettings:
    migrate(postgres_dsn)
    return PostgresSettings(dsn=SecretStr(postgres_dsn))


@pytest.fixture
def store(settings: PostgresSettings) -> Iterator[Store]:
    with Store(settings) as opened:
        yield opened


@pytest.fixture
def reader(settings: PostgresSettings) -> Iterator[ConnectionPool]:
    with pool(settings, read_only=True) as opened:
        yield opened


def an_alert(id_: str, **changes: object) -> Alert:
    alert = Alert(
        id_, "rule", "r1", "A rule", Level.low, "web-1", T0, T0, T0, 1, "because", ("T1110",), (), (), ()
    )  # fmt: skip
    return msgspec.structs.replace(alert, **changes)


def close(settings: PostgresSettings, alert_id: str) -> None:
    with connect(settings.required_dsn()) as connection:
        connection.execute(
            "INSERT INTO alert_reviews (alert_id, status, author) VALUES (%s, 'closed', 'kim')", (alert_id,)
        )


def test_an_empty_database_has_nothing_and_no_query_fails(reader: ConnectionPool) -> None:
    with queries.snapshot(reader) as connection:
        totals = queries.totals(connection)
        assert (totals.consumed, totals.hosts, totals.updated_at) == (0, 0, None)
        assert queries.sources(connection) == queries.partitions(connection) == queries.minutes(connection) == []
        assert queries.alerts(connection).alerts == ()
        assert queries.hosts(connection) == []
        assert queries.alert(connection, "a-none") is None
        assert queries.freshness(connection) is None
        assert set(queries.levels(connection).values()) == {0}
        assert queries.suppressions(connection) == []


def test_what_is_suppressed_is_listed_with_all_that_it_has_held_back(
    settings: PostgresSettings, store: Store, reader: ConnectionPool
) -> None:
    now = time.time_ns() // 1_000
    entry = Suppression(
        version=1, id="c-" + "0" * 20, author="ann", reason="noise", written_at=now, from_time=now - DAY, rule="r",
        entity=None, until_time=now + DAY, fields={"user.name": "svc-*"},
    )  # fmt: skip
    over = msgspec.structs.replace(entry, id="c-" + "1" * 20, until_time=now - 1)
    with connect(settings.required_dsn(), autocommit=True) as connection:
        for each in (entry, over):
            keep(connection, each)
            told(connection, each.id)
    counts = [
        Suppressed(entry.id, f"h-{n}", "rule", "r", now - now % DAY, 1 + n, now - 9, now - 9 + n, f"t-0-{n}")
        for n in range(3)
    ]
    store.write_suppressed(counts)
    store.write_suppressed([msgspec.structs.replace(counts[0], count=5)])  # set, not added
    with queries.snapshot(reader) as connection:
        (row,) = queries.suppressions(connection)
    assert (row.id, row.status, row.count, row.last_entity, row.last_event) == (entry.id, "active", 10, "h-2", "t-0-2")
    assert (row.author, row.fields) == ("ann", {"user.name": "svc-*"})


def test_totals_and_sources_add_up_the_ledger(store: Store, reader: ConnectionPool) -> None:
    store.write_ledger(
        [
            LedgerRow("a", 0, 0, 100, 3, 2, 0, 90, 4, 1, late=5, future=6, sources={"zeek.conn": 60, "zeek.dns": 35}),
            LedgerRow("a", 1, 0, 10, 0, 0, 0, 10, sources={"zeek.dns": 10}),
        ]
    )
    store.write_hosts([HostSeen("web-1", 105, T0, T0)])
    with queries.snapshot(reader) as connection:
        totals = queries.totals(connection)
        assert (totals.consumed, totals.events, totals.rejected) == (110, 105, 3)
        assert (totals.rule, totals.bert, totals.llm, totals.late, totals.future, totals.hosts) == (100, 4, 1, 5, 6, 1)
        assert queries.sources(connection) == [Source("zeek.conn", 60), Source("zeek.dns", 45)]
        assert [(p.partition, p.consumed) for p in queries.partitions(connection)] == [(0, 100), (1, 10)]
        assert totals.updated_at is not None
        assert timedelta() <= totals.read_at - totals.updated_at < timedelta(minutes=1)


def test_minutes_are_summed_over_hosts_and_a_gap_shows_as_zero(store: Store, reader: ConnectionPool) -> None:
    def window(host: str, minute: int, events: float, seconds: int = 60) -> HostWindow:
        return HostWindow(host, T0 + minute * MINUTE, seconds, ("bytes", "events"), (9.0, events), (-1.0, -1.0))

    store.write_host_windows(
        [window("a", 0, 5), window("b", 0, 7), window("a", 3, 1), window("a", -500, 8), window("a", 0, 99, 600)]
    )
    store.write_host_windows([HostWindow("c", T0, 60, ("bytes",), (4.0,), (-1.0,))])
    with queries.snapshot(reader) as connection:
        found = queries.minutes(connection, last=60)
    assert [(m.start, m.events) for m in found] == [
        (moment(T0 + minute * MINUTE), events) for minute, events in enumerate((12, 0, 0, 1))
    ]


def test_pages_of_alerts_hold_every_alert_once_newest_first(store: Store, reader: ConnectionPool) -> None:
    # Five share a time: a page that goes on by time alone would repeat or lose them.
    written = [an_alert(f"a-{n:02d}", last_seen=T0 + (n // 5) * MINUTE) for n in range(23)]
    store.write_alerts(written)
    seen: list[str] = []
    after = None
    with queries.snapshot(reader) as connection:
        while True:
            page = queries.alerts(connection, limit=4, after=after)
            seen += [alert.id for alert in page.alerts]
            after = page.next
            if after is None:
                break
    assert seen == [a.id for a in sorted(written, key=lambda a: (a.last_seen, a.id), reverse=True)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (AlertFilter(level=Level.high), {"a-high"}),
        (AlertFilter(entity="db-1"), {"a-db"}),
        (AlertFilter(kind="anomaly"), {"a-db"}),
        (AlertFilter(technique="T1048"), {"a-db"}),
        (AlertFilter(status="closed"), {"a-low"}),
        (AlertFilter(status="open"), {"a-high", "a-db"}),
        (AlertFilter(since=moment(T0 + 5)), {"a-high"}),
        (AlertFilter(text="INJECT"), {"a-high"}),
        (AlertFilter(text="100%"), {"a-low"}),
        (AlertFilter(text="_"), set()),
        (AlertFilter(text="'; DROP TABLE alerts; --"), set()),
    ],
)
def test_filters_find_what_they_name(
    settings: PostgresSettings, store: Store, reader: ConnectionPool, wanted: AlertFilter, expected: set[str]
) -> None:
    store.write_alerts(
        [
            an_alert("a-high", level=Level.high, name="SQL injection", last_seen=T0 + 10),
            an_alert("a-db", entity="db-1", kind="anomaly", techniques=("T1046", "T1048")),
            an_alert("a-low", reason="disk 100% full"),
        ]
    )
    close(settings, "a-low")
    with queries.snapshot(reader) as connection:
        assert {alert.id for alert in queries.alerts(connection, wanted).alerts} == expected


def test_one_alert_comes_with_its_evidence_in_order_and_byte_for_byte(store: Store, reader: ConnectionPool) -> None:
    store.write_alerts([an_alert("a-1", evidence=("t-0-9", "t-0-1", "t-0-5"), versions=(("rules", "v1"),))])
    raw = b'{"a": "\x00\xff<script>"}'
    store.write_evidence(
        [Evidence("t-0-9", "a-1", "web-1", T0, raw), Evidence("t-0-1", "a-1", "web-1", T0 + 1, b""),
         Evidence("t-0-1", "a-2", "web-1", T0, b"other")]
    )  # fmt: skip
    with queries.snapshot(reader) as connection:
        detail = queries.alert(connection, "a-1")
    assert detail is not None
    assert detail.evidence_ids == ("t-0-9", "t-0-1", "t-0-5")
    assert [(copy.event_id, copy.raw) for copy in detail.evidence] == [("t-0-9", raw), ("t-0-1", b"")]
    assert detail.versions == {"rules": "v1"}


def test_hosts_with_the_worst_open_alerts_come_first_with_their_newest_metrics(
    settings: PostgresSettings, store: Store, reader: ConnectionPool
) -> None:
    store.write_hosts(
        [HostSeen(host, n, T0 - MINUTE, T0) for n, host in enumerate(("quiet", "noisy"))]
        + [HostSeen("closed", 2, T0 - MINUTE, T0, T0 + MINUTE), HostSeen("bad", 3, T0 - MINUTE, T0, T0 - MINUTE)]
    )
    store.write_alerts(
        [
            an_alert("a-1", entity="noisy"),
            an_alert("a-2", entity="noisy"),
            an_alert("a-3", entity="bad", level=Level.high),
            an_alert("a-4", entity="closed", level=Level.critical),
        ]
    )
    close(settings, "a-4")
    store.write_host_windows(
        [
            HostWindow("bad", T0 - MINUTE, 60, ("events",), (1.0,), (0.9,)),
            HostWindow("bad", T0, 60, ("bytes", "events"), (5.0, 2.0), (0.25, -1.0)),
            HostWindow("bad", T0, 600, ("events",), (77.0,), (-1.0,)),
            HostWindow("noisy", T0, 60, ("events",), (3.0,), (-1.0,)),
        ]
    )
    with queries.snapshot(reader) as connection:
        found = queries.hosts(connection)
    assert [row.host for row in found] == ["bad", "noisy", "closed", "quiet"]
    bad, noisy, closed, quiet = found
    assert (bad.worst, bad.metrics, bad.score) == (Level.high, {"bytes": 5.0, "events": 2.0}, 0.25)
    assert (noisy.open_alerts, noisy.score) == (2, None)
    assert (closed.alerts, closed.open_alerts, closed.worst) == (1, 0, None)
    assert (quiet.metrics, quiet.window) == ({}, None)
    # New is who has not been seen for long enough, not who once was.
    assert closed.warming_until is not None and closed.warming_until > closed.last_seen
    assert (bad.warming_until, quiet.warming_until) == (None, None)


def test_a_metrics_history_skips_windows_without_it(store: Store, reader: ConnectionPool) -> None:
    store.write_host_windows(
        [
            HostWindow("web-1", T0, 60, ("logins",), (1.0,), (-1.0,)),
            HostWindow("web-1", T0 + MINUTE, 60, ("bytes",), (9.0,), (-1.0,)),
            HostWindow("web-1", T0 + 2 * MINUTE, 60, ("bytes", "logins"), (9.0, 3.0), (0.1, 0.5)),
        ]
    )
    with queries.snapshot(reader) as connection:
        found = queries.metric(connection, "web-1", "logins", since=moment(T0), until=moment(T0 + 5 * MINUTE))
    assert [(point.value, point.score) for point in found] == [(1.0, -1.0), (3.0, 0.5)]


def test_all_reads_of_a_snapshot_see_one_moment(store: Store, reader: ConnectionPool) -> None:
    with queries.snapshot(reader) as connection:
        assert sum(queries.levels(connection).values()) == 0
        store.write_alerts([an_alert("a-1")])
        assert queries.alerts(connection).alerts == ()


def test_a_database_that_is_away_is_one_clear_error() -> None:
    settings = PostgresSettings(dsn=SecretStr("host=127.0.0.1 port=1 dbname=x password=hunter2"), connect_timeout=1)
    with (
        pool(settings, read_only=True) as away,
        pytest.raises(DatabaseError) as caught,
        queries.snapshot(away),
    ):
        pass
    assert "hunter2" not in str(caught.value)
