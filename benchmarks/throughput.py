"""How fast the whole detect flow is, without rules, beside a loop that only consumes and decodes the same topic.

``python -m benchmarks.throughput [--messages N] [--traffic zeek|mixed]``. Both read the same embedded broker, one after
the other, alternating, in one run; what counts is the ratio. Figures in seconds mean nothing on a shared machine.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from flows.traffic import Traffic
from flows.traffic.settings import TrafficSettings
from state.embedded import EmbeddedServices
from state.postgres import connect
from state.revisions import migrate

START = 1_704_700_800_000_000


class Conn(msgspec.Struct):
    """The fields of a Zeek conn line that the flow itself uses."""

    ts: float | str = 0.0
    path: str = msgspec.field(name="_path", default="")
    source: str = msgspec.field(name="id.orig_h", default="")
    source_port: int = msgspec.field(name="id.orig_p", default=0)
    target: str = msgspec.field(name="id.resp_h", default="")
    target_port: int = msgspec.field(name="id.resp_p", default=0)
    sent: int | None = msgspec.field(name="orig_bytes", default=None)
    received: int | None = msgspec.field(name="resp_bytes", default=None)
    state: str = msgspec.field(name="conn_state", default="")


def zeek(count: int, hosts: int = 200) -> Iterator[bytes]:
    """Yield Zeek conn lines of some 300 bytes, of ``hosts`` hosts, 1,000 a second of event time."""
    for i in range(count):
        yield zeek_line(i, i * 7919 % hosts, START / 1e6 + i / 1000)


def zeek_line(number: int, host: int, seconds: float) -> bytes:
    """Return one Zeek conn line, of one of up to 16 million hosts."""
    line = (
        '{"_path":"conn","ts":%.6f,"uid":"C%017d","id.orig_h":"10.%d.%d.%d","id.orig_p":%d,"id.resp_h":"192.0.2.%d",'
        '"id.resp_p":443,"proto":"tcp","service":"ssl","duration":0.25,"orig_bytes":%d,"resp_bytes":%d,'
        '"conn_state":"SF","missed_bytes":0,"history":"ShADadFf","orig_pkts":9,"resp_pkts":8}'
    )
    place = host // 62_500, host // 250 % 250, host % 250
    i = number
    return (line % (seconds, i, *place, 1024 + i % 60000, i % 250, i % 1500, i % 9000)).encode()


def mixed(count: int) -> Iterator[bytes]:
    """Yield the generator's traffic: all formats, twelve hosts, some 700 bytes a message."""
    traffic = Traffic(1, START, TrafficSettings(rate=500.0, hosts=200))
    for number, message in enumerate(traffic.messages(sys.maxsize)):
        if number >= count:
            return
        yield message.value


def plain(bootstrap: str, topic: str, count: int) -> float:
    """Return messages a second of a loop that consumes 2,000 at a time and decodes each into a small struct."""
    code = (
        "import sys,time\nfrom benchmarks.throughput import consume\n"
        "print(consume(sys.argv[1], sys.argv[2], int(sys.argv[3])))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, bootstrap, topic, str(count)], check=True, capture_output=True, text=True
    )
    return float(out.stdout)


def consume(bootstrap: str, topic: str, count: int) -> float:
    """Consume and decode ``count`` messages in this process; return messages a second after the first batch."""
    decoder = msgspec.json.Decoder(Conn if topic == "zeek" else msgspec.Raw)
    decode = decoder.decode if topic == "zeek" else msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    # The flow's own settings, for both sides to wait for the broker alike.
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "plain",
            "queued.min.messages": 20_000,
            "fetch.queue.backoff.ms": 2,
            "fetch.message.max.bytes": 4_000_000,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    done, began, first = 0, 0.0, 0
    while done < count:
        for message in consumer.consume(2_000, 1.0):
            if message.error() is None:
                raw = message.value()
                done += 1
                if raw.startswith(b"{"):
                    decode(raw)
        if not first and done:
            began, first = time.perf_counter(), done
    rate = (done - first) / (time.perf_counter() - began)
    consumer.close()
    return rate


def whole(services: EmbeddedServices, topic: str, count: int, profile: str) -> float:
    """Return messages a second of the flow, from its first ledger row to the last, with all its sinks."""
    name = f"bench_{time.monotonic_ns()}"
    dsn = services.postgres.create_database(name)
    migrate(dsn)
    env = {
        **os.environ,
        **services.environment,
        "WINNOW_POSTGRES__DSN": dsn,
        "WINNOW_KAFKA__TELEMETRY": json.dumps([topic]),
        "WINNOW_RULES__BUILTIN": "false",
        "WINNOW_METRICS__PORT": "0",
        "WINNOW_RECOVERY__FOLDER": str(services.folder / name),
        "WINNOW_TIME__IDLE_SECONDS": "600",
        "WINNOW_FORMATS__YEAR": "2024",
    }
    flow = subprocess.Popen([sys.executable, "-m", "flows.cli", "run"], env=env)
    try:
        with connect(dsn, autocommit=True) as database:
            first, began, done = 0, 0.0, 0
            watcher = _profile(flow.pid, profile) if profile else None
            while done < count:
                time.sleep(0.02)
                if flow.poll() is not None:
                    raise RuntimeError("the flow ended by itself")
                done = int(database.execute("SELECT coalesce(sum(consumed), 0) FROM ledger").fetchall()[0][0])
                if done and not first:
                    first, began = done, time.perf_counter()
            rate = (done - first) / (time.perf_counter() - began)
            if watcher is not None:
                watcher.send_signal(signal.SIGINT)
                watcher.wait(30)
    finally:
        flow.send_signal(signal.SIGTERM)
        flow.wait(60)
    return rate


def _profile(pid: int, path: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["py-spy", "record", "-p", str(pid), "-f", "raw", "-d", "600", "-o", path])


def create(services: EmbeddedServices, topic: str) -> None:
    """Create a topic of one partition."""
    admin = AdminClient({"bootstrap.servers": services.kafka.bootstrap_servers})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=400_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--traffic", choices=("zeek", "mixed"), default="zeek")
    parser.add_argument("--profile", default="", metavar="FILE", help="py-spy raw profile of the flow (needs py-spy)")
    args = parser.parse_args()
    with EmbeddedServices(valkey=False) as services:
        bootstrap = services.kafka.bootstrap_servers
        create(services, args.traffic)
        producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50})
        size = 0
        for value in (zeek if args.traffic == "zeek" else mixed)(args.messages):
            size += len(value)
            while True:
                try:
                    producer.produce(args.traffic, value)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.flush()
        loops, flows = [], []
        for _ in range(args.runs):
            loops.append(plain(bootstrap, args.traffic, args.messages))
            flows.append(whole(services, args.traffic, args.messages, args.profile))
            print(f"loop {loops[-1]:>10,.0f}/s   flow {flows[-1]:>10,.0f}/s   ratio {flows[-1] / loops[-1]:.3f}")
        ratios = [flow / loop for flow, loop in zip(flows, loops, strict=True)]
        print(
            json.dumps(
                {
                    "traffic": args.traffic,
                    "messages": args.messages,
                    "mean_bytes": round(size / args.messages),
                    "loop_per_second": round(statistics.median(loops)),
                    "flow_per_second": round(statistics.median(flows)),
                    "ratio": round(statistics.median(ratios), 3),
                }
            )
        )


if __name__ == "__main__":
    main()
