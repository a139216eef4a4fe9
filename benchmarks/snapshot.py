"""What a snapshot costs: bytes and time of the align step's and of the host step's state.

``python -m benchmarks.snapshot [--hosts 1000 10000 100000]``. First the size of open windows in generated traffic, then
a JSON line a number of hosts. Each epoch rewrites the align step's 32 shards whole, for every batch touches each, and
the host step's state of the hosts whose window closed since; staggering spreads those over ``time.stagger_seconds``.
Bytewax's own pickling and writing to SQLite come on top.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence

import msgspec

from analyzers.anomaly.settings import AnomalySettings
from analyzers.host import WINDOW, Host, HostEvents
from analyzers.metrics import MetricSet
from flows.traffic import Traffic
from flows.traffic.settings import TrafficSettings
from operators.align import Aligner
from operators.batch import Batch, Judged, OpenWindow, ShardItem
from operators.collect import SHARDS, Collector
from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from operators.roster import Roster
from state.ids import shard_of

START = 1_704_700_800_000_000  # Monday 2024-01-08 08:00 UTC
#: Windows that a host has learned before it is measured.
LEARNED = 60


def windows(metrics: MetricSet, minutes: int = LEARNED, hosts: int = 100) -> dict[str, list[OpenWindow]]:
    """Return the windows of each host in generated traffic of all formats, oldest first."""
    traffic = Traffic(1, START, TrafficSettings(rate=100.0, hosts=hosts, attacks_per_hour=20))
    decoder = Decoder("traffic-0", FormatSettings(year=2024))
    collector = Collector(metrics)
    found: dict[tuple[str, int], OpenWindow] = {}
    raws = [message.value for message in traffic.messages(START + minutes * WINDOW)]
    for first in range(0, len(raws), 2_000):
        some = raws[first : first + 2_000]
        events = decoder.decode_batch(some, range(first, first + len(some)), START).events
        batch = Batch("traffic-0", 0, 0, 0, events, consumed=len(events))
        for item in collector.collect(Judged(batch, {}, "")).shards:
            for key, window in item.windows.items():
                if key in found:
                    found[key].merge(window)
                else:
                    found[key] = window
    by_host: dict[str, list[OpenWindow]] = {}
    for (host, _), window in sorted(found.items(), key=lambda item: item[0]):
        by_host.setdefault(host, []).append(window)
    return by_host


def sizes(of: Sequence[int]) -> dict[str, int]:
    """Return median, mean, 95th percentile and greatest of sizes, bytes."""
    ordered = sorted(of)
    return {
        "median": ordered[len(ordered) // 2],
        "mean": round(statistics.mean(ordered)),
        "p95": ordered[len(ordered) * 95 // 100],
        "max": ordered[-1],
    }


def align(hosts: int, sample: Sequence[OpenWindow]) -> dict[str, float]:
    """Measure the 32 shards with one open window a host."""
    shards = [Aligner(["t-0"], roster=Roster(hosts, 30)) for _ in range(SHARDS)]
    items = [ShardItem(shard, "t-0", START, START) for shard in range(SHARDS)]
    for number in range(hosts):
        name = f"host-{number}"
        items[shard_of(name, SHARDS)].windows[name, START] = sample[number % len(sample)]
    for shard, item in zip(shards, items, strict=True):
        shard.add(item)
    began = time.perf_counter()
    size = sum(len(shard.snapshot()) for shard in shards)
    return {"align_bytes": size, "align_seconds": round(time.perf_counter() - began, 4)}


def learned(metrics: MetricSet, by_host: dict[str, list[OpenWindow]]) -> list[Host]:
    """Return hosts that have learned their windows."""
    hosts = []
    for name, own in by_host.items():
        host = Host(name, metrics, AnomalySettings())
        for number in range(LEARNED):
            window = own[number % len(own)]
            start = START + number * WINDOW
            host.close_window(HostEvents(name, start, window.partial, start, start, window.events))
        hosts.append(host)
    return hosts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    args = parser.parse_args()
    metrics = MetricSet.load()
    by_host = windows(metrics)
    sample = [window for own in by_host.values() for window in own]
    print(json.dumps({"open_window_bytes": sizes([len(msgspec.msgpack.encode(w)) for w in sample])}))
    models = learned(metrics, by_host)
    print(json.dumps({"host_state_bytes": sizes([len(model.snapshot()) for model in models])}))
    for hosts in args.hosts:
        began = time.perf_counter()
        size = sum(len(models[number % len(models)].snapshot()) for number in range(hosts))
        taken = time.perf_counter() - began
        row = {
            "hosts": hosts,
            **align(hosts, sample),
            "host_bytes": size,
            "host_seconds": round(taken, 4),
            "host_microseconds_each": round(taken / hosts * 1e6, 1),
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
