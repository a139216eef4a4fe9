"""``winnow suppress``, as an analyst types it, against the running flow: alerts stop, are counted, and come again."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from state.postgres import connect
from state.revisions import migrate
from tests.integration.live import create_topic, environment, published, running, send, stored, until
from tests.integration.test_control import free_port

#: Event times are of the past, so that what holds when does not depend on how fast the test is.
START = 1_704_700_800  # Monday 2024-01-08 08:00 UTC
RULE = "7d0a2a4b-1111-4222-8333-944444440000"

Winnow = Callable[..., tuple[int, str, str]]


@pytest.fixture
def winnow(capsys: pytest.CaptureFixture[str]) -> Iterator[Winnow]:
    """Return a runner of ``winnow suppress``: (variables, words) to (exit status, stdout, stderr)."""
    with pytest.MonkeyPatch.context() as patch:

        def run(variables: dict[str, str], *words: str) -> tuple[int, str, str]:
            for name, value in variables.items():
                patch.setenv(name, value)
            capsys.readouterr()
            try:
                status = main(["suppress", *words])
            except SystemExit as left:
                status = int(left.code or 0)
            return status, *capsys.readouterr()

        yield run


def iso(minute: int) -> str:
    return datetime.fromtimestamp(START + minute * 60, UTC).isoformat()


def connection(minute: int, user: str, host: str = "10.0.0.1") -> bytes:
    return (
        b'{"_path":"conn","ts":%d,"uid":"%s","id.orig_h":"%s","id.orig_p":4000,"id.resp_h":"192.0.2.1","id.resp_p":22,'
        b'"proto":"tcp","conn_state":"SF"}' % (START + minute * 60, user.encode(), host.encode())
    )


def heard(variables: dict[str, str]) -> float:
    """Return how many suppressions, and ends of some, the flow has read; its two readers look at the same moments."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{variables['WINNOW_METRICS__PORT']}/metrics", timeout=10).read()
    found = re.search(rb'^winnow_control_messages_total\{kind="suppression"\} (\S+)$', text, re.M)
    time.sleep(0.5)
    return float(found[1]) if found else 0.0


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with connect(dsn) as database:
        return database.execute(query).fetchall()


def test_what_is_suppressed_stops_within_seconds_is_counted_and_comes_again(
    kafka: str, postgres_dsn: str, topic_name: str, tmp_path: Path, winnow: Winnow
) -> None:
    (tmp_path / "r.yml").write_text(
        f"title: A logon\nid: {RULE}\nlevel: high\nlogsource: {{product: zeek, service: conn}}\n"
        "detection: {s: {id.resp_p: 22}, condition: s}\n"
    )
    create_topic(kafka, topic_name, 2)
    migrate(postgres_dsn)
    variables = environment(
        kafka, postgres_dsn, topic_name, WINNOW_RULES__PATHS=json.dumps([str(tmp_path)]), WINNOW_RULES__BUILTIN="false",
        WINNOW_ALERTS__GROUP_MINUTES="1", WINNOW_BERT__ENABLED="false",
        WINNOW_TIME__IDLE_SECONDS="3600", WINNOW_METRICS__PORT=str(free_port()),
    )  # fmt: skip
    with running(variables) as flow:
        send(kafka, topic_name, [connection(0, "svc-backup")])
        until(lambda: len(rows(postgres_dsn, "SELECT id FROM alerts")) == 1, flow)
        status, said, _ = winnow(
            variables, "add", "--rule", RULE, "--entity", "10.0.0.1", "--field", "UID=SVC-*", "--from", iso(10),
            "--for", "10m", "--reason", "backup", "--author", "ann", "--json",
        )  # fmt: skip
        assert status == 0
        told = json.loads(said)
        until(lambda: heard(variables) == 1, flow)
        for part in range(2):  # within, of another user, and after it has expired
            messages = [
                connection(11 + part, "svc-backup"),
                connection(13 + part, "alice"),
                connection(21 + part, "svc-backup"),
            ]
            send(kafka, topic_name, messages, part)
        until(lambda: len(rows(postgres_dsn, "SELECT id FROM alerts")) == 5, flow)
        counted = "SELECT suppression, entity, kind, rule, count, last_event FROM suppressed"
        until(lambda: [row[4] for row in rows(postgres_dsn, counted)] == [2], flow)
        assert rows(postgres_dsn, counted) == [(told["id"], "10.0.0.1", "rule", RULE, 2, f"{topic_name}-1-0")]
        # Another, for good, which is removed again.
        status, said, _ = winnow(
            variables, "add", "--rule", RULE, "--forever", "--from", iso(30), "--reason", "noise", "--json"
        )
        second = json.loads(said)["id"]
        words = ("remove", second, "--from", iso(40), "--reason", "it was no noise", "--author", "bob", "--json")
        status, said, _ = winnow(variables, *words)
        assert (status, json.loads(said)["removed_by"]) == (0, "bob")
        until(lambda: heard(variables) == 3, flow)
        send(kafka, topic_name, [connection(minute, "eve", f"10.0.1.{minute}") for minute in (29, 30, 39, 40, 41)])
        until(lambda: len(rows(postgres_dsn, "SELECT id FROM alerts")) == 8, flow)
        until(lambda: len(rows(postgres_dsn, counted)) == 3, flow)
    alerted = rows(postgres_dsn, "SELECT entity, extract(epoch FROM window_start)::bigint FROM alerts")
    minutes = sorted((entity, (int(start) - START) // 60) for entity, start in alerted)
    assert [minute for entity, minute in minutes if entity == "10.0.0.1"] == [0, 13, 14, 21, 22]
    assert [minute for entity, minute in minutes if entity != "10.0.0.1"] == [29, 40, 41]
    assert len(published(kafka, f"{topic_name}.alerts")) == 8
    assert stored(kafka, f"{topic_name}.deadletter") == []

    status, said, _ = winnow(variables, "list")
    assert (status, said) == (0, "")  # both are of the past
    status, said, _ = winnow(variables, "list", "--all", "--json")
    listed = {line["id"]: line for line in map(json.loads, said.splitlines())}
    assert {id: (line["status"], line["count"]) for id, line in listed.items()} == {
        told["id"]: ("expired", 2),
        second: ("removed", 2),
    }
    assert (listed[told["id"]]["author"], listed[told["id"]]["fields"]) == ("ann", {"UID": "SVC-*"})
    assert listed[second]["last_event"] == f"{topic_name}-0-6"
    status, said, _ = winnow(variables, "list", "--all")
    assert "removed by bob: it was no noise" in said and "2 suppressed" in said
    status, said, complaint = winnow(variables, "remove", second, "--reason", "again")
    assert (status, len(complaint.splitlines())) == (2, 1) and "it was no noise" in complaint


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("add", "--reason", "x"), "--rule, --entity, or both"),
        (("add", "--rule", "r"), "--reason"),
        (("add", "--rule", "r", "--reason", "a\nb"), "--reason: one line"),
        (("add", "--rule", "", "--reason", "x"), "--rule: one line"),
        (("add", "--rule", "r", "--reason", "x", "--field", "user"), "NAME=VALUE"),
        (("add", "--rule", "r", "--reason", "x", "--field", "a=1", "--field", "a=2"), "twice"),
        (("add", "--rule", "r", "--reason", "x", "--field", "a="), "--field: at most 8"),
        (("add", "--rule", "r", "--reason", "x", "--for", "soon"), "--for soon"),
        (("add", "--rule", "r", "--reason", "x", "--for", "1d", "--forever"), "not allowed with"),
        (("add", "--rule", "r", "--reason", "x", "--until", "2020-01-01T00:00:00Z"), "end before it begins"),
        (("add", "--rule", "r", "--reason", "x", "--until", "2020-01-01"), "--until 2020-01-01"),
        (("remove", "c-" + "0" * 20, "--reason", "x"), "no suppression c-0"),
    ],
)
def test_a_slip_of_the_pen_is_one_line_and_status_2_and_suppresses_nothing(
    words: tuple[str, ...], says: str, module_postgres_dsn: str, winnow: Winnow
) -> None:
    migrate(module_postgres_dsn)
    # No broker is needed to say what is wrong.
    variables = {"WINNOW_POSTGRES__DSN": module_postgres_dsn, "WINNOW_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    status, said, complaint = winnow(variables, *words)
    assert (status, said, len(complaint.splitlines())) == (2, "", 1), complaint
    assert says in complaint
    assert rows(module_postgres_dsn, "SELECT * FROM suppressions") == []


def test_without_kafka_nothing_is_stored_and_what_the_flow_alone_knows_is_listed(
    module_postgres_dsn: str, winnow: Winnow
) -> None:
    migrate(module_postgres_dsn)
    variables = {"WINNOW_POSTGRES__DSN": module_postgres_dsn, "WINNOW_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    status, _, complaint = winnow(variables, "add", "--rule", "r", "--reason", "x")
    assert status == 2 and "127.0.0.1:1" in complaint and len(complaint.splitlines()) == 1
    assert rows(module_postgres_dsn, "SELECT * FROM suppressions") == []
    with connect(module_postgres_dsn, autocommit=True) as database:
        database.execute(
            "INSERT INTO suppressed (id, suppression, entity, kind, rule, day, count, first_seen, last_seen, "
            "last_event) VALUES ('s-1', 'c-1', 'h', 'rule', 'r', now(), 3, now(), now(), 't-0-1')"
        )
    status, said, _ = winnow(variables, "list", "--json")
    (line,) = map(json.loads, said.splitlines())
    assert (line["id"], line["status"], line["count"], line["last_entity"]) == ("c-1", "unknown", 3, "h")
    assert winnow(variables, "list")[1].startswith("c-1  unknown")
