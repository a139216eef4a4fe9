"""Offsets that retention removed before they were read: where the partition goes on, and what is entered as lost."""

from __future__ import annotations

import logging
import time
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from operators import metrics
from operators.batch import Batch
from operators.clock import EventClock
from state.alerts import Level, Signal
from state.ledger import SPAN

log = logging.getLogger(__name__)

#: Seconds between looks for where a partition begins, while the broker does not say.
ASK_AGAIN = 1.0
#: Ledger spans of one call that lost messages are entered in.
LOST_SPANS = 256


class LostOffsets:
    """What one partition does about an offset that the broker no longer has.

    Args:
        name: the partition, ``topic-partition``.
        consumer: its consumer, which is moved to where the partition begins by now.
        clock: its event clock, for no lost message says when it was.
    """

    def __init__(self, name: str, consumer: Any, clock: EventClock) -> None:
        topic, _, number = name.rpartition("-")
        self._name, self._topic, self._number = name, topic, int(number)
        self._consumer = consumer
        self._clock = clock
        #: First offset that is still there, if those before it were lost and are not yet accounted for.
        self._lost_to: int | None = None
        self._look_at: float | None = None

    @property
    def pending(self) -> bool:
        """Return whether there is something to find out or to enter before the partition is read on."""
        return self._lost_to is not None or self._look_at is not None

    def suspect(self) -> None:
        """Take note that the broker refused an offset."""
        self._look_at = time.monotonic()

    def account(self, offset: int, now: float) -> tuple[int, list[Batch]]:
        """Go on where the partition now begins; enter what lay before it as lost, some spans at a time.

        Returns the next offset to emit, ``offset`` being that until now, and the batches that enter what is lost.

        Raises:
            RuntimeError: the offset is beyond the partition's end.
        """
        loss: Signal | None = None
        if self._look_at is not None:
            if now < self._look_at:
                return offset, []
            if offset < 0:  # nothing of it was read: it begins wherever the broker says
                self._look_at = None
                self._go_on(offset)
                return offset, []
            self._look_at = now + ASK_AGAIN
            place = TopicPartition(self._topic, self._number)
            try:
                low, high = self._consumer.get_watermark_offsets(place, timeout=0.5)
            except KafkaException:
                return offset, []  # away; asked again
            if low <= offset <= high:
                self._look_at = None
                self._go_on(offset)
                return offset, []
            if low < offset:
                raise RuntimeError(
                    f"{self._name}: offset {offset} is beyond the partition's end, {high}: this is not the "
                    "partition that the recovery store is about, or it was cut; move recovery.folder away to read it "
                    "from its start"
                )
            self._look_at, self._lost_to = None, low
            loss = self._report(offset, low)
            self._go_on(low)
        batches: list[Batch] = []
        while self._lost_to is not None and len(batches) < LOST_SPANS:
            bucket = offset // SPAN
            end = min((bucket + 1) * SPAN, self._lost_to)
            lost = end - offset
            offset = end
            batches.append(Batch(self._name, bucket, self._clock.watermark, self._clock.start, lost=lost, loss=loss))
            loss = None
            if end == self._lost_to:
                self._lost_to = None
        return offset, batches

    def _go_on(self, offset: int) -> None:
        self._consumer.assign([TopicPartition(self._topic, self._number, offset)])

    def _report(self, offset: int, low: int) -> Signal:
        lost = low - offset
        said = (
            f"offsets {offset} to {low - 1} of {self._name} are gone from the broker (retention); "
            f"{lost:,} messages were lost unread"
        )
        log.error("source: %s", said)
        metrics.LOST.labels(topic=self._topic, partition=self._number).inc(lost)
        # No event says when it was: the place in time is where the partition had come to.
        return Signal(
            kind="loss",
            rule="retention",
            name="Telemetry lost before it was read",
            level=Level.high,
            entity=self._name,
            time=max(0, self._clock.watermark),
            reason=said,
        )
