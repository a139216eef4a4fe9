"""What operators lose if the store is wrong: alerts counted twice, rows refused, a flow that a restart stops."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest
from alembic import command
from psycopg.rows import dict_row
from pydantic import SecretStr, ValidationError

from state.alerts import Alert, Evidence, Level, moment
from state.ids import alert_id, incident_id
from state.incidents import Incident
from state.ledger import LedgerRow
from state.partitions import existing_days
from state.postgres import MAX_KEY_CHARS, DatabaseError, PostgresSettings, clean_key, connect, pool
from state.reviews import find, queue, review
from state.revisions import alembic_config, migrate, pending, schema_connection
from state.store import Pruned, Store
from state.windows import HostSeen, HostWindow

T0 = 1_770_000_000_000_000  # 2026-02-02 02:40 UTC
DAY = 86_400_000_000


@pytest.fixture
def dsn(postgres_dsn: str) -> str:
    migrate(postgres_dsn)
    return postgres_dsn


@pytest.fixture
def store(dsn: str) -> Iterator[Store]:
    with Store(PostgresSettings(dsn=SecretStr(dsn))) as opened:
        yield opened


def rows(dsn: str, query: str) -> list[dict[str, object]]:
    with connect(dsn) as connection:
        return connection.cursor(row_factory=dict_row).execute(query.encode()).fetchall()


def an_alert(**changes: object) -> Alert:
    alert = Alert(
        alert_id("rule", "r1", "web-1", T0), "rule", "r1", "A rule", Level.high, "web-1", T0, T0, T0 + 5, 3, "because",
        ("T1110",), ("credential-access",), ("t-0-1", "t-0-2"), (("rules", "v1"),),
    )  # fmt: skip
    return msgspec.structs.replace(alert, **changes)


def an_incident(**changes: object) -> Incident:
    incident = Incident(
        incident_id("a", T0), "open", Level.medium, 7.5, ("web-1", "user:kim"), T0, T0 + 5, 0, ("execution",),
        ("T1059",), 3, (an_alert().id,), ("t-0-1", "t-0-2"), "A title", "What: …",
    )  # fmt: skip
    return msgspec.structs.replace(incident, **changes)


def a_window(host: str = "web-1", start: int = T0, **changes: object) -> HostWindow:
    window = HostWindow(host, start, 60, ("bytes", "events"), (1e12, 7.0), (0.5, -1.0))
    return msgspec.structs.replace(window, **changes)


# Migrations


def test_a_second_migration_has_nothing_to_do_and_says_so(postgres_dsn: str) -> None:
    announced = pending(postgres_dsn)
    first = migrate(postgres_dsn)
    assert (announced, pending(postgres_dsn)) == (first, [])
    assert [line.split()[0] for line in first] == [f"{number:04d}" for number in range(1, 10)]
    assert migrate(postgres_dsn) == []


def test_machines_that_migrate_at_once_apply_each_revision_once(postgres_dsn: str) -> None:
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrate(postgres_dsn))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(lines) for lines in applied) == [0, 0, 0, 9]


def test_every_revision_can_be_taken_back(dsn: str, store: Store) -> None:
    store.write_host_windows([a_window()])
    store.close()
    with schema_connection(dsn) as connection:
        command.downgrade(alembic_config(connection), "base")
    left = rows(
        dsn, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    assert [row["relname"] for row in left] == ["alembic_version"]
    assert migrate(dsn)


def test_a_database_of_a_newer_winnow_is_left_alone(dsn: str) -> None:
    with connect(dsn) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseError, match="revision 9999, which this version of Winnow does not know"):
        migrate(dsn)


# Writing


def test_writing_the_same_again_changes_no_count(dsn: str, store: Store) -> None:
    for _ in range(3):
        store.write_alerts([an_alert()])
        store.write_ledger([LedgerRow("t", 0, 1, consumed=10, rejected=1, rule=9, sources={"zeek.conn": 9})])
        store.write_hosts([HostSeen("web-1", 9, T0, T0 + 5)])
        store.write_host_windows([a_window()])
        store.write_evidence([Evidence("t-0-1", "a-1", "web-1", T0, b"\x00\xff{}")])
    [alert] = rows(dsn, "SELECT * FROM alerts")
    assert (alert["count"], alert["level"], alert["techniques"]) == (3, 3, ["T1110"])
    assert (alert["evidence"], alert["versions"]) == (["t-0-1", "t-0-2"], {"rules": "v1"})
    assert (alert["first_seen"], alert["last_seen"]) == (moment(T0), moment(T0 + 5))
    [ledger] = rows(dsn, "SELECT * FROM ledger")
    assert (ledger["consumed"], ledger["rejected"], ledger["rule"], ledger["sources"]) == (10, 1, 9, {"zeek.conn": 9})
    [host] = rows(dsn, "SELECT * FROM hosts")
    assert (host["events"], host["last_seen"]) == (9, moment(T0 + 5))
    [window] = rows(dsn, "SELECT * FROM host_windows")
    assert (window["metrics"], window["values"], window["scores"]) == (["bytes", "events"], [1e12, 7.0], [0.5, -1.0])
    assert (window["start"], window["seconds"]) == (moment(T0), 60)
    [evidence] = rows(dsn, "SELECT * FROM evidence")
    assert evidence["raw"] == b"\x00\xff{}"


def test_an_alert_that_grows_is_rewritten_and_the_newest_of_a_batch_counts(dsn: str, store: Store) -> None:
    store.write_alerts([an_alert()])
    store.write_alerts([an_alert(count=4), an_alert(count=5, last_seen=T0 + 99, level=Level.critical)])
    [alert] = rows(dsn, "SELECT count, level, last_seen FROM alerts")
    assert alert == {"count": 5, "level": 4, "last_seen": moment(T0 + 99)}


def test_what_analysts_wrote_survives_a_rewritten_alert(dsn: str, store: Store) -> None:
    store.write_alerts([an_alert()])
    with connect(dsn) as connection:
        connection.execute(
            "INSERT INTO alert_reviews (alert_id, status, note, author) VALUES (%s, 'closed', 'a test', 'kim')",
            (an_alert().id,),
        )
    store.write_alerts([an_alert(count=9)])
    [review] = rows(dsn, "SELECT status, note FROM alert_reviews")
    assert review == {"status": "closed", "note": "a test"}


def test_text_that_postgres_refuses_is_kept_with_marks_in_place_of_it(dsn: str, store: Store) -> None:
    nasty = "a\x00b\ud800c\t\\N\n\"{},'é𝄞"
    store.write_alerts(
        [an_alert(name=nasty, reason=nasty, techniques=(nasty, ""), tactics=(), versions=((nasty, nasty),))]
    )
    store.write_ledger([LedgerRow(nasty, 0, 0, sources={nasty: 1})])
    shown = "a\ufffdb\ufffdc\t\\N\n\"{},'é𝄞"
    [alert] = rows(dsn, "SELECT name, reason, techniques, tactics, versions FROM alerts")
    assert alert == {
        "name": shown, "reason": shown, "techniques": [shown, ""], "tactics": [], "versions": {shown: shown},
    }  # fmt: skip
    [ledger] = rows(dsn, "SELECT topic, sources FROM ledger")
    assert ledger == {"topic": shown, "sources": {shown: 1}}


def test_hosts_with_endless_names_neither_stop_the_flow_nor_become_one(dsn: str, store: Store) -> None:
    long = [("𝄞" * 10_000) + end for end in ("a", "b")]
    store.write_hosts([HostSeen(host, 1, T0, T0) for host in long])
    store.write_host_windows([a_window(host) for host in long])
    names = {row["host"] for row in rows(dsn, "SELECT host FROM hosts")}
    assert names == {clean_key(host) for host in long}
    assert len(names) == 2
    assert max(len(str(name)) for name in names) <= MAX_KEY_CHARS


def test_no_metrics_and_values_that_are_no_number_are_stored(dsn: str, store: Store) -> None:
    store.write_host_windows(
        [
            a_window("none", metrics=(), values=(), scores=()),
            a_window("odd", metrics=("a", "b"), values=(float("inf"), float("nan")), scores=(0.0, 1.0)),
        ]
    )
    found = {row["host"]: row for row in rows(dsn, 'SELECT host, metrics, "values" FROM host_windows')}
    assert found["none"]["values"] == []
    assert str(found["odd"]["values"]) == "[inf, nan]"


def test_a_batch_over_many_years_makes_the_partitions_it_needs(dsn: str, store: Store) -> None:
    starts = [T0, T0 + DAY, T0 - 6 * 365 * DAY, T0 - 1, -DAY, 0]
    store.write_host_windows([a_window(start=start) for start in starts])
    found = rows(dsn, "SELECT start, tableoid::regclass::text AS part FROM host_windows ORDER BY start")
    assert [row["start"] for row in found] == sorted(moment(start) for start in starts)
    for row in found:
        start = row["start"]
        assert isinstance(start, datetime)
        assert row["part"] == f"host_windows_{start:%Y%m%d}"


def test_workers_that_write_the_same_days_at_once_do_not_fail(dsn: str) -> None:
    errors: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            with Store(PostgresSettings(dsn=SecretStr(dsn))) as own:
                for day in range(8):
                    # The same keys in another order for each worker: without an order of its own the store deadlocks.
                    windows = [a_window(f"h{n}", T0 + day * DAY) for n in range(200)]
                    own.write_host_windows(windows if worker % 2 else windows[::-1])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert rows(dsn, "SELECT count(*) AS n FROM host_windows") == [{"n": 1600}]
    with connect(dsn) as connection:
        assert len(existing_days(connection)) == 8


def test_a_partition_pruned_under_a_running_flow_is_made_again(dsn: str, store: Store) -> None:
    store.write_host_windows([a_window()])
    with connect(dsn) as connection:
        connection.execute("DROP TABLE host_windows_20260202")
    store.write_host_windows([a_window()])
    assert rows(dsn, "SELECT host FROM host_windows") == [{"host": "web-1"}]


def test_a_restarted_database_does_not_end_the_flow(dsn: str, store: Store) -> None:
    store.write_alerts([an_alert()])
    with connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                           "AND datname = current_database() AND application_name = 'winnow'")  # fmt: skip
    store.write_alerts([an_alert(count=8)])
    assert rows(dsn, "SELECT count FROM alerts") == [{"count": 8}]


def test_what_the_database_refuses_is_raised_and_nothing_of_its_batch_is_written(dsn: str, store: Store) -> None:
    good, bad = an_alert(), an_alert(id="a-2", level=9)
    with pytest.raises(DatabaseError, match="level"):
        store.write_alerts([good, bad])
    assert rows(dsn, "SELECT id FROM alerts") == []


def test_nothing_to_write_touches_no_database() -> None:
    away = PostgresSettings(dsn=SecretStr("host=127.0.0.1 port=1 dbname=x"), connect_timeout=2)
    with Store(away, patience=0.0) as store:
        store.write_alerts([])


# Pruning


def test_prune_removes_what_is_old_and_keeps_what_an_analyst_reviewed(dsn: str, store: Store) -> None:
    now = moment(T0)
    old, reviewed, new = (
        an_alert(id=id_, last_seen=T0 - days * DAY) for id_, days in (("a-old", 40), ("a-kept", 40), ("a-new", 3))
    )
    store.write_alerts([old, reviewed, new])
    store.write_evidence([Evidence("t-0-1", a.id, "web-1", a.last_seen, b"{}") for a in (old, reviewed, new)])
    store.write_host_windows([a_window(start=T0 - days * DAY) for days in (0, 29, 31, 400)])
    with connect(dsn) as connection:
        connection.execute("INSERT INTO alert_reviews (alert_id, author) VALUES ('a-kept', 'kim')")
    assert store.prune(30, now=now) == Pruned(days=2, alerts=1, evidence=1, incidents=0)
    assert {row["id"] for row in rows(dsn, "SELECT id FROM alerts")} == {"a-kept", "a-new"}
    assert {row["alert_id"] for row in rows(dsn, "SELECT alert_id FROM evidence")} == {"a-kept", "a-new"}
    oldest = rows(dsn, "SELECT min(start) AS start FROM host_windows")[0]["start"]
    assert oldest == now - timedelta(days=29)
    assert store.prune(30, now=now) == Pruned(0, 0, 0, 0)


def test_an_incident_that_was_reviewed_stays_with_its_alerts(dsn: str, store: Store) -> None:
    now = moment(T0)
    alerts = [an_alert(id=alert_id("rule", name, "web-1", T0), last_seen=T0 - 40 * DAY) for name in ("r1", "r2")]
    old, kept = (
        an_incident(id=incident_id(alert.id, T0), alerts=(alert.id,), last_seen=T0 - 40 * DAY) for alert in alerts
    )
    store.write_alerts(alerts)
    store.write_incidents([old, kept])
    with connect(dsn) as connection:
        found = find(connection, kept.id)
        assert found is not None
        review(connection, found, "closed", "kim", "a drill", "benign")
    assert store.prune(30, now=now) == Pruned(days=0, alerts=1, evidence=0, incidents=1)
    assert rows(dsn, "SELECT incident_id AS i, alert_id AS a FROM incident_alerts") == [
        {"i": kept.id, "a": alerts[1].id}
    ]


# Incidents


def test_what_an_analyst_closed_comes_back_only_when_it_is_more_severe(dsn: str, store: Store) -> None:
    incident = an_incident()
    store.write_incidents([incident])
    with connect(dsn, autocommit=True) as connection:
        [found] = queue(connection)
        assert (found.status, found.evidence, found.opened) == ("new", ["t-0-1", "t-0-2"], None)
        review(connection, found, "acknowledged", "kim", "looking")
        assert [(i.status, i.author, i.reason) for i in queue(connection)] == [("acknowledged", "kim", "looking")]
        review(connection, found, "closed", "lee", "a drill", "benign")
        assert queue(connection) == []
        assert [i.verdict for i in queue(connection, all=True)] == ["benign"]
        store.write_incidents([msgspec.structs.replace(incident, alert_count=99)])
        assert queue(connection) == []
        store.write_incidents([msgspec.structs.replace(incident, severity=Level.high, opened=T0)])
        assert [(i.status, i.severity, i.opened) for i in queue(connection)] == [("reopened", 3, moment(T0))]


def test_an_incident_that_became_part_of_another_is_found_under_both_ids(dsn: str, store: Store) -> None:
    young = an_incident(id=incident_id("b", 1), state="merged", merged_into=an_incident().id)
    store.write_incidents([an_incident(aliases=(young.id,)), young])
    with connect(dsn) as connection:
        assert [incident.id for incident in queue(connection)] == [an_incident().id]
        found = find(connection, young.id)
        assert found is not None
        assert found.id == an_incident().id
        assert find(connection, "i-none") is None


def test_prune_refuses_to_remove_everything(store: Store) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        store.prune(0, now=datetime.now(UTC))


# Connections


def test_the_readers_connection_cannot_write(dsn: str) -> None:
    with connect(dsn, read_only=True) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("DELETE FROM alerts")


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://kim:hunter2@127.0.0.1:1/winnow",
        "host=127.0.0.1 port=1 user=kim password=hunter2",
        "host=127.0.0.1 port=1 user=kim password='hunter2 x' bad",
        "postgresql://kim:hunter2@127.0.0.1:notaport/winnow",
        "hunter2",
    ],
)
def test_no_error_shows_the_password(dsn: str) -> None:
    settings = PostgresSettings(dsn=SecretStr(dsn), connect_timeout=2)
    for work in (settings.reachable, lambda: migrate(dsn), lambda: connect(dsn)):
        with pytest.raises(DatabaseError) as caught:
            work()
        assert "hunter2" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is None
    assert "hunter2" not in repr(settings)


def test_settings_name_a_misspelt_key() -> None:
    with pytest.raises(ValidationError, match="pool_sise"):
        PostgresSettings.model_validate({"pool_sise": 3})


def test_without_a_database_configured_the_error_says_what_to_set() -> None:
    with pytest.raises(DatabaseError, match="WINNOW_POSTGRES__DSN"):
        pool(PostgresSettings())
