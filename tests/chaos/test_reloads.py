"""Change the rules under load again and again, and kill workers meanwhile: each offset is judged by one version.

``python -m pytest tests/chaos/test_reloads.py --chaos-swaps 30 -s`` is the long run. Every message meets the one rule
of each version, so that what a version matched is what it judged.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from random import Random

import orjson
import pytest
import yaml
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

from state.postgres import connect
from tests.integration.live import create_topic
from tests.integration.supervised import Run, run, settled, supervised

PARTITIONS = 3
#: Every how many changes a worker is killed.
A_KILL = 3
#: Messages that lie ready where the flow is to run at full rate.
BACKLOG = 20_000
_MESSAGE = (
    b'{"_path":"conn","ts":%.6f,"uid":"C%d","id.orig_h":"10.9.0.%d","id.orig_p":1,"id.resp_h":"192.0.2.1",'
    b'"id.resp_p":443,"proto":"tcp","orig_bytes":1,"resp_bytes":1,"conn_state":"SF"}'
)


class Sender(threading.Thread):
    """Sends to all partitions in turn, a host each, until told to stop: at a rate, or as much as the flow takes."""

    def __init__(self, bootstrap: str, topic: str, dsn: str, rate: float) -> None:
        super().__init__(daemon=True)
        self._dsn = dsn
        self._producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})
        self._topic, self._rate = topic, rate
        self.stop = threading.Event()
        self.sent = 0

    def run(self) -> None:
        began = time.monotonic()
        while not self.stop.is_set():
            if self._rate and self.sent > (time.monotonic() - began) * self._rate:
                self._producer.poll(0.005)
                continue
            if not self._rate and self.sent % BACKLOG == 0:
                while self.sent - self._read() > BACKLOG and not self.stop.is_set():
                    self._producer.poll(0.2)
            partition = self.sent % PARTITIONS
            value = _MESSAGE % (time.time(), self.sent, partition + 1)
            try:
                self._producer.produce(self._topic, value, partition=partition)
                self.sent += 1
            except BufferError:
                self._producer.poll(0.05)
        assert self._producer.flush(60) == 0

    def _read(self) -> int:
        with connect(self._dsn) as database:
            row = database.execute("SELECT coalesce(sum(consumed), 0) FROM ledger").fetchone()
        assert row is not None
        return int(row[0])


def rule_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def write_rules(folder: Path, number: int) -> None:
    """Replace the rules by one that every message meets and that is named by a number."""
    rule = {
        "title": f"rule {number}",
        "id": rule_id(number),
        "level": "high",
        "logsource": {"product": "zeek", "service": "conn"},
        "detection": {"sel": {"id.resp_p": 443}, "condition": "sel"},
    }
    draft = folder / "draft"
    draft.write_text(yaml.safe_dump(rule))
    draft.replace(folder / "rule.yml")


def activate(variables: dict[str, str], since: str) -> str:
    """Activate the rules as an operator would; return the version."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "rules", "activate", "--from", since, "--author", "test"],
        env={**os.environ, **variables},
        capture_output=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["activated"] and told["problems"] == 0
    return str(told["version"])


def in_force(running: Run, version: str) -> bool:
    """Say whether every partition is judged by a version."""
    _, body = running.health()
    workers = body.get("workers", [])
    return bool(workers) and all(worker["rules"] in ([version], []) for worker in workers) and body["status"] == "ok"


def begun(running: Run, version: str) -> bool:
    """Say whether some partition is judged by a version."""
    return any(version in worker["rules"] for worker in running.health()[1].get("workers", []))


@pytest.mark.timeout(1800)
def test_each_offset_is_judged_by_one_version(
    kafka: str, postgres_dsn: str, tmp_path: Path, topic_name: str, pytestconfig: pytest.Config
) -> None:
    swaps, chance = int(pytestconfig.getoption("--chaos-swaps")), Random(int(pytestconfig.getoption("--chaos-seed")))
    rules = tmp_path / "rules"
    rules.mkdir()
    write_rules(rules, 0)
    create_topic(kafka, topic_name, PARTITIONS)
    variables = supervised(
        kafka,
        postgres_dsn,
        topic_name,
        tmp_path,
        "run",
        WINNOW_RULES__PATHS=json.dumps([str(rules)]),
        WINNOW_RULES__BUILTIN="false",
        # A crash makes the flow read so much again.
        WINNOW_RECOVERY__INTERVAL_SECONDS="2",
        WINNOW_ALERTS__GROUP_MINUTES="1440",
        WINNOW_SUPERVISOR__MAX_FAILURES="1000",
        WINNOW_TIME__LATENESS_SECONDS="0.5",
        WINNOW_TIME__IDLE_SECONDS="1",
    )
    sender = Sender(kafka, topic_name, postgres_dsn, 200 if swaps < 10 else 0)
    versions: dict[str, int] = {}
    took: list[float] = []
    kills = 0
    with run(variables, 2) as running:
        running.until_ready()
        sender.start()
        for number in range(1, swaps + 1):
            write_rules(rules, number)
            version = activate(variables, chance.choice(["now", "2020-01-01T00:00:00Z"]))
            versions[version] = number
            told_at = time.monotonic()
            if number % A_KILL == 1:
                # At any moment, or just after some partition has changed, of which no snapshot may tell yet.
                if chance.random() < 0.7:
                    running.until(lambda version=version: begun(running, version), pause=0.01)  # type: ignore[misc]
                    time.sleep(chance.uniform(0.0, 1.0))
                else:
                    time.sleep(chance.uniform(0.0, 4.0))
                restarts = running.health()[1]["restarts"]
                chance.choice(running.workers()).kill()
                kills += 1
                running.until_ready(restarts + 1)
            running.until(lambda version=version: in_force(running, version))  # type: ignore[misc]
            took.append(time.monotonic() - told_at)
        sender.stop.set()
        sender.join(60)
        running.until(lambda: settled(postgres_dsn, sender.sent), patience=300, pause=1.0)
        pauses = [seconds for worker in range(2) for seconds in swap_seconds(running.port + 1 + worker)]
    with connect(postgres_dsn) as database:
        ledger = database.execute("SELECT partition, bucket, consumed, rules FROM ledger").fetchall()
        alerts = database.execute("SELECT rule, entity, count, versions FROM alerts WHERE kind = 'rule'").fetchall()
    judged = by_version(ledger)
    names = {version: rule_id(number) for version, number in versions.items()}
    (began_with,) = {version for version, _ in judged} - set(names)
    names[began_with] = rule_id(0)
    expected = {
        (names[version], f"10.9.0.{partition + 1}"): offsets for (version, partition), offsets in judged.items()
    }
    counts: Counter[tuple[str, str]] = Counter()
    for rule, entity, count, told in alerts:
        counts[rule, entity] += count
        assert names[told["rules"]] == rule
    assert counts == {key: len(offsets) for key, offsets in expected.items()}
    assert counts.total() == sender.sent
    # What went out before a crash agrees with what was read again: each alert began at its version's first offset.
    messages = [orjson.loads(raw) for raw in sent_alerts(kafka, variables["WINNOW_KAFKA__ALERTS"])]
    began: dict[tuple[str, str], dict[str, set[int]]] = {}
    for message in (message for message in messages if message.get("type") != "incident"):
        offset = int(message["evidence"][0].rpartition("-")[2])
        began.setdefault((message["rule"], message["entity"]), {}).setdefault(message["id"], set()).add(offset)
    for key, alerted in began.items():
        # One alert, or two if midnight came between; sent again with the same first event.
        assert all(len(offsets) == 1 for offsets in alerted.values()), (key, alerted)
        assert min(min(offsets) for offsets in alerted.values()) == expected[key].start
    again = len(messages) - sum(map(len, began.values()))
    print(
        f"\nreloads: {swaps} changes, {kills} kills, {sender.sent:,} messages; from the command's end until in force "
        f"everywhere: median {statistics.median(took):.1f} s, worst {max(took):.1f} s; a partition was held up "
        f"{1000 * max(pauses):.1f} ms at its last change; {again} alerts sent again"
    )


def sent_alerts(bootstrap: str, topic: str) -> list[bytes]:
    """Return every alert message, repeats among them."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "enable.partition.eof": True})
    ends = set(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in ends])
    found = []
    try:
        while ends:
            for message in consumer.consume(500, 0.2):
                error = message.error()
                if error is None:
                    found.append(message.value() or b"")
                elif error.code() == KafkaError._PARTITION_EOF:
                    ends.discard(message.partition())
    finally:
        consumer.close()
    return found


def swap_seconds(port: int) -> list[float]:
    """Return what a worker's metric says of how long its last change of rules took."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return [float(line.split()[1]) for line in lines if line.startswith("winnow_rules_swap_seconds ")]


def by_version(ledger: list[tuple[int, int, int, dict[str, str]]]) -> dict[tuple[str, int], range]:
    """Return the offsets that each version judged of each partition, which are a range, as the ledger tells."""
    found: dict[tuple[str, int], range] = {}
    for partition, bucket, consumed, rules in sorted(ledger):
        firsts = sorted((int(first), version) for first, version in rules.items())
        assert firsts[0][0] == bucket * 10_000, "a span whose first offsets no version judged"
        ends = [first for first, _ in firsts[1:]] + [bucket * 10_000 + consumed]
        for (first, version), end in zip(firsts, ends, strict=True):
            known = found.get((version, partition), range(first, first))
            assert known.stop == first, f"version {version} returned at offset {first} of partition {partition}"
            found[version, partition] = range(known.start, end)
    return found
