"""Live settings, told to the real flow through a real broker: they hold from their event time, crash or not."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource

from flows.cli import main
from flows.live import prepare
from flows.replay import replay
from flows.settings import Settings
from operators.control import ControlSource, Ears, create, read_topic
from state.alerts import Level
from state.control import KINDS
from state.postgres import connect
from state.revisions import migrate
from tests.integration.live import create_topic, environment, ledger, running, send, settings, until

START = 1_704_700_800  # Monday 2024-01-08 08:00 UTC
MINUTE = 60_000_000
#: Minutes in which much more happens than usual, and the minute from which that is to be said.
BURSTS, FROM, CUT, MINUTES = (140, 144, 145, 150), 145, 143, 155
#: River's scorer is surprised by each burst anew, Winnow's own by the first of them.
ANOMALY: dict[str, Any] = {
    "warm_hours": 0, "least": 15.0, "step": 0, "open_minutes": 0, "mute_minutes": 0, "habituation": 0,
    "scorers": {"events": "gaussian"},
}  # fmt: skip
QUIET = {"WINNOW_ANOMALY": json.dumps(ANOMALY), "WINNOW_ALERTS__GROUP_MINUTES": "1"}


def line(minute: int, second: float) -> bytes:
    moment = datetime.fromtimestamp(START + minute * 60 + second, UTC)
    return json.dumps({"timestamp": moment.isoformat(), "host": "web-1", "event_type": "login"}).encode()


def stream(minutes: range) -> list[bytes]:
    values = []
    for minute in minutes:
        count = 240 if minute in BURSTS else random.Random(minute).randint(60, 140)
        values += [line(minute, i * 59.0 / count) for i in range(count)]
    return values


def change(capsys: pytest.CaptureFixture[str], variables: dict[str, str], *words: str) -> list[Any]:
    """Run ``winnow settings`` with these variables; return the JSON lines that it prints."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        capsys.readouterr()
        assert main(["settings", *words]) == 0, capsys.readouterr().err
    return [json.loads(text) for text in capsys.readouterr().out.splitlines()]


def minutes_alerted(dsn: str) -> list[int]:
    with connect(dsn) as database:
        rows = database.execute("SELECT extract(epoch FROM window_start)::bigint FROM alerts ORDER BY 1").fetchall()
    return [(int(row[0]) - START) // 60 for row in rows]


def counted(dsn: str) -> int:
    with connect(dsn) as database:
        row = database.execute("SELECT sum(events) FROM hosts").fetchone()
    return int(row[0] or 0) if row else 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def told(port: str) -> float:
    """Return how many changes of settings the flow has read."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    found = re.search(r'^winnow_control_messages_total\{kind="setting"\} (\S+)$', text, re.M)
    return float(found[1]) if found else 0.0


def iso(minute: int) -> str:
    return datetime.fromtimestamp(START + minute * 60, UTC).isoformat()


def test_without_the_change_all_bursts_or_none_are_said(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"\n".join(stream(range(MINUTES))) + b"\n")
    for least, expected in ((15.0, []), (3.0, list(BURSTS))):
        how = {"anomaly": {**ANOMALY, "least": least}, "alerts": {"group_minutes": 1}}
        replay([tmp_path / "t"], tmp_path / "out", Settings.model_validate(how))
        lines = (tmp_path / "out" / "alerts.jsonl").read_text().splitlines()
        assert [json.loads(text)["window_start"] for text in lines] == [
            datetime.fromtimestamp(START + minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") for minute in expected
        ]


@pytest.mark.parametrize("crash", [False, True], ids=["told-live", "killed-in-between"])
def test_a_change_holds_exactly_from_its_window_on(
    crash: bool, kafka: str, postgres_dsn: str, topic_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = stream(range(CUT)), stream(range(CUT, MINUTES))
    create_topic(kafka, topic_name)
    send(kafka, topic_name, before)
    variables = environment(
        kafka, postgres_dsn, topic_name, WINNOW_RECOVERY__FOLDER=str(tmp_path / "recovery"),
        WINNOW_RECOVERY__INTERVAL_SECONDS="0.5", WINNOW_TIME__IDLE_SECONDS="1000",
        WINNOW_METRICS__PORT=str(free_port()), **QUIET,
    )  # fmt: skip
    words = ("set", "anomaly.least", "3", "--from", iso(FROM), "--reason", "too quiet", "--author", "ann")
    if crash:
        migrate(postgres_dsn)
        told_first = {**os.environ, **variables}
        first = subprocess.Popen([sys.executable, "-m", "flows.cli", "run"], env=told_first, stderr=subprocess.PIPE)
        try:
            until(lambda: ledger(postgres_dsn)["consumed"] == len(before), first)
            change(capsys, variables, *words)
        finally:
            first.kill()
            first.communicate()
    with running(variables) as flow:
        until(lambda: ledger(postgres_dsn)["consumed"] == len(before), flow)
        if not crash:
            change(capsys, variables, *words)
            until(lambda: told(variables["WINNOW_METRICS__PORT"]) == 1, flow)
        # The last one closes the window before its own, which stays open: no clock but the events' own moves.
        send(kafka, topic_name, [*after, line(MINUTES, 59)])
        until(lambda: counted(postgres_dsn) == len(before) + len(after), flow)
    assert minutes_alerted(postgres_dsn) == [minute for minute in BURSTS if minute >= FROM]
    assert ledger(postgres_dsn)["late"] == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_min_level_holds_from_its_event_time_on(
    workers: int, kafka: str, postgres_dsn: str, topic_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_topic(kafka, topic_name, 2)
    for number, (level, port) in enumerate((("high", 22), ("medium", 23))):
        (tmp_path / f"{level}.yml").write_text(
            f"title: A {level} one\nid: 7d0a2a4b-1111-4222-8333-94444444000{number}\nlevel: {level}\n"
            f"logsource: {{product: zeek, service: conn}}\ndetection: {{s: {{id.resp_p: {port}}}, condition: s}}\n"
        )
    values = [
        b'{"_path":"conn","ts":%d,"uid":"C1","id.orig_h":"10.0.0.5","id.orig_p":4000,"id.resp_h":"192.0.2.1",'
        b'"id.resp_p":%d,"proto":"tcp","conn_state":"SF"}' % (START + minute * 60 + second, port)
        for minute in range(20)
        for second, port in ((0, 22), (30, 23))
    ]
    for part in range(2):
        send(kafka, topic_name, values[part::2], part)
    variables = environment(
        kafka, postgres_dsn, topic_name, WINNOW_RULES__PATHS=json.dumps([str(tmp_path)]), WINNOW_RULES__BUILTIN="false",
        WINNOW_ALERTS__GROUP_MINUTES="1",
    )  # fmt: skip
    assert main(["rules", "check", str(tmp_path)]) == 0, capsys.readouterr()
    # The flow does not run yet: all is told before any event is read.
    for minute, level in ((5, "high"), (10, "critical"), (15, "default")):
        change(capsys, variables, "set", "alerts.min_level", level, "--from", iso(minute), "--reason", "test")
    with running(variables, "--workers", str(workers)) as flow:
        until(lambda: counted(postgres_dsn) == len(values), flow)
    with connect(postgres_dsn) as database:
        rows = database.execute("SELECT name, extract(epoch FROM window_start)::bigint FROM alerts").fetchall()
    got = sorted((name, (int(start) - START) // 60) for name, start in rows)
    assert [minute for name, minute in got if name == "A high one"] == [*range(10), *range(15, 20)]
    assert [minute for name, minute in got if name == "A medium one"] == [*range(5), *range(15, 20)]


def test_hostile_messages_are_dead_letters_and_an_empty_topic_holds_nothing_back(
    kafka: str, postgres_dsn: str, topic_name: str
) -> None:
    create_topic(kafka, topic_name)
    values = stream(range(3))
    send(kafka, topic_name, values)
    variables = environment(kafka, postgres_dsn, topic_name)
    with running(variables) as flow:
        # No message was ever written to the control topic.
        until(lambda: counted(postgres_dsn) == len(values), flow)
        bad = [b"", b"{", b"\xff\xfe", b"[" * 10_000, b"x" * 5_000_000, b'{"kind":"wish","version":1}',
               b'{"kind":"setting","version":7}', b'{"kind":"setting","version":1}']  # fmt: skip
        send(kafka, f"{topic_name}.control", bad)
        until(lambda: len(dead_letters(kafka, topic_name)) == len(bad), flow)
    assert dead_letters(kafka, topic_name) == [
        "empty", "malformed_json", "not_utf8", "bad_message", "too_large", "unknown_kind", "unknown_version",
        "bad_message",
    ]  # fmt: skip


def dead_letters(kafka: str, topic: str) -> list[str]:
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    consumer = Consumer({"bootstrap.servers": kafka, "group.id": topic, "enable.partition.eof": True})
    consumer.assign([TopicPartition(f"{topic}.deadletter", 0, 0)])
    found: list[tuple[int, str]] = []
    try:
        while True:
            for message in consumer.consume(100, 1.0):
                error = message.error()
                if error is None:
                    headers = {name: value.decode() for name, value in message.headers() or []}
                    found.append((int(headers["offset"]), headers["reason"]))
                elif error.code() == KafkaError._PARTITION_EOF:
                    return [reason for _, reason in sorted(found)]
    finally:
        consumer.close()


def test_the_topic_is_created_compacted_with_one_partition(kafka: str, postgres_dsn: str, topic_name: str) -> None:
    migrate(postgres_dsn)
    own = settings(kafka, topic_name)
    own.postgres = own.postgres.model_copy(
        update={"dsn": Settings.model_validate({"postgres": {"dsn": postgres_dsn}}).postgres.dsn}
    )
    own.kafka.partitions = 3
    prepare(own)
    admin = AdminClient({"bootstrap.servers": kafka})
    topics = admin.list_topics(timeout=10).topics
    assert (len(topics[own.kafka.control].partitions), len(topics[topic_name].partitions)) == (1, 3)
    resource = ConfigResource(ConfigResource.Type.TOPIC, own.kafka.control)
    found = admin.describe_configs([resource])[resource].result(10)
    assert found["cleanup.policy"].value == "compact"


def test_a_topic_of_several_partitions_is_refused(kafka: str, topic_name: str) -> None:
    own = settings(kafka, topic_name)
    create_topic(kafka, own.kafka.control, 4)
    with pytest.raises(ValueError, match="has 4 partitions; it must have one"):
        ControlSource.open(own.kafka)


def test_the_source_goes_on_where_it_was_and_begins_anew_with_a_new_topic(kafka: str, topic_name: str) -> None:
    own = settings(kafka, topic_name).kafka
    create(own)
    send(kafka, own.control, [b"bad 1", b"bad 2"])
    source = ControlSource.open(own)
    assert source.end == 2

    def refused(resume: bytes | None, count: int) -> tuple[list[int], bytes]:
        part = source.build_part("control", source.list_parts()[0], resume)
        got: list[int] = []
        try:
            for _ in range(200):
                got += [item.offset for item in part.next_batch()]
                if len(got) >= count:
                    break
                time.sleep(0.05)
            return got, part.snapshot()
        finally:
            part.close()

    offsets, saved = refused(None, 2)
    assert offsets == [0, 1]
    send(kafka, own.control, [b"bad 3"])
    assert refused(saved, 1)[0] == [2]
    ahead = saved.replace(b"\x02", b"\x7f")
    assert refused(ahead, 3)[0] == [0, 1, 2]


def test_every_worker_hears_for_its_stateless_steps(
    kafka: str, topic_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    variables = {"WINNOW_KAFKA__BOOTSTRAP_SERVERS": kafka, "WINNOW_KAFKA__CONTROL": f"{topic_name}.control"}
    own = settings(kafka, topic_name).kafka
    for level, heard in (("low", 0), ("high", 1)):  # of an empty topic, and of one that has something
        create(own)
        source = ControlSource.open(own)
        assert len(source.timeline.history()) == heard
        ear = Ears(source).build("control_heard", 0, 1)
        try:
            change(capsys, variables, "set", "alerts.min_level", level, "--from", iso(5), "--reason", "test")
            deadline = time.monotonic() + 30
            while len(source.timeline.history()) == heard:
                assert time.monotonic() < deadline and list(ear.next_batch()) == []
                time.sleep(0.02)
        finally:
            ear.close()
        assert source.timeline.lowest((START + 300) * 1_000_000) == Level[level]
        assert source.timeline.lowest((START + 300) * 1_000_000 - 1) is None


def until_in_force(capsys: pytest.CaptureFixture[str], variables: dict[str, str], name: str, count: int = 1) -> None:
    """Wait until as many changes of a setting as ``count`` hold by the wall clock."""
    while sum(line["from"] <= now() for line in change(capsys, variables, "history", name)) < count:
        time.sleep(0.1)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_what_the_command_writes_can_be_read_and_meets_its_schema(
    kafka: str, topic_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from state.schemas import validate_control

    variables = {"WINNOW_KAFKA__BOOTSTRAP_SERVERS": kafka, "WINNOW_KAFKA__CONTROL": f"{topic_name}.control"}
    [untouched] = change(capsys, variables, "get", "anomaly.least")
    assert untouched == {"name": "anomaly.least", "value": 4.0, "configured": 4.0}
    assert change(capsys, variables, "history") == []
    topics = AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics
    assert variables["WINNOW_KAFKA__CONTROL"] not in topics  # looking does not create it

    change(capsys, variables, "set", "anomaly.least", "5", "--reason", "noise", "--author", "ann")
    change(capsys, variables, "set", "anomaly.least", "3.5", "--reason", "more", "--from", "2090-01-01T00:00:00+01:00")
    change(capsys, variables, "set", "alerts.min_level", "medium", "--reason", "too many", "--author", "bob")
    until_in_force(capsys, variables, "anomaly.least")
    [now_and_next] = change(capsys, variables, "get", "anomaly.least")
    assert (now_and_next["value"], now_and_next["author"]) == (5, "ann")
    assert (now_and_next["next"]["value"], now_and_next["next"]["reason"]) == (3.5, "more")
    until_in_force(capsys, variables, "alerts.min_level")
    assert [line["value"] for line in change(capsys, variables, "get")] == [5, 5, 60.0, "medium"]
    history = change(capsys, variables, "history", "anomaly.least")
    # "now" is a moment ahead, so that every worker has heard of it by then.
    assert history[0]["from"] > history[0]["written_at"]
    assert [(h["value"], h["reason"], h["offset"]) for h in history] == [(5, "noise", 0), (3.5, "more", 1)]
    assert history[1]["from"] == "2089-12-31T23:00:00.000000Z"
    change(capsys, variables, "set", "anomaly.least", "default", "--reason", "back")
    until_in_force(capsys, variables, "anomaly.least", count=2)
    assert change(capsys, variables, "get", "anomaly.least")[0]["value"] == 4.0

    own = settings(kafka, topic_name).kafka
    found: list[bytes] = []
    assert read_topic(own, lambda _, raw: found.append(raw or b"")) == 4
    for raw in found:
        message = json.loads(raw)
        validate_control(message)
        assert message["kind"] in KINDS
