"""The whole flow, live and in replay: what goes in is accounted for, and both say the same."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition

from flows.commands.alerts import read
from flows.replay import replay
from flows.settings import Settings
from flows.traffic import Traffic
from flows.traffic.settings import TrafficSettings
from state.postgres import connect
from tests.integration.live import create_topic, environment, ledger, running, send, settings, until

START = 1_704_700_800_000_000  # Monday 2024-01-08 08:00 UTC
HOUR = 3_600_000_000

GOOD = (
    b'{"_path":"conn","ts":%d,"uid":"C%d","id.orig_h":"10.0.0.5","id.orig_p":4000,"id.resp_h":"192.0.2.1",'
    b'"id.resp_p":443,"proto":"tcp","orig_bytes":100,"resp_bytes":200,"conn_state":"SF"}'
)
#: Bad message, to the reason it is refused for.
BAD = {
    b'{"_path":"conn","ts":1704700800,"id.orig_h":"10.0.0.5","id.r': "malformed_json",
    b'{"_path":"conn","ts":1704700800,"x":"' + b"a" * 5_000_000 + b'"}': "too_large",
    b'{"_path":"conn","ts":1704700800,"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}": "too_deep",
    b'{"_path":"conn","ts":1704700800,"x":"\xff\xfe"}': "not_utf8",
    b'{"timestamp":"2024-01-08T08:00:00Z","host":5,"event_type":"login"}': "bad_type",
    b'{"_path":"conn","ts":253370764800,"id.orig_h":"10.0.0.5","id.resp_h":"192.0.2.1"}': "time_out_of_range",
    b'{"timestamp":"2024-01-08T08:00:00Z","host":null,"event_type":"login"}': "missing_host",
    b"": "empty",
}


def good(number: int) -> bytes:
    return GOOD % (1_704_700_800 + number, number)


def stream() -> list[bytes]:
    """Return good messages with each bad one among them."""
    values = []
    for number, bad in enumerate(BAD):
        values += [good(number * 20 + i) for i in range(20)] + [bad]
    return values


def test_bad_input_is_a_dead_letter_and_harms_nothing_live(kafka: str, postgres_dsn: str, topic_name: str) -> None:
    values = stream()
    create_topic(kafka, topic_name)
    send(kafka, topic_name, values)
    with running(environment(kafka, postgres_dsn, topic_name)) as flow:
        until(lambda: ledger(postgres_dsn)["consumed"] == len(values), flow)
        # The partition falls idle, its clock follows the wall, and the last window closes.
        until(lambda: _events(postgres_dsn, "10.0.0.5") == len(values) - len(BAD), flow)
    counts = ledger(postgres_dsn)
    assert (counts["rejected"], counts["rule"], counts["late"]) == (len(BAD), len(values) - len(BAD), 0)
    assert _dead_letters(kafka, f"{topic_name}.deadletter", len(BAD)) == sorted(BAD.values())


def test_bad_input_is_rejected_in_replay(tmp_path: Path) -> None:
    # An empty line and a 5 MB one included; what a file cannot hold is a line break inside a message.
    (tmp_path / "in.log").write_bytes(b"\n".join(stream()) + b"\n")
    summary = replay([tmp_path / "in.log"], tmp_path / "out", Settings())
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert [r["reason"] for r in rejected] == list(BAD.values())
    assert [r["line"] for r in rejected] == [21 * i + 20 for i in range(len(BAD))]
    assert summary["events"] == 20 * len(BAD) == summary["hosts"]["10.0.0.5"]
    assert summary["late"] == 0


def test_live_and_replay_give_the_same_alerts(kafka: str, postgres_dsn: str, topic_name: str, tmp_path: Path) -> None:
    plan = [("port_scan", 1200), ("sql_injection", 1500), ("brute_force", 2000), ("dns_tunnelling", 2500)]
    traffic = Traffic(5, START, TrafficSettings(attacks=plan, attacks_per_hour=0, rate=2))  # type: ignore[arg-type]
    values = [message.value for message in traffic.messages(START + HOUR)]
    # Named like the topic, the file gives its events the same ids.
    (tmp_path / topic_name).write_bytes(b"\n".join(values) + b"\n")
    # Syslog stamps have no year, and the broker's clock is not of the recording's.
    recorded = Settings.model_validate({"formats": {"year": 2024}})
    summary = replay([tmp_path / topic_name], tmp_path / "out", recorded)
    expected = {
        alert["id"]: alert for alert in map(json.loads, (tmp_path / "out" / "alerts.jsonl").read_text().splitlines())
    }
    assert {"Port scan", "SQL injection in a URL", "Password brute force", "DNS tunnelling"} <= {
        alert["name"] for alert in expected.values()
    }

    create_topic(kafka, topic_name)
    send(kafka, topic_name, values)
    variables = environment(
        kafka, postgres_dsn, topic_name, WINNOW_TIME__IDLE_SECONDS="10", WINNOW_FORMATS__YEAR="2024"
    )
    with running(variables) as flow:
        until(lambda: ledger(postgres_dsn)["consumed"] == len(values), flow)
        # All windows have closed, once the partition fell idle and its clock followed the wall.
        until(lambda: _hosts(postgres_dsn) == summary["hosts"], flow)
    assert _alerts(postgres_dsn) == set(expected)
    counts = ledger(postgres_dsn)
    assert {lane: counts[lane] for lane in ("rule", "bert", "llm")} == summary["lanes"]
    with connect(postgres_dsn) as database:
        rows = database.execute('SELECT id, count, evidence, reason, "level" FROM alerts').fetchall()
    stored = {row[0]: row[1:4] for row in rows}
    assert stored == {i: (a["count"], a["evidence"], a["reason"]) for i, a in expected.items()}
    published = [orjson.loads(m) for m in read(settings(kafka, topic_name), oldest=True, to_end=True)]
    assert sorted(m["id"] for m in published if m.get("type") != "incident") == sorted(expected)


def test_stopped_flow_goes_on_where_it_was(kafka: str, postgres_dsn: str, topic_name: str, tmp_path: Path) -> None:
    create_topic(kafka, topic_name)
    port = _free_port()
    variables = environment(
        kafka,
        postgres_dsn,
        topic_name,
        WINNOW_RECOVERY__FOLDER=str(tmp_path / "recovery"),
        WINNOW_METRICS__PORT=str(port),
    )
    total = 0
    for run in range(2):
        values = [good(run * 5_000 + i) for i in range(5_000)]
        send(kafka, topic_name, values)
        total += len(values)
        with running(variables) as flow:
            until(lambda: ledger(postgres_dsn)["consumed"] >= total, flow)  # noqa: B023
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
                metrics = page.read().decode()
    counts = ledger(postgres_dsn)
    assert (counts["consumed"], counts["rule"]) == (total, total)
    # The second run counts its own events only.
    assert 'winnow_events_total{format="zeek_json"} 5000.0' in metrics
    assert 'winnow_decided_total{lane="rule"} 5000.0' in metrics
    for name in ("received_bytes_total", "consumer_lag_messages", "watermark_delay_seconds", "batch_seconds_bucket"):
        assert f"winnow_{name}" in metrics
    assert (tmp_path / "recovery").stat().st_mode & 0o077 == 0


def test_workers_of_a_replay_agree(tmp_path: Path) -> None:
    traffic = Traffic(6, START, TrafficSettings(attacks_per_hour=60, rate=2))
    lines = [message.value for message in traffic.messages(START + HOUR // 2)]
    for part in range(3):
        (tmp_path / f"part{part}.log").write_bytes(b"\n".join(lines[part::3]) + b"\n")
    files = sorted(tmp_path.glob("*.log"))
    replay(files, tmp_path / "one", Settings())
    replay(files, tmp_path / "three", Settings(), workers=3)
    for name in ("alerts.jsonl", "rejected.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "three" / name).read_bytes()
    assert (tmp_path / "one" / "alerts.jsonl").stat().st_size > 0


@pytest.mark.parametrize("folder", ["one", "two"])
def test_files_of_one_name_are_told_apart(tmp_path: Path, folder: str) -> None:
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "conn.log").write_bytes(good(1) + b"\n" + b"oops\n")
    replay([tmp_path / "one" / "conn.log", tmp_path / "two" / "conn.log"], tmp_path / "out", Settings())
    text = (tmp_path / "out" / "rejected.jsonl").read_text()
    assert f'"id":"{folder}/conn.log-0-1"' in text


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _events(dsn: str, host: str) -> int:
    with connect(dsn) as database:
        rows = database.execute("SELECT events FROM hosts WHERE host = %s", (host,)).fetchall()
    return int(rows[0][0]) if rows else 0


def _hosts(dsn: str) -> dict[str, int]:
    with connect(dsn) as database:
        return dict(database.execute("SELECT host, events FROM hosts").fetchall())


def _alerts(dsn: str) -> set[str]:
    with connect(dsn) as database:
        return {row[0] for row in database.execute("SELECT id FROM alerts")}


def _dead_letters(bootstrap: str, topic: str, count: int) -> list[str]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}-test", "session.timeout.ms": 6000})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = []
    while len(found) < count:
        message = consumer.poll(20.0)
        assert message is not None, f"only {len(found)} dead letters"
        if message.error() is None:
            headers = dict(message.headers())
            assert {"topic", "partition", "offset", "detail"} <= set(headers)
            found.append(headers["reason"].decode())
    consumer.close()
    return sorted(found)
