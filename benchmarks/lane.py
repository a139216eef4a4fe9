"""By how much the text judge delays alerts in the flow at half of what the flow can take, with it and without.

``winnow bench lane [--messages N] [--seconds S] [--runs N]``. Generated traffic of all formats, every 50th message one
of another host that a rule of level high matches; first all at once, which gives the saturation, then at half of that:
what counts is the time from handing such a message to Kafka to reading its alert there. Both ways alternate in one run,
each with a flow, a topic and a database of its own; the first fifth, in which everything is new, is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from benchmarks.throughput import START, create, zeek_line
from flows.traffic import Traffic
from flows.traffic.settings import TrafficSettings
from state.embedded import EmbeddedServices
from state.postgres import connect
from state.revisions import migrate

#: A message of these is a marker.
EVERY = 50
PORT = 49_999
RULE = f"""title: A marker
id: 5f0a2a4b-1111-4222-8333-944444440001
level: high
logsource: {{product: zeek, service: conn}}
detection: {{marker: {{id.resp_p: {PORT}}}, condition: marker}}
"""


def messages(count: int) -> Iterator[tuple[bytes, str]]:
    """Yield messages, and of each marker its host, of another message nothing."""
    traffic = Traffic(1, START, TrafficSettings(rate=500.0, hosts=200))
    for number, message in enumerate(traffic.messages(sys.maxsize)):
        if number >= count:
            return
        if number % EVERY:
            yield message.value, ""
        else:
            host = 1_000_000 + number
            line = zeek_line(number, host, message.time / 1e6)
            told = f"10.{host // 62_500}.{host // 250 % 250}.{host % 250}"
            yield line.replace(b'"id.resp_p":443', b'"id.resp_p":%d' % PORT), told


@contextmanager
def flow(services: EmbeddedServices, topic: str, judged: bool) -> Iterator[tuple[str, str]]:
    """Run the flow on a topic; yield the topic of its alerts and its database once the first alert may come."""
    dsn = services.postgres.create_database(topic)
    migrate(dsn)
    rules = services.folder / "lane-rules"
    rules.mkdir(exist_ok=True)
    (rules / "marker.yml").write_text(RULE)
    alerts = f"{topic}_alerts"
    create(services, alerts)
    env = {
        **os.environ,
        **services.environment,
        "WINNOW_POSTGRES__DSN": dsn,
        "WINNOW_KAFKA__TELEMETRY": json.dumps([topic]),
        "WINNOW_KAFKA__ALERTS": alerts,
        "WINNOW_RULES__PATHS": json.dumps([str(rules)]),
        "WINNOW_BERT__ENABLED": "true" if judged else "false",
        "WINNOW_METRICS__PORT": "0",
        "WINNOW_RECOVERY__FOLDER": str(services.folder / topic),
        "WINNOW_TIME__IDLE_SECONDS": "600",
        "WINNOW_FORMATS__YEAR": "2024",
    }
    process = subprocess.Popen([sys.executable, "-m", "flows.cli", "run"], env=env)
    try:
        with connect(dsn, autocommit=True) as database:
            while not database.execute("SELECT 1 FROM ledger LIMIT 1").fetchall():
                if process.poll() is not None:
                    raise RuntimeError("the flow ended by itself")
                time.sleep(0.1)
        yield alerts, dsn
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


def saturated(services: EmbeddedServices, count: int) -> float:
    """Return messages a second of the same flow on the same messages, all of which are there when it starts."""
    create(services, "full")
    producer = Producer({"bootstrap.servers": services.kafka.bootstrap_servers, "linger.ms": 50})
    for value, _ in messages(count):
        while True:
            try:
                producer.produce("full", value)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
    with flow(services, "full", True) as (_, dsn), connect(dsn, autocommit=True) as database:
        first, began = _consumed(database), time.monotonic()
        while (done := _consumed(database)) < count:
            time.sleep(0.02)
        return (done - first) / (time.monotonic() - began)


def _consumed(database: psycopg.Connection[Any]) -> int:
    row = database.execute("SELECT coalesce(sum(consumed), 0) FROM ledger").fetchone()
    return int(row[0]) if row else 0


def measure(services: EmbeddedServices, topic: str, judged: bool, rate: float, seconds: float) -> list[float]:
    """Return the seconds from each marker to its alert, in order, at ``rate`` messages a second."""
    create(services, topic)
    bootstrap = services.kafka.bootstrap_servers
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    sent: dict[str, float] = {}
    found: dict[str, float] = {}
    ended = threading.Event()

    def listen(alerts: str) -> None:
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": alerts, "fetch.wait.max.ms": 10})
        consumer.assign([TopicPartition(alerts, 0, OFFSET_BEGINNING)])
        while not ended.is_set():
            for message in consumer.consume(500, 0.02):
                if message.error() is None:
                    entity = str(orjson.loads(message.value() or b"{}").get("entity", ""))
                    found.setdefault(entity.removeprefix("host:"), time.monotonic())
        consumer.close()

    values = list(messages(round(rate * seconds)))
    producer.produce(topic, values[0][0])
    producer.flush()
    with flow(services, topic, judged) as (alerts, _):
        listener = threading.Thread(target=listen, args=(alerts,), daemon=True)
        listener.start()
        began = time.monotonic()
        for number, (value, host) in enumerate(values[1:]):
            wait = began + number / rate - time.monotonic()
            if wait > 0:
                producer.poll(0)
                time.sleep(wait)
            if host:
                sent[host] = time.monotonic()
            producer.produce(topic, value)
        producer.flush()
        deadline = time.monotonic() + 60
        while len(found.keys() & sent.keys()) < len(sent) and time.monotonic() < deadline:
            time.sleep(0.1)
        ended.set()
        listener.join()
    missing = sent.keys() - found.keys()
    if missing:
        print(f"{len(missing)} of {len(sent)} markers without an alert after a minute", file=sys.stderr)
    every = [found[host] - at for host, at in sent.items() if host in found]
    return every[len(every) // 5 :]


def told(times: list[float]) -> dict[str, Any]:
    """Return the middle, the 99th percentile and the greatest, milliseconds."""
    some = sorted(times)
    return {
        "alerts": len(some),
        "middle_ms": round(1_000 * statistics.median(some)),
        "p99_ms": round(1_000 * some[len(some) * 99 // 100]),
        "worst_ms": round(1_000 * some[-1]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="winnow bench lane", description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000, help="of the saturation (default: 200000)")
    parser.add_argument("--seconds", type=float, default=40.0, help="at half of it, each way (default: 40)")
    parser.add_argument("--runs", type=int, default=2, help="each way (default: 2)")
    args = parser.parse_args()
    with EmbeddedServices(valkey=False) as services:
        saturation = saturated(services, args.messages)
        print(f"saturation with the text judge: {saturation:,.0f} messages/s", file=sys.stderr)
        found: dict[str, list[float]] = {"with": [], "without": []}
        for run in range(args.runs):
            for name, times in found.items():
                times += measure(services, f"lane_{name}_{run}", name == "with", saturation / 2, args.seconds)
                print(f"{name} the text judge: {told(times)}", file=sys.stderr)
        figures = {name: told(times) for name, times in found.items()}
        added = figures["with"]["p99_ms"] - figures["without"]["p99_ms"]
        print(json.dumps({"saturation": round(saturation), **figures, "added_p99_ms": added}))


if __name__ == "__main__":
    main()
