"""Play retention in the processes that find this folder in PYTHONPATH: offsets of partitions are gone when asked for.

The embedded broker keeps every message and knows no DeleteRecords, so nothing can be lost with it. Here the workers'
consumer says of some offsets what a broker says of those that retention removed. Everything else is the broker's. The
file that CHAOS_RETENTION names tells which: ``{"topic-partition": [[first, past the last], ...]}``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaError, TopicPartition

_GONE: dict[str, list[list[int]]] = json.loads(Path(os.environ["CHAOS_RETENTION"]).read_text())


class _OutOfRange:
    def error(self) -> KafkaError:
        return KafkaError(KafkaError._AUTO_OFFSET_RESET)


class RetainedConsumer(confluent_kafka.Consumer):
    """A consumer of partitions of which some offsets are gone; it is to be assigned one partition at a time."""

    #: Where the partition begins, once an offset that is gone was asked for.
    _low: int | None = None

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Read on from there."""
        self._low = None
        super().assign(partitions)

    def consume(self, *args: Any, **options: Any) -> list[Any]:
        """Return messages up to the first that is gone, and then the error."""
        messages = super().consume(*args, **options)
        if self._low is not None:
            return []
        for index, message in enumerate(messages):
            if message.error() is None:
                gone = _GONE.get(f"{message.topic()}-{message.partition()}", ())
                self._low = next((end for first, end in gone if first <= message.offset() < end), None)
                if self._low is not None:
                    return [*messages[:index], _OutOfRange()]
        return messages

    def get_watermark_offsets(self, *args: Any, **options: Any) -> tuple[int, int]:
        """Return where the partition begins and ends."""
        if self._low is None or options.get("cached"):
            return super().get_watermark_offsets(*args, **options)
        # Without asking the broker: a tenth of a second each time, and there are a thousand losses.
        return self._low, self._low


confluent_kafka.Consumer = RetainedConsumer
