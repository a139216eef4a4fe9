"""A host whose clock is wrong harms only itself."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.host import HostEvents
from analyzers.metrics import MetricSet
from operators.align import Aligner
from operators.batch import END_OF_TIME, Batch, HostLate, Judged, ShardItem
from operators.clock import EventClock
from operators.collect import SHARDS, Collector
from state.events import Event, Kind

SECOND = 1_000_000
NOW = 1_704_715_200 * SECOND
KIND = Kind("test.event", "host", "seen")
METRICS = MetricSet.load()


def results(events: list[Event], live: bool) -> tuple[dict[str, list[object]], int, int]:
    """Return what each host's step gets, and how many events were late and too far ahead."""
    clock = EventClock(5 * SECOND, 600 * SECOND)
    collector = Collector(METRICS)
    aligners = [Aligner(["t-0"]) for _ in range(SHARDS)]
    late = future = 0
    told: dict[str, list[object]] = {}
    for start in range(0, len(events) + 50, 50):
        some, following = events[start : start + 50], events[start + 50 : start + 90]
        if live:
            # The clock of the broker: that of the last event of an honest host.
            placed = clock.place(some, max([e.time for e in events[: start + 50] if e.host != "fast"]))
        else:
            placed = clock.place_recorded(some, following)
        late, future = late + len(placed.late), future + len(placed.future)
        ended = start >= len(events)
        watermark = END_OF_TIME if ended else clock.watermark
        batch = Batch(
            "t-0", 0, watermark, clock.start, some, consumed=len(some), late=placed.late, future=placed.future
        )
        items = collector.collect(Judged(batch, {}, "v")).shards
        for aligner, item in zip(aligners, items, strict=True):
            aligner.add(ShardItem(item.shard, "t-0", watermark, clock.start, item.windows, [], item.late))
            for one in aligner.release():
                if isinstance(one, HostEvents):
                    values = one.partial.values() if one.partial else None
                    told.setdefault(one.host, []).append((one.start, one.events, values))
                elif isinstance(one, HostLate):
                    told.setdefault(f"late {one.host}", []).append(one.events)
    return told, late, future


@pytest.mark.parametrize("live", [True, False])
@given(st.integers(0, 2**32), st.sampled_from([2 * 3600, 86_400, 11 * 60]))
def test_a_fast_host_is_left_out_and_all_others_are_as_without_it(live: bool, seed: int, ahead: int) -> None:
    order = random.Random(seed)
    honest = [
        Event("t-0", n * 10, NOW + n * SECOND + order.randint(-2, 2) * SECOND, f"h{n % 3}", KIND, b"", "json")
        for n in range(400)
    ]
    fast = [
        Event("t-0", n * 10 + 5, NOW + (n + ahead) * SECOND, "fast", KIND, b"", "json")
        for n in sorted(order.sample(range(20, 360), 60))
    ]
    expected, _, _ = results(honest, live)
    mixed, late, future = results(sorted([*honest, *fast], key=lambda e: e.offset), live)
    assert (late, future) == (0, len(fast))
    assert sum(mixed.pop("late fast")) == len(fast)  # type: ignore[call-overload]
    assert mixed == expected
