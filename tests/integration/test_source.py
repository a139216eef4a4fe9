"""A partition over the real broker: positions committed, offsets that hold no message, a broker that pauses."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Consumer, Producer, TopicPartition

from operators.batch import Batch
from operators.clock import TimeSettings
from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from operators.kafka import KafkaPartition, KafkaSettings
from tests.integration.live import create_topic, send


def partition(bootstrap: str, topic: str, resume: bytes | None = None) -> KafkaPartition:
    settings = KafkaSettings(bootstrap_servers=bootstrap, group=topic)
    decoder = Decoder(f"{topic}-0", FormatSettings(), "json")
    return KafkaPartition(settings, TimeSettings(), decoder, f"{topic}-0", resume)


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
