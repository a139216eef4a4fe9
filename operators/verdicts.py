"""Read what the LLM's process answered: the flow's second source. Nothing waits for it, and it has no watermark."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from operators import metrics
from operators.kafka import KafkaSettings, stopping
from operators.kafka.topics import count_partitions
from state.escalations import LlmVerdict, decode_verdict
from state.events import Rejected

log = logging.getLogger(__name__)

#: How often the topic is asked, seconds. A source that slept longer than 100 ms would stall every epoch.
POLL = 0.05


class VerdictSource(FixedPartitionedSource[LlmVerdict | Rejected, bytes]):
    """The topic of verdicts, endless.

    Args:
        settings: which Kafka, and which topic.
        partitions: how many the topic has.
    """

    def __init__(self, settings: KafkaSettings, partitions: int) -> None:
        self._settings = settings
        self._partitions = partitions

    @classmethod
    def open(cls, settings: KafkaSettings) -> VerdictSource:
        """Ask the broker how many partitions the topic has.

        Raises:
            ValueError: the topic does not exist.
            KafkaException: the broker cannot be reached.
        """
        return cls(settings, count_partitions(settings, settings.verdicts))

    def list_parts(self) -> list[str]:
        """Return the partitions."""
        return [f"{self._settings.verdicts}-{number}" for number in range(self._partitions)]

    def build_part(self, step_id: str, for_part: str, resume_state: bytes | None) -> VerdictPartition:
        """Begin, or go on, reading one of them."""
        return VerdictPartition(self._settings, int(for_part.rpartition("-")[2]), resume_state)


class _Position(msgspec.Struct):
    version: int
    offset: int


class VerdictPartition(StatefulSourcePartition[LlmVerdict | Rejected, bytes]):
    """One partition of the topic. What is no verdict is a dead letter: the topic is open to whoever may write."""

    VERSION = 1

    def __init__(self, settings: KafkaSettings, number: int, resume: bytes | None) -> None:
        self._topic, self._number = settings.verdicts, number
        self._next = 0
        if resume is not None:
            saved = msgspec.msgpack.decode(resume, type=_Position)
            if saved.version != self.VERSION:
                raise ValueError(f"{self._topic}: position of version {saved.version} cannot be read")
            self._next = saved.offset
        self._consumer = Consumer(
            settings.config(
                **{
                    "group.id": f"{settings.group}-verdicts",
                    "session.timeout.ms": 6000,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "earliest",
                    "fetch.wait.max.ms": 100,
                    "log_level": 0,
                }
            )
        )
        self._consumer.assign([TopicPartition(self._topic, number, self._next or OFFSET_BEGINNING)])

    def next_batch(self) -> Iterable[LlmVerdict | Rejected]:
        """Return what was answered since the last call; mostly nothing."""
        if stopping.is_set():
            raise StopIteration
        out: list[LlmVerdict | Rejected] = []
        for message in self._consumer.consume(500, 0):
            if (error := message.error()) is not None:
                if error.code() not in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
                    log.warning("verdicts: %s-%d at offset %d: %s", self._topic, self._number, self._next, error.str())
                continue
            offset = int(message.offset() or 0)
            self._next = offset + 1
            out.append(self._read(message.value() or b"", offset))
        return out

    def next_awake(self) -> datetime | None:
        """Ask again soon."""
        return datetime.now(UTC) + timedelta(seconds=POLL)

    def _read(self, raw: bytes, offset: int) -> LlmVerdict | Rejected:
        try:
            return decode_verdict(raw)
        except (ValueError, RecursionError) as error:
            metrics.REJECTED.labels(format="verdict", reason="bad_message").inc()
            detail = "".join(char if char.isprintable() else "?" for char in str(error)[:300])
            return Rejected(f"{self._topic}-{self._number}", offset, "bad_message", detail, raw, "verdict")

    def snapshot(self) -> bytes:
        """Return the position."""
        return msgspec.msgpack.encode(_Position(self.VERSION, self._next))

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
