"""Traffic through a real broker."""

from __future__ import annotations

import threading
import time

from confluent_kafka import TIMESTAMP_CREATE_TIME, Consumer, Message
from confluent_kafka.admin import AdminClient, NewTopic

from flows.traffic import Traffic, TrafficSettings, produce
from flows.traffic.clock import HOUR, SECOND

START = 1_704_672_000 * SECOND + 10 * HOUR
SETTINGS = TrafficSettings.model_validate({"attacks": [("port_scan", 1)], "attacks_per_hour": 0})


def create(kafka: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])[topic].result(30)


def consume(kafka: str, topic: str, count: int) -> list[Message]:
    consumer = Consumer(
        {"bootstrap.servers": kafka, "group.id": topic, "auto.offset.reset": "earliest", "session.timeout.ms": 6000}
    )
    consumer.subscribe([topic])
    got: list[Message] = []
    deadline = time.monotonic() + 60
    while len(got) < count and time.monotonic() < deadline:
        got += [message for message in consumer.consume(1_000, 0.5) if message.error() is None]
    consumer.close()
    return got


def test_messages_arrive_with_key_time_and_truth_beside_them(kafka: str, topic_name: str) -> None:
    create(kafka, topic_name)
    source = Traffic(4, START, SETTINGS)
    until = START + 40 * SECOND
    sent = list(source.messages(until))
    result = produce(source, {"bootstrap.servers": kafka}, topic_name, speed=0, until=until)
    assert (result.produced, result.delivered, result.failed) == (len(sent), len(sent), 0)
    assert result.attacks == {"port_scan-1": sum(bool(m.attack_id) for m in sent)}
    got = consume(kafka, topic_name, len(sent))
    assert [m.value() for m in got] == [m.value for m in sent]
    for message, original in zip(got, sent, strict=True):
        assert message.key() == original.host.encode()
        assert message.timestamp() == (TIMESTAMP_CREATE_TIME, original.time // 1_000)
        assert dict(message.headers()) == {"truth": original.truth.encode(), "attack": original.attack_id.encode()}


def test_speed_paces_event_time(kafka: str, topic_name: str) -> None:
    create(kafka, topic_name)
    until = START + 10 * SECOND
    fast = produce(Traffic(4, START, SETTINGS), {"bootstrap.servers": kafka}, topic_name, speed=5, until=until)
    assert fast.seconds > 1.8


def test_stop_ends_it_soon_and_nothing_is_lost(kafka: str, topic_name: str) -> None:
    create(kafka, topic_name)
    stop = threading.Event()
    timer = threading.Timer(1.0, stop.set)
    timer.start()
    result = produce(Traffic(4, START, SETTINGS), {"bootstrap.servers": kafka}, topic_name, stop=stop)
    timer.join()
    assert result.produced > 0
    assert result.delivered == result.produced == len(consume(kafka, topic_name, result.produced))


def test_a_live_run_catches_up_with_the_past_and_then_keeps_to_the_clock(kafka: str, topic_name: str) -> None:
    create(kafka, topic_name)
    now = int(time.time() * SECOND)
    source = Traffic(4, now - 120 * SECOND, TrafficSettings(attacks_per_hour=0))
    config = {"bootstrap.servers": kafka}
    result = produce(source, config, topic_name, speed=0, never_ahead=True, until=now + 3 * SECOND)
    assert result.delivered > 500
    assert result.last <= time.time() * SECOND
    assert int(time.time() * SECOND) > now + 2 * SECOND


def test_a_full_queue_waits_and_loses_nothing(kafka: str, topic_name: str) -> None:
    create(kafka, topic_name)
    source = Traffic(4, START, SETTINGS)
    until = START + 60 * SECOND
    config = {"bootstrap.servers": kafka, "queue.buffering.max.messages": 50}
    result = produce(source, config, topic_name, speed=0, until=until)
    assert result.waits > 0
    assert result.delivered == sum(1 for _ in source.messages(until))


def test_what_no_broker_takes_is_counted_with_its_reason() -> None:
    config = {"bootstrap.servers": "127.0.0.1:1", "message.timeout.ms": 500}
    result = produce(Traffic(4, START, SETTINGS), config, "nowhere", speed=0, until=START + SECOND)
    assert result.produced > 0 and result.delivered == 0
    assert result.failed == result.produced
    assert "timed out" in result.first_error.lower()
