"""Whatever order partitions are read in, hosts must see the same windows and candidates in the same order."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from analyzers.host import WINDOW, HostEvents
from analyzers.metrics import MetricSet
from analyzers.router.candidate import Candidate
from operators.align import Aligner, HostItem
from operators.batch import END_OF_TIME, Batch, HostLate, Judged, ShardItem
from operators.clock import EventClock
from operators.collect import SHARDS, Collector
from state.alerts import Level, Signal
from state.events import Event, Kind
from state.ids import shard_of

KIND = Kind("test.event", "host", "seen")
SECOND = 1_000_000
METRICS = MetricSet.load()


def items_of(partition: str, stamps: list[tuple[int, str, bool]], cuts: int, ended: bool = True) -> list[ShardItem]:
    """Return what one partition sends to the shard of its hosts, cut into batches of ``cuts`` events."""
    clock = EventClock(5 * SECOND, 10**18)
    collector = Collector(METRICS)
    items = []
    for start in range(0, len(stamps), cuts):
        events = [
            Event(partition, start + i, time * SECOND, host, KIND, b"", "json")
            for i, (time, host, _) in enumerate(stamps[start : start + cuts])
        ]
        placed = clock.place(events, 10**18)
        signals = {
            i: [Signal("rule", "r", "R", Level.low, e.host, e.time, "why", event_id=e.id)]
            for i, (e, (_, _, hit)) in enumerate(zip(events, stamps[start : start + cuts], strict=True))
            if hit
        }
        batch = Batch(partition, 0, clock.watermark, clock.start, events, consumed=len(events), late=placed.late)
        items.append(collector.collect(Judged(batch, signals, "v")).shards[shard_of("a", SHARDS)])
    if ended:
        items.append(ShardItem(shard_of("a", SHARDS), partition, END_OF_TIME, clock.start))
    return items


def play(parts: list[list[ShardItem]], order: random.Random, restart: bool = False) -> list[HostItem]:
    """Feed the partitions' items in a random interleaving, in random portions; return all that is released."""
    names = [part[0].origin for part in parts]
    aligner = Aligner(names, silent_windows=3)
    queues = [list(part) for part in parts]
    out: list[HostItem] = []
    while any(queues):
        queue = order.choice([q for q in queues if q])
        for _ in range(order.randint(1, 3)):
            if queue:
                aligner.add(_copy(queue.pop(0)))
        out += aligner.release()
        if restart and order.random() < 0.3:
            state = aligner.snapshot()
            aligner = Aligner(names, silent_windows=3)
            aligner.restore(state)
    return out


def _copy(item: ShardItem) -> ShardItem:
    import copy

    return copy.deepcopy(item)


def told(out: list[HostItem]) -> list[object]:
    """Return what a host step could tell apart; late counts add up in any order."""
    seen: list[object] = []
    for item in out:
        if isinstance(item, HostEvents):
            values = item.partial.values() if item.partial else None
            seen.append((item.host, item.start, values, item.first, item.last, item.events))
        elif isinstance(item, Candidate):
            seen.append((item.time, item.event.id))
    return seen


stamp = st.tuples(st.integers(0, 900), st.just("a"), st.booleans())
partition = st.lists(stamp, min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(st.lists(partition, min_size=1, max_size=4), st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**32))
def test_any_interleaving_batching_and_restart_gives_the_same(
    stamps: list[list[tuple[int, str, bool]]], cuts: int, other_cuts: int, seed: int
) -> None:
    order = random.Random(seed)
    expected = told(play([items_of(f"t-{p}", s, cuts) for p, s in enumerate(stamps)], random.Random(0)))
    again = told(play([items_of(f"t-{p}", s, other_cuts) for p, s in enumerate(stamps)], order, restart=True))
    assert again == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(partition, min_size=1, max_size=3), st.integers(1, 7), st.integers(0, 2**32))
def test_every_event_is_counted_once(stamps: list[list[tuple[int, str, bool]]], cuts: int, seed: int) -> None:
    out = play([items_of(f"t-{p}", s, cuts) for p, s in enumerate(stamps)], random.Random(seed))
    counted = sum(item.events for item in out if isinstance(item, HostEvents | HostLate))
    decided = [item.event.id for item in out if isinstance(item, Candidate)]
    assert counted == sum(map(len, stamps))
    assert len(decided) == len(set(decided)) == sum(hit for part in stamps for _, _, hit in part)


def test_nothing_is_released_before_every_partition_spoke() -> None:
    aligner = Aligner(["t-0", "t-1"])
    for item in items_of("t-0", [(0, "a", False), (500, "a", False)], 1, ended=False):
        aligner.add(item)
    assert aligner.release() == []
    for item in items_of("t-1", [(400, "a", False)], 1, ended=False):
        aligner.add(item)
    # The slower partition stands at 395 s: the window from 360 s on stays open.
    closed = [item.start // WINDOW for item in aligner.release() if isinstance(item, HostEvents)]
    assert closed == [0, 1, 2, 3, 4, 5]


def test_silent_host_gets_empty_windows_and_is_then_forgotten() -> None:
    aligner = Aligner(["t-0"], silent_windows=3)
    for item in items_of("t-0", [(0, "a", False), (3600, "a", False)], 2, ended=False):
        aligner.add(item)
    windows = [
        (item.start // WINDOW, item.partial is None) for item in aligner.release() if isinstance(item, HostEvents)
    ]
    assert windows == [(0, False), (1, True), (2, True), (3, True)]


def test_a_jump_of_years_ends_soon() -> None:
    aligner = Aligner(["t-0"], silent_windows=60)
    years = 20 * 365 * 86_400
    for item in items_of("t-0", [(0, "a", False), (years, "a", False)], 1):
        aligner.add(item)
    assert sum(isinstance(item, HostEvents) for item in aligner.release()) == 62


def test_partition_that_is_ahead_of_a_quiet_shard_shuts_nobody_out() -> None:
    aligner = Aligner(["t-0", "t-1"], silent_windows=3)
    first, ahead = items_of("t-0", [(0, "a", False), (3600, "a", False)], 1, ended=False)
    # The other partition is an hour behind, of which this shard hears late: its host fell silent long before.
    behind = items_of("t-1", [(0, "b", False), (1200, "b", False), (1800, "a", False)], 1, ended=False)
    aligner.add(first)
    aligner.add(behind[0])
    aligner.add(ahead)
    aligner.add(ShardItem(ahead.shard, "t-1", 1000 * SECOND, behind[0].start))
    released = aligner.release()
    aligner.add(behind[2])
    released += aligner.release()
    aligner.add(ShardItem(ahead.shard, "t-1", END_OF_TIME, behind[0].start))
    aligner.add(ShardItem(ahead.shard, "t-0", END_OF_TIME, first.start))
    released += aligner.release()
    seen = [
        item.start // WINDOW for item in released if isinstance(item, HostEvents) and item.host == "a" and item.events
    ]
    assert seen == [0, 30, 60]
    assert not any(isinstance(item, HostLate) for item in released)


def test_a_shard_that_skips_a_stretch_without_hosts_says_that_it_is_over() -> None:
    """Else whoever waits for all shards would wait for the next minute, while the stream may stand still."""
    aligner = Aligner(["p"])
    aligner.add(ShardItem(0, "p", 10 * SECOND, 0))
    aligner.release()
    aligner.add(ShardItem(0, "p", 40 * WINDOW + 30 * SECOND, 0))
    aligner.release()
    assert [start // WINDOW for start, _, _ in aligner.closed] == [0, 39]
    aligner.closed.clear()
    aligner.add(ShardItem(0, "p", 41 * WINDOW, 0))
    aligner.release()
    assert [start // WINDOW for start, _, _ in aligner.closed] == [40]
