"""What leaves a batch: nothing is counted twice, and a long connection is counted when it is reported."""

from __future__ import annotations

from analyzers.host import WINDOW
from analyzers.metrics import MetricSet
from operators.batch import Batch, Collected, Judged
from operators.clock import EventClock
from operators.collect import SHARDS, Collector
from state.alerts import Level, Signal
from state.events import Event, Kind

SECOND = 1_000_000
METRICS = MetricSet.load()
CONN = Kind("zeek.conn", "network", "connection")
DNS = Kind("zeek.dns", "network", "dns-query")


def collect(events: list[Event], signals: dict[int, list[Signal]] | None = None) -> Collected:
    clock = EventClock(5 * SECOND, 600 * SECOND)
    placed = clock.place(events, 10**18)
    batch = Batch("t-0", 0, clock.watermark, clock.start, events, consumed=len(events), late=placed.late)
    return Collector(METRICS, flow=3600 * SECOND).collect(Judged(batch, signals or {}, "v"))


def event(offset: int, time: int, kind: Kind = CONN, **fields: int) -> Event:
    return Event("t-0", offset, time * SECOND, "10.0.0.1", kind, b"raw", "json", **fields)  # type: ignore[arg-type]


def bytes_out(collected: Collected) -> dict[int, float]:
    index = METRICS.names.index("bytes_out")
    return {
        start // WINDOW: window.partial.values().get(index, 0.0)
        for item in collected.shards
        for (_, start), window in item.windows.items()
    }


def test_long_connection_counts_when_it_is_reported() -> None:
    upload = event(1, 300, source_bytes=2_000_000_000)
    collected = collect([event(0, 900, source_bytes=10), upload, event(2, 901, source_bytes=10)])
    # The watermark stands at 895 s: in the fifteenth minute.
    assert bytes_out(collected) == {14: 2_000_000_000.0, 15: 20.0}
    assert collected.ledger is not None
    assert (collected.ledger.late, collected.ledger.rule, collected.ledger.sources) == (0, 3, {"zeek.conn": 3})
    assert not any(item.late for item in collected.shards)


def test_too_old_a_connection_and_any_other_late_event_is_left_out_and_counted() -> None:
    collected = collect([event(0, 9_000), event(1, 300), event(2, 8_900, DNS)])
    assert collected.ledger is not None
    assert (collected.ledger.late, collected.ledger.consumed) == (2, 3)
    (late,) = [late for item in collected.shards for late in item.late.values()]
    assert (late.events, late.first, late.last) == (2, 300 * SECOND, 8_900 * SECOND)


def test_every_shard_hears_how_far_the_partition_is() -> None:
    collected = collect([event(0, 900)])
    assert len(collected.shards) == SHARDS
    assert {(item.origin, item.watermark) for item in collected.shards} == {("t-0", 895 * SECOND)}


def test_high_match_is_alerted_at_once_with_its_raw_bytes_and_still_decided() -> None:
    hits = {
        i: [Signal("rule", f"r{i}", "R", level, "10.0.0.1", 0, "why", event_id=f"t-0-{i}")]
        for i, level in enumerate((Level.low, Level.high))
    }
    collected = collect([event(0, 900), event(1, 901), event(2, 902)], hits)
    assert [(signal.rule, signal.raw) for signal in collected.at_once] == [("r1", b"raw")]
    assert [c.event.offset for item in collected.shards for c in item.candidates] == [0, 1]
    assert collected.ledger is not None and collected.ledger.rule == 1
