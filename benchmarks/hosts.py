"""What the light scorers cost at scale: hosts with 50 metrics each, one bank a host, or many hosts in one call.

``winnow bench hosts [--scorers light,windows] [--hosts N,…] [--metrics N] [--quick] [--json]``. A host-window is a
score and a learn of all of a host's metrics in one minute. ``a bank a host`` is how the flow holds them, keyed by host;
``at once`` puts up to 1,000 hosts into one bank, which shows what the calls themselves cost. Memory is how much the
process grew. Midway every bank is packed, and up to 1,000 restored: what is restored must score as what went on. Each
measurement has a process of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from analyzers.anomaly.scorers.light import LightBank
from analyzers.anomaly.scorers.windows import WindowBank

MINUTE = 60_000_000
#: Monday 2024-01-01 00:00 UTC, µs.
START = 1_704_067_200_000_000
BANKS: dict[str, type[LightBank] | type[WindowBank]] = {"light": LightBank, "windows": WindowBank}
#: Hosts whose metrics go into one call.
TOGETHER = 1_000
#: Host-windows timed, and windows at least: banks must be past warming up, for until then less is done.
TIMED, LEAST, WARM = 20_000, 2, 160
#: Banks that go on from their snapshots beside themselves, for three windows.
RESTARTED = 1_000


class Task(NamedTuple):
    """One measurement."""

    scorer: str
    hosts: int
    metrics: int
    together: bool
    timed: int


def main() -> int:
    """Measure and print; the figures as JSON with ``--json``. 1 if a restart changed a score."""
    parser = argparse.ArgumentParser(prog="winnow bench hosts", description=__doc__)
    parser.add_argument("--scorers", default=",".join(BANKS), metavar="NAME,…", help=f"default: {','.join(BANKS)}")
    parser.add_argument("--hosts", default="10,1000,50000", metavar="N,…", help="default: 10,1000,50000")
    parser.add_argument("--metrics", type=int, default=50, help="of each host (default: 50)")
    parser.add_argument("--quick", action="store_true", help="3 and 30 hosts, few windows")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    names = args.scorers.split(",")
    try:
        counts = [3, 30] if args.quick else [int(count) for count in args.hosts.split(",")]
    except ValueError as error:
        print(f"--hosts: {error}", file=sys.stderr)
        return 2
    if unknown := set(names) - set(BANKS):
        print(f"no scorer {min(unknown)!r}; known: {', '.join(BANKS)}", file=sys.stderr)
        return 2
    if min(counts) < 1 or args.metrics < 1:
        print("hosts and metrics are 1 or more", file=sys.stderr)
        return 2
    rows = measure(names, counts, args.metrics, 100 if args.quick else TIMED)
    print(json.dumps(rows) if args.json else table(rows))
    return 0 if all(row["same_after_restart"] for row in rows) else 1


def measure(names: Sequence[str], counts: Sequence[int], metrics: int, timed: int) -> list[dict[str, Any]]:
    """Return the figures, a row a scorer, number of hosts, and way to hold them."""
    rows = []
    for name in names:
        for hosts in counts:
            for together in (False, True):
                task = Task(name, hosts, metrics, together, timed)
                print(f"{name}, {hosts:,} hosts, {'at once' if together else 'a bank a host'}", file=sys.stderr)
                with get_context("spawn").Pool(1) as pool:
                    rows.append(pool.apply(_measure, (task,)))
    return rows


def _measure(task: Task) -> dict[str, Any]:
    """Return the figures of one measurement.

    The banks of the first ``TOGETHER`` hosts learn ``WARM`` windows; the rest begin from copies of their snapshots, for
    time to make 50,000 of them warm is not what is measured.
    """
    size = min(TOGETHER, task.hosts) if task.together else 1
    count, columns = -(-task.hosts // size), size * task.metrics
    chance = np.random.default_rng(1)
    patterns = min(count, 10)
    values = chance.poisson(20.0, (patterns, WARM + 32, columns)).astype(float)
    kind = BANKS[task.scorer]
    snapshots = []
    for pattern in range(patterns):
        bank = kind(columns)
        for window in range(WARM):
            _step(bank, values[pattern, window], window)
        snapshots.append(bank.snapshot())
    del bank
    before = _resident()
    banks = [_restored(kind, snapshots[number % patterns]) for number in range(count)]
    # A step leaves what it found behind until the next, so it is part of what a host holds.
    for number, bank in enumerate(banks):
        _step(bank, values[number % patterns, WARM], WARM)
    grown = _resident() - before
    windows = min(max(LEAST, -(-task.timed // task.hosts)), 2_000)
    began = time.process_time()
    for window in range(WARM + 1, WARM + 1 + windows):
        for number, bank in enumerate(banks):
            _step(bank, values[number % patterns, window % (WARM + 32)], window)
    spent = time.process_time() - began
    packing, packed, same = 0.0, 0, True
    for number, bank in enumerate(banks):
        began = time.process_time()
        state = bank.snapshot()
        packing += time.process_time() - began
        packed += len(state)
        if number % max(1, count // RESTARTED) == 0:
            again = _restored(kind, state)
            for window in range(WARM + 1 + windows, WARM + 4 + windows):
                row = values[number % patterns, window % (WARM + 32)] * (1 + window % 3)
                same = same and bool(np.array_equal(_step(bank, row, window), _step(again, row, window)))
    held = count * size
    return {
        "scorer": task.scorer,
        "hosts": task.hosts,
        "metrics": task.metrics,
        "held": "at once" if task.together else "a bank a host",
        "micros_per_host_window": spent / (windows * held) * 1e6,
        "memory_per_host": grown / held,
        "snapshot_per_host": packed / held,
        "snapshot_micros_per_host": packing / held * 1e6,
        "same_after_restart": same,
    }


def _step(bank: LightBank | WindowBank, values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """Score a window and learn it; return the scores."""
    at = START + window * MINUTE
    scores = bank.score(values, at)
    bank.learn(values, at)
    return scores


def _restored(kind: type[LightBank] | type[WindowBank], state: bytes) -> LightBank | WindowBank:
    bank = kind(0)
    bank.load(state)
    return bank


def _resident() -> int:
    """Return the memory of the process, bytes; what it has freed is given back first, where the C library can."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures for people."""
    lines = [
        f"{rows[0]['metrics']} metrics a host; a host-window is score and learn",
        f"{'scorer':<10}{'hosts':>8}  {'held':<14}{'µs/host-window':>16}{'memory, B':>12}{'snapshot, B':>13}"
        f"{'µs to pack':>12}  after a restart",
    ]
    lines += [
        f"{row['scorer']:<10}{row['hosts']:>8,}  {row['held']:<14}{row['micros_per_host_window']:>16.1f}"
        f"{row['memory_per_host']:>12,.0f}{row['snapshot_per_host']:>13,.0f}{row['snapshot_micros_per_host']:>12.1f}"
        f"  {'the same scores' if row['same_after_restart'] else 'OTHER SCORES'}"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
