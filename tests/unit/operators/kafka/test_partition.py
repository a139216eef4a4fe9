"""What a partition does about messages that are gone, a broker that is away, and a clock that jumps.

The embedded broker keeps everything, so a retention gap cannot be had from it: ``Log`` is the least of a consumer that
can have one, a range of offsets with a beginning. Everything that it can show is tested against the real broker in
``tests/integration/test_source.py``.
"""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError, KafkaException, TopicPartition

from analyzers.alerts import AlertBook, AlertSettings
from analyzers.ledger import LedgerBook
from analyzers.metrics import MetricSet
from operators.batch import Batch, Judged
from operators.clock import TimeSettings
from operators.collect import Collector
from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from operators.kafka import KafkaPartition, KafkaSettings, lost
from operators.pace import Pace
from operators.wall import PATIENCE, WallClock
from state.alerts import Level
from state.ledger import SPAN
from state.schemas import validate_alert

NOON = 1_704_715_200.0


class Message:
    def __init__(self, offset: int, value: bytes) -> None:
        self._offset, self._value = offset, value

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_CREATE_TIME, int(NOON * 1000)

    def key(self) -> None:
        return None

    def error(self) -> None:
        return None


class Failure:
    def __init__(self, code: int) -> None:
        self._error = KafkaError(code)

    def error(self) -> KafkaError:
        return self._error


class Log:
    """A partition of which only offsets from ``low`` to ``high`` exist."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high
        self.place = -1
        self.stamp = NOON
        self.away = 0
        self.config: dict[str, Any] = {}

    def __call__(self, config: dict[str, Any]) -> Log:
        self.config = config
        return self

    def assign(self, places: list[TopicPartition]) -> None:
        self.place = places[0].offset

    def consume(self, count: int, timeout: float) -> list[Any]:
        if self.place == -1:
            return []
        if not self.low <= self.place <= self.high:
            return [Failure(KafkaError._AUTO_OFFSET_RESET)]
        end = min(self.place + count, self.high)
        found = [Message(offset, event(self.stamp)) for offset in range(self.place, end)]
        self.place = end
        return found + ([Failure(KafkaError._PARTITION_EOF)] if end == self.high else [])

    def unassign(self) -> None:
        self.place = -1

    def get_watermark_offsets(self, place: TopicPartition, **how: Any) -> tuple[int, int]:
        if self.away and "cached" not in how:
            self.away -= 1
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return self.low, self.high


def event(seconds: float, host: str = "web-1") -> bytes:
    return b'{"timestamp":%.6f,"host":"%s","event_type":"login"}' % (seconds, host.encode())


def partition(
    log: Any, resume: bytes | None = None, wall: Any = lambda: NOON, pace: Pace | None = None
) -> KafkaPartition:
    decoder = Decoder("t-0", FormatSettings(), "json")
    settings = KafkaSettings(bootstrap_servers="nowhere:1")
    return KafkaPartition(settings, TimeSettings(), decoder, "t-0", resume, wall, log, pace)


def read(source: KafkaPartition, calls: int) -> list[Batch]:
    return [batch for _ in range(calls) for batch in source.next_batch()]


def resumed_at(log: Log, offset: int) -> bytes:
    """Return the position of a partition that has read up to ``offset``."""
    before = partition(Log(offset - 5, offset))
    before._next = before._consumer.place = offset - 5
    assert sum(batch.consumed for batch in read(before, 3)) == 5
    return before.snapshot()


def test_lost_messages_are_entered_in_the_ledger_counted_and_alerted_once() -> None:
    log = Log(35_000, 35_010)
    source = partition(log, resumed_at(log, 8_000))
    log.place = 8_000
    batches = read(source, 6)
    lost = [(batch.bucket, batch.lost) for batch in batches if batch.lost]
    assert lost == [(0, 2_000), (1, SPAN), (2, SPAN), (3, 5_000)]
    assert [(b.bucket, b.consumed, b.absent) for b in batches if b.consumed] == [(3, 10, 0)]

    collector = Collector(MetricSet.load())
    collected = [collector.collect(Judged(batch, {}, "v")) for batch in batches]
    book = LedgerBook("t-0")
    book.add(c.ledger for c in collected if c.ledger is not None)
    assert {row.bucket: (row.lost, row.consumed) for row in book.take()} == {
        0: (2_000, 0),
        1: (SPAN, 0),
        2: (SPAN, 0),
        3: (5_000, 10),
    }
    (signal,) = [signal for c in collected for signal in c.at_once]
    assert (signal.kind, signal.entity, signal.level) == ("loss", "t-0", Level.high)
    assert "27,000 messages were lost" in signal.reason
    (update,) = AlertBook(AlertSettings()).add([signal])
    validate_alert(update.alert.message())


def test_a_gap_of_a_billion_messages_is_entered_bit_by_bit_and_survives_a_restart() -> None:
    log = Log(1_000_000_000, 1_000_000_001)
    source = partition(log, resumed_at(log, 8_000))
    log.place = 8_000
    first = read(source, 3)
    assert 0 < len(first) <= 3 * lost.LOST_SPANS
    entered = sum(batch.lost for batch in first)
    source = partition(log, source.snapshot())
    rest: list[Batch] = []
    while not any(batch.consumed for batch in rest):
        rest += read(source, 1)
    assert entered + sum(batch.lost for batch in rest) == 1_000_000_000 - 8_000
    assert sum(batch.absent for batch in rest) == 0


def test_while_the_broker_does_not_say_where_it_begins_the_source_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost, "ASK_AGAIN", 0.0)
    log = Log(10, 12)
    source = partition(log, resumed_at(log, 5))
    log.place, log.away = 5, 2
    assert [(b.lost, b.consumed) for b in read(source, 8) if b.lost or b.consumed] == [(5, 0), (0, 2)]


def test_a_position_beyond_the_end_is_refused_and_not_read_from_the_start() -> None:
    log = Log(0, 100)
    source = partition(log, resumed_at(log, 5_000))
    log.place = 5_000
    with pytest.raises(RuntimeError, match="offset 5000 is beyond the partition's end, 100"):
        read(source, 3)


def test_an_error_that_was_none_loses_nothing() -> None:
    log = Log(0, 10)
    source = partition(log, resumed_at(log, 5))
    log.place = 99
    batches = read(source, 4)
    assert [(b.consumed, b.lost) for b in batches if b.consumed or b.lost] == [(5, 0)]


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_set_an_hour_off_and_back_makes_nothing_late_nor_too_far_ahead(jump: float) -> None:
    off, now = [0.0], [100.0]
    wall = WallClock(lambda: NOON + now[0] + off[0], lambda: now[0])
    log = Log(0, 0)
    source = partition(log, wall=wall)
    source._next = log.place = 0
    source._idle = 0.0
    late = future = consumed = 0
    watermarks = []
    for step in range(300):
        now[0] += 1.0
        off[0] = jump if 100 <= step < 200 else 0.0
        log.stamp = NOON + now[0]
        log.high += step % 3 == 0
        for batch in read(source, 2):
            consumed += batch.consumed
            late, future = late + len(batch.late), future + len(batch.future)
            watermarks.append(batch.watermark / 1e6)
    assert (consumed, late, future) == (100, 0, 0)
    assert watermarks == sorted(watermarks)
    assert watermarks[-1] == pytest.approx(NOON + now[0] - 5, abs=3)


def test_a_clock_that_stays_where_it_was_set_is_believed_in_the_end() -> None:
    off, now = [0.0], [0.0]
    clock = WallClock(lambda: 1000.0 + now[0] + off[0], lambda: now[0])
    off[0] = 3600.0
    assert clock() == 1000.0
    now[0] = PATIENCE - 1
    assert clock() == 1000.0 + now[0]
    now[0] = PATIENCE + 1
    assert clock() == 4600.0 + now[0]


def test_after_an_outage_the_partition_is_idle_only_once_senders_had_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(lost.time, "monotonic", lambda: now[0])
    source = partition(Log(0, 0), wall=lambda: NOON + now[0])
    answers = iter(range(1, 1000))

    def watermark(answered: bool) -> float:
        now[0] += 0.5
        if answered:
            source._on_statistics(b'{"brokers":{"a":{"rx":%d}}}'.decode() % next(answers))
        source._beat(now[0])
        return source._clock.watermark / 1e6 - NOON

    source._at_end = True
    before = [watermark(True) for _ in range(10)][-1]
    assert before == now[0] - 5
    assert {watermark(False) for _ in range(60)} == {before}
    # The first answer after half a minute: what was sent meanwhile is still on its way.
    returned = [watermark(True) for _ in range(8)]
    assert returned[:4] == [before] * 4
    assert returned[-1] == now[0] - 5


def test_a_partition_far_ahead_waits_gives_up_what_it_fetched_and_misses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    together = Pace(["t-0", "t-1"], 60_000_000)
    together.report("t-1", int(NOON * 1e6))
    log = Log(0, 10)
    source = partition(log, pace=together)
    source._next = log.place = 0

    def consumed(calls: int) -> int:
        count = 0
        for _ in range(calls):
            now[0] += 1.0
            count += sum(batch.consumed for batch in source.next_batch())
        return count

    assert consumed(3) == 10
    log.stamp, log.high = NOON + 300, 20
    assert consumed(3) == 10
    log.high = 30
    assert consumed(20) == 0
    assert (source._life.paused, source._life.moved, log.place) == (True, now[0], -1)
    watermark = source._clock.watermark
    assert watermark == int((NOON + 295) * 1e6), "it is not idle: it was not looked whether there is more"
    together.report("t-1", int((NOON + 280) * 1e6))
    assert consumed(3) == 10
    assert not source._life.paused


@pytest.mark.parametrize("sent", ["no event", "an event too far ahead", "an event of yesterday"])
def test_messages_that_say_nothing_of_the_time_hold_nobody_back(monkeypatch: pytest.MonkeyPatch, sent: str) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    log = Log(0, 1)
    source = partition(log, wall=lambda: NOON + now[0])
    source._next = log.place = 0
    log.stamp = NOON + now[0]
    if sent == "no event":
        monkeypatch.setattr(f"{__name__}.event", lambda seconds: b"no event at all")
    answers = iter(range(1, 1000))
    for _ in range(40):
        now[0] += 0.5
        # One more each time: the partition is never silent.
        log.high += 1
        log.stamp = NOON + {"an event too far ahead": 90_000, "an event of yesterday": -86_400}.get(sent, 0)
        source._on_statistics(b'{"brokers":{"a":{"rx":%d}}}'.decode() % next(answers))
        source.next_batch()
    assert source._clock.watermark / 1e6 > NOON + now[0] - 10
