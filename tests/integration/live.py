"""Run the real flow as a user would, against the session's servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import orjson
import psutil
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from flows.settings import Settings
from state.postgres import connect
from state.revisions import migrate


def create_topic(bootstrap: str, topic: str, partitions: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(10)


def send(bootstrap: str, topic: str, values: Sequence[bytes], partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 20_000_000})
    for value in values:
        while True:
            try:
                producer.produce(topic, value, partition=partition)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0


def environment(bootstrap: str, dsn: str, topic: str, **more: str) -> dict[str, str]:
    """Return the settings of a flow over one topic; its alert and dead-letter topics are named after it."""
    return {
        "WINNOW_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "WINNOW_KAFKA__TELEMETRY": f'["{topic}"]',
        "WINNOW_KAFKA__ALERTS": f"{topic}.alerts",
        "WINNOW_KAFKA__DEADLETTER": f"{topic}.deadletter",
        "WINNOW_KAFKA__CONTROL": f"{topic}.control",
        "WINNOW_KAFKA__PARTITIONS": "1",
        "WINNOW_KAFKA__GROUP": topic,
        "WINNOW_POSTGRES__DSN": dsn,
        "WINNOW_METRICS__PORT": "0",
        **more,
    }


def settings(bootstrap: str, topic: str) -> Settings:
    found = Settings()
    found.kafka.bootstrap_servers = bootstrap
    found.kafka.telemetry, found.kafka.alerts = [topic], f"{topic}.alerts"
    found.kafka.deadletter = f"{topic}.deadletter"
    found.kafka.control = f"{topic}.control"
    return found


@contextmanager
def running(variables: dict[str, str], *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Migrate and run ``winnow run`` with options; inside, the process; after it, it has drained and ended well."""
    migrate(variables["WINNOW_POSTGRES__DSN"])
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", *options], env={**os.environ, **variables}, stderr=subprocess.PIPE
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
        assert process.returncode == 0, log.decode()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def until(met: Callable[[], bool], process: subprocess.Popen[bytes], patience: float = 90.0) -> None:
    deadline = time.monotonic() + patience
    while not met():
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        assert time.monotonic() < deadline, "the flow did not get there in time"
        time.sleep(0.1)


def ledger(dsn: str) -> dict[str, int]:
    names = ("consumed", "rejected", "skipped", "absent", "rule", "bert", "llm", "late", "future")
    with connect(dsn) as database:
        row = database.execute(f"SELECT {', '.join(f'sum({n})' for n in names)} FROM ledger").fetchone()
    return {name: int(value or 0) for name, value in zip(names, row or (), strict=True)}


def published(bootstrap: str, topic: str) -> Counter[str]:
    """Return how often each alert id stands in an alert topic; ``winnow alerts tail`` would drop the repeats."""
    messages = map(orjson.loads, stored(bootstrap, topic))
    return Counter(message["id"] for message in messages if message.get("type") != "incident")


def stored(bootstrap: str, topic: str) -> list[bytes]:
    """Return all messages of a topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}-look", "enable.partition.eof": True})
    open_ends = set(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in open_ends])
    found: list[bytes] = []
    deadline = time.monotonic() + 60
    try:
        while open_ends:
            assert time.monotonic() < deadline, f"{topic} cannot be read to its end"
            for message in consumer.consume(500, 0.2):
                error = message.error()
                if error is None:
                    found.append(message.value() or b"")
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_ends.discard(message.partition())
    finally:
        consumer.close()
    return found


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Freeze a server and its children: connections stay open, nothing is answered, no error is given."""
    stopped = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    _tell(stopped, signal.SIGSTOP)
    try:
        yield
    finally:
        _tell(stopped, signal.SIGCONT)


def _tell(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # a child of Postgres that was ending just then
            os.kill(pid, number)
