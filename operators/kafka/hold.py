"""What a partition does that must not read on, because others are far behind it in event time."""

from __future__ import annotations

from typing import Any

from confluent_kafka import TopicPartition

from operators import metrics
from operators.liveness import PartitionLiveness

#: After how many seconds what was fetched ahead is given back. Until then it costs nothing to go on.
GIVE_BACK = 5.0


class Hold:
    """The pause of one partition.

    A consumer that is not asked keeps what it has fetched, up to 64 MB, and piles up its statistics. So after a while
    it gives up the partition, which is later read on from where it was.
    """

    def __init__(self, topic: str, number: int, consumer: Any, life: PartitionLiveness) -> None:
        self._topic, self._number = topic, number
        self._consumer = consumer
        self._life = life
        self._gauge = metrics.PARTITION_PAUSED.labels(topic=topic, partition=str(number))
        self._since: float | None = None
        self._given_back = False

    def wait(self, now: float) -> None:
        """Do not read on, which is no standstill."""
        self._life.moved = now
        if self._since is None:
            self._since = now
            self._life.paused = True
            self._gauge.set(1)
        elif not self._given_back and now - self._since >= GIVE_BACK:
            self._consumer.unassign()
            self._given_back = True
        if self._given_back:
            self._consumer.consume(1, 0)  # its statistics; there is nothing else

    def end(self, offset: int) -> bool:
        """Read on, from ``offset``; say whether the consumer had given the partition up and begins there anew."""
        if self._since is None:
            return False
        self._since = None
        self._life.paused = False
        self._gauge.set(0)
        begins = self._given_back
        if begins:
            self._consumer.assign([TopicPartition(self._topic, self._number, offset)])
            self._given_back = False
        return begins
