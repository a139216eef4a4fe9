"""What the Kafka sink does about errors that a real broker cannot be made to give on demand."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from operators.kafka import KafkaSettings
from operators.sinks import kafka
from operators.sinks.kafka import KafkaSinkPartition
from state.events import Rejected


class Broken:
    """The least of a producer that fails for good, as one may with ``enable.idempotence`` in kafka.options."""

    def __init__(self, taken: list[str], after: int | None) -> None:
        self._taken, self._left = taken, after

    def produce(self, topic: str, key: bytes, value: bytes, headers: Any, on_delivery: Any) -> None:
        if self._left == 0:
            raise KafkaException(KafkaError(KafkaError._FATAL, "out of sequence", fatal=True))
        if self._left is not None:
            self._left -= 1
        self._taken.append(value.decode())
        on_delivery(None, None)

    def poll(self, timeout: float) -> int:
        return 0

    def flush(self, timeout: float) -> int:
        return 0


def test_a_producer_that_fails_for_good_is_replaced_and_no_message_is_lost_or_doubled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka.time, "sleep", lambda seconds: None)
    taken: list[str] = []
    made: list[Broken] = []

    def make(config: dict[str, Any]) -> Broken:
        made.append(Broken(taken, after=(3, 0, None)[len(made)]))
        return made[-1]

    sink = KafkaSinkPartition(KafkaSettings(bootstrap_servers="127.0.0.1:1"), make)
    sink.write_batch([Rejected("t-0", n, "bad", "", str(n).encode(), "json") for n in range(10)])
    assert taken == [str(n) for n in range(10)]
    assert len(made) == 3
