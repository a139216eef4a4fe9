"""A partition over the real broker: positions committed, offsets that hold no message, a broker that pauses."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from operators.batch import Batch
from operators.clock import TimeSettings
from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from operators.kafka import KafkaPartition, KafkaSettings
from operators.pace import Pace
from tests.integration.live import create_topic, send


def partition(bootstrap: str, topic: str, resume: bytes | None = None, pace: Pace | None = None) -> KafkaPartition:
    settings = KafkaSettings(bootstrap_servers=bootstrap, group=topic)
    decoder = Decoder(f"{topic}-0", FormatSettings(), "json")
    return KafkaPartition(settings, TimeSettings(), decoder, f"{topic}-0", resume, pace=pace)


def message(number: int) -> bytes:
    return b'{"timestamp":%d,"host":"web-1","event_type":"login"}' % (1_704_700_800 + number)


def read(source: KafkaPartition, met: Callable[[list[Batch]], bool], patience: float = 30.0) -> list[Batch]:
    batches: list[Batch] = []
    deadline = time.monotonic() + patience
    while not met(batches):
        assert time.monotonic() < deadline, batches
        batches += source.next_batch()
        time.sleep(0.005)
    return batches


def consumed(batches: list[Batch]) -> int:
    return sum(batch.consumed for batch in batches)


def committed(bootstrap: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "session.timeout.ms": 6000})
    (place,) = consumer.committed([TopicPartition(topic, 0)], timeout=10)
    consumer.close()
    return int(place.offset)


def test_what_is_committed_is_the_position_of_the_snapshot_before(kafka: str, topic_name: str) -> None:
    create_topic(kafka, topic_name)
    send(kafka, topic_name, [message(n) for n in range(100)])
    source = partition(kafka, topic_name)
    read(source, lambda batches: consumed(batches) == 100)
    source.snapshot()
    assert committed(kafka, topic_name) < 0
    send(kafka, topic_name, [message(n) for n in range(50)])
    read(source, lambda batches: consumed(batches) == 50)
    saved = source.snapshot()
    deadline = time.monotonic() + 20
    while committed(kafka, topic_name) != 100:
        assert time.monotonic() < deadline
        source.next_batch()
    source.close()
    # And what is read again after a crash is what came after the snapshot, whatever was committed.
    send(kafka, topic_name, [message(7)])
    source = partition(kafka, topic_name, saved)
    (batch,) = [b for b in read(source, lambda batches: consumed(batches) == 1) if b.consumed]
    assert (batch.events[0].offset, batch.absent) == (150, 0)
    source.close()


@pytest.mark.parametrize("give_back", [0.0, 3600.0])
def test_a_partition_that_waited_misses_nothing_and_reads_nothing_twice(
    kafka: str, topic_name: str, monkeypatch: pytest.MonkeyPatch, give_back: float
) -> None:
    monkeypatch.setattr("operators.kafka.hold.GIVE_BACK", give_back)
    create_topic(kafka, topic_name)
    send(kafka, topic_name, [message(n) for n in range(0, 20_000, 2)])
    name = f"{topic_name}-0"
    pace = Pace([name, "other"], 600_000_000)
    pace.report("other", 1_704_700_800_000_000)
    source = partition(kafka, topic_name, pace=pace)
    batches = read(source, lambda _: source._life.paused)
    # It cannot go on, and what comes meanwhile is no end to it.
    send(kafka, topic_name, [message(20_000)])
    for _ in range(50):
        assert list(source.next_batch()) == []
        time.sleep(0.005)
    saved, waited_at = source.snapshot(), consumed(batches)
    assert 0 < waited_at < 10_000
    behind, deadline = 0, time.monotonic() + 60
    while consumed(batches) < 10_001:
        assert time.monotonic() < deadline, (behind, consumed(batches))
        if source._life.paused:
            behind += 500
            pace.report("other", (1_704_700_800 + behind) * 1_000_000)
        batches += source.next_batch()
        time.sleep(0.005)
    assert behind > 10_000, "it waited again and again"
    offsets = [event.offset for batch in batches for event in batch.events]
    assert offsets == list(range(10_001))
    assert not any(batch.absent or batch.late for batch in batches)
    source.close()
    # A crash while it waited.
    source = partition(kafka, topic_name, saved)
    again = read(source, lambda some: bool(consumed(some)))
    first = next(batch for batch in again if batch.consumed)
    assert first.events[0].offset == waited_at
    source.close()


def test_offsets_of_transactions_that_hold_no_message_are_absent_and_none_is_lost(kafka: str, topic_name: str) -> None:
    create_topic(kafka, topic_name)
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": topic_name})
    producer.init_transactions(20)
    for start in range(3):
        producer.begin_transaction()
        for number in range(10):
            producer.produce(topic_name, message(start * 10 + number), partition=0)
        producer.commit_transaction(20)
    send(kafka, topic_name, [message(30)])
    source = partition(kafka, topic_name)
    batches = read(source, lambda batches: consumed(batches) == 31)
    source.close()
    offsets = [event.offset for batch in batches for event in batch.events]
    # Brokers differ in whether the end of a transaction takes an offset; what is between must be accounted for.
    assert sum(batch.absent for batch in batches) == offsets[-1] - offsets[0] + 1 - 31
    print("offsets", offsets[0], "to", offsets[-1], "for 31 messages")
    assert sum(batch.lost for batch in batches) == 0
