"""How long snapshots hold up the whole flow: one worker, all its sinks, recovery on, a steady load of many hosts.

``python -m benchmarks.epochs [--hosts 1000 10000 100000] [--rate 2000] [--seconds 120]``. A row a number of hosts,
after a minute to begin: messages a second read, messages not yet read at the end, the longest time for which the source
was not asked (median over epochs, and worst), the longest for which the flow's thread meanwhile had the processor (the
same: what is left of a stall on a machine that nobody shares, but for Postgres), the time from the source's snapshot to
the store's being complete (the same), what the store holds, resident memory, and the machine's load.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import psutil
from confluent_kafka import Producer

from benchmarks.throughput import create, zeek_line
from state.embedded import EmbeddedServices
from state.postgres import connect
from state.revisions import migrate

#: Seconds before anything is counted: hosts become known, and the first windows close.
WARM = 60.0


def inside() -> None:
    """Be the worker; at its end print when the source took snapshots, and for how long it was not asked."""
    from flows.cluster import Place
    from flows.live import prepare, work
    from flows.settings import load_settings
    from operators.kafka import KafkaPartition

    snapshots: list[tuple[float, int]] = []
    gaps: list[tuple[float, float, float]] = []
    read, take = KafkaPartition.next_batch, KafkaPartition.snapshot
    left, cpu = time.time(), time.thread_time()
    sent = 0

    def next_batch(self: KafkaPartition) -> list[object]:
        nonlocal left, cpu, sent
        entered = time.time()
        if entered - left > 0.005:
            gaps.append((entered, entered - left, time.thread_time() - cpu))
        try:
            batches = list(read(self))
        finally:
            left, cpu = time.time(), time.thread_time()
        sent += sum(batch.consumed for batch in batches)
        return batches

    def snapshot(self: KafkaPartition) -> bytes:
        snapshots.append((time.time(), sent))
        return take(self)

    KafkaPartition.next_batch, KafkaPartition.snapshot = next_batch, snapshot  # type: ignore[method-assign,assignment]
    settings = load_settings()
    prepare(settings)
    work(settings, Place(0, [], ""))
    print(json.dumps({"snapshots": snapshots, "gaps": gaps, "read": sent}))


def frontiers(folder: Path, stop: threading.Event) -> Iterator[float]:
    """Yield when the store was complete up to a further epoch."""
    last = -1
    while not stop.wait(0.02):
        for path in folder.glob("part-*.sqlite3"):
            with closing(sqlite3.connect(path, timeout=5.0)) as database:
                row = database.execute("SELECT max(worker_frontier) FROM fronts").fetchone()
            if row[0] is None:
                continue
            if row[0] > last:
                last = row[0]
                yield time.time()
            break


def send(bootstrap: str, topic: str, hosts: int, rate: int, stop: threading.Event) -> Iterator[int]:
    """Send Zeek conn lines of ``hosts`` hosts, stamped with the clock, until told to stop; yield how many."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
    began, count = time.monotonic(), 0
    while not stop.is_set():
        due = int((time.monotonic() - began) * rate)
        for number in range(count, due):
            producer.produce(topic, zeek_line(number, number * 7919 % hosts, time.time()))
            if number % 1000 == 0:
                producer.poll(0)
        count = due
        producer.poll(0.02)
    producer.flush(30)
    yield count


def measure(hosts: int, rate: int, seconds: float) -> dict[str, object]:
    """Run the flow under load and return a row of the table."""
    with EmbeddedServices(valkey=False) as services, tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "store"
        create(services, "epochs")
        dsn = services.postgres.create_database("epochs")
        migrate(dsn)
        env = {
            **os.environ,
            **services.environment,
            "WINNOW_POSTGRES__DSN": dsn,
            "WINNOW_KAFKA__TELEMETRY": '["epochs"]',
            "WINNOW_RULES__BUILTIN": "false",
            "WINNOW_METRICS__PORT": "0",
            "WINNOW_LIMITS__HOSTS": "200000",
            "WINNOW_RECOVERY__FOLDER": str(folder),
        }
        command = [sys.executable, "-m", "benchmarks.epochs", "--inside"]
        flow = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        stop = threading.Event()
        sent: list[int] = []
        complete: list[float] = []
        while not list(folder.glob("part-63.sqlite3")) and flow.poll() is None:
            time.sleep(0.1)
        bootstrap = services.kafka.bootstrap_servers
        threads = [
            threading.Thread(target=lambda: sent.extend(send(bootstrap, "epochs", hosts, rate, stop))),
            threading.Thread(target=lambda: complete.extend(frontiers(folder, stop))),
        ]
        for thread in threads:
            thread.start()
        with connect(dsn, autocommit=True) as database:
            while flow.poll() is None and not (database.execute("SELECT 1 FROM ledger LIMIT 1").fetchone()):
                time.sleep(0.1)
        began = time.time()
        while time.time() - began < WARM + seconds and flow.poll() is None:
            time.sleep(0.5)
        memory = psutil.Process(flow.pid).memory_info().rss
        size = sum(path.stat().st_size for path in folder.glob("part-*"))
        stop.set()
        flow.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        told = json.loads(flow.communicate(timeout=120)[0])
    first, last = began + WARM, began + WARM + seconds
    counts = {at: count for at, count in told["snapshots"] if first <= at <= last}
    marks = list(counts)
    stalls, closes, busy = [], [], []
    for mark, following in pairwise(marks):
        within = [(gap, cpu) for at, gap, cpu in told["gaps"] if mark <= at < following]
        stalls.append(max((gap for gap, _ in within), default=0.0))
        busy.append(max((cpu for _, cpu in within), default=0.0))
        closes += [at - mark for at in complete if mark <= at < following][:1]
    return {
        "hosts": hosts,
        "rate": rate,
        "read/s": round((counts[marks[-1]] - counts[marks[0]]) / (marks[-1] - marks[0])) if len(marks) > 1 else 0,
        "unread": sent[0] - told["read"],
        "epochs": len(stalls),
        "stall median": round(statistics.median(stalls or [0.0]), 3),
        "stall worst": round(max(stalls, default=0.0), 3),
        "busy median": round(statistics.median(busy or [0.0]), 3),
        "busy worst": round(max(busy, default=0.0), 3),
        "close median": round(statistics.median(closes or [0.0]), 3),
        "close worst": round(max(closes, default=0.0), 3),
        "store MB": round(size / 1e6, 1),
        "memory MB": round(memory / 1e6),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--rate", type=int, default=2_000, help="messages a second")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long is measured, after a minute to begin")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        inside()
        return
    for number, hosts in enumerate(args.hosts):
        row = measure(hosts, args.rate, args.seconds)
        if not number:
            print("  ".join(f"{name:>12}" for name in row))
        print("  ".join(f"{value:>12}" for value in row.values()), flush=True)


if __name__ == "__main__":
    main()
