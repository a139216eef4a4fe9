"""Read the control topic: whole when the flow starts, before any telemetry, then as an endless idle source."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from bytewax.inputs import DynamicSource, FixedPartitionedSource, StatefulSourcePartition, StatelessSourcePartition
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from analyzers.control import Timeline, Told, read
from operators import metrics
from operators.kafka import KafkaSettings, new_topic, stopping
from state.control import Activation, Control, Refusal
from state.events import Rejected

log = logging.getLogger(__name__)

#: How often the topic is asked, seconds. A source that slept longer than 100 ms would stall every epoch.
POLL = 0.05


def read_topic(settings: KafkaSettings, take: Callable[[int, bytes | None], object], timeout: float = 30.0) -> int:
    """Give every message of the control topic to ``take``, by offset; return the offset at which the topic ends.

    Raises:
        ValueError: the topic does not exist, or has more than its one partition.
        TimeoutError: the broker does not give what it has.
        KafkaException: the broker cannot be reached, or refuses.
    """
    if not exists(settings):
        raise ValueError(f"topic {settings.control} does not exist")
    consumer = _consumer(settings, OFFSET_BEGINNING)
    deadline = time.monotonic() + timeout
    try:
        while time.monotonic() < deadline:
            for message in consumer.consume(500, 0.2):
                error = message.error()
                if error is None:
                    take(int(message.offset() or 0), message.value())
                    deadline = time.monotonic() + timeout
                elif error.code() == KafkaError._PARTITION_EOF:
                    return int(message.offset() or 0)
                elif not error.retriable() and error.code() not in _PASSING:
                    raise KafkaException(error)
    finally:
        consumer.close()
    raise TimeoutError(f"topic {settings.control} could not be read to its end within {timeout:g} s")


def exists(settings: KafkaSettings, timeout: float = 10.0) -> bool:
    """Say whether the control topic exists.

    Raises:
        ValueError: no Kafka is configured, or the topic has more than one partition, which have no common order.
        KafkaException: the broker cannot be reached.
    """
    # Not asked for by name: some brokers create a topic that is asked for.
    topics = AdminClient(settings.config(log_level=0)).list_topics(timeout=timeout).topics
    found = topics.get(settings.control)
    if found is None:
        return False
    if len(found.partitions) != 1:
        raise ValueError(f"topic {settings.control} has {len(found.partitions)} partitions; it must have one")
    return True


def create(settings: KafkaSettings, timeout: float = 10.0) -> None:
    """Create the control topic if it is missing.

    Raises:
        ValueError, KafkaException: as ``exists``.
    """
    if exists(settings, timeout):
        return
    admin = AdminClient(settings.config(log_level=0))
    try:
        admin.create_topics([new_topic(settings.control, settings)])[settings.control].result(timeout)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def write(settings: KafkaSettings, message: Control, timeout: float = 10.0) -> None:
    """Write a message to the control topic; return when the broker has it.

    Raises:
        KafkaException: the broker refuses it.
        TimeoutError: the broker cannot be reached.
    """
    failed: list[KafkaError | None] = []
    # Idempotent: written twice it would stand at two offsets, and the later one would win over what lies between.
    own = {"enable.idempotence": True, "message.timeout.ms": int(timeout * 1000), "log_level": 0}
    producer = Producer(settings.config(**own))
    producer.produce(
        settings.control, message.encode(), message.key, partition=0, on_delivery=lambda error, _: failed.append(error)
    )
    if producer.flush(timeout + 1.0) or not failed:
        raise TimeoutError(f"topic {settings.control}: the broker did not take the message within {timeout:g} s")
    if failed[0] is not None:
        raise KafkaException(failed[0])


class ControlSource(FixedPartitionedSource[Told | Rejected, bytes]):
    """The control topic. Its position is recovered, so that what is refused is a dead letter once.

    Args:
        settings: which Kafka.
        timeline: what the topic held when it was read whole; grows by what every worker hears.
        end: the offset at which the topic ended then.
        activations: those among its messages.
    """

    def __init__(self, settings: KafkaSettings, timeline: Timeline, end: int, activations: Sequence[Told] = ()) -> None:
        self.settings = settings
        #: Changes of live settings, for stateless steps of this process.
        self.timeline = timeline
        self.end = end
        #: Activations that the topic held then, and who is told of those that come.
        self.activations = list(activations)
        self.hearers: list[Callable[[Activation], None]] = []

    @classmethod
    def open(cls, settings: KafkaSettings) -> ControlSource:
        """Read the topic whole, then stand ready to read on.

        Raises:
            ValueError, TimeoutError, KafkaException: as ``read_topic``.
        """
        timeline = Timeline()
        activations: list[Told] = []

        def take(offset: int, raw: bytes | None) -> None:
            told = read(raw, offset, timeline)
            if isinstance(told, Told) and isinstance(told.message, Activation):
                activations.append(told)

        end = read_topic(settings, take)
        return cls(settings, timeline, end, activations)

    def list_parts(self) -> list[str]:
        """Return the one partition."""
        return [f"{self.settings.control}-0"]

    def build_part(self, step_id: str, for_part: str, resume_state: bytes | None) -> ControlPartition:
        """Begin, or go on, reading."""
        return ControlPartition(self.settings, self.timeline.copy(), self.end, resume_state)


class _Position(msgspec.Struct):
    version: int
    offset: int


class ControlPartition(StatefulSourcePartition[Told | Rejected, bytes]):
    """The topic's one partition, endless. It has no watermark: nothing waits for it."""

    VERSION = 1

    def __init__(self, settings: KafkaSettings, timeline: Timeline, end: int, resume: bytes | None) -> None:
        self._topic = settings.control
        self._timeline = timeline
        self._next = 0
        if resume is not None:
            saved = msgspec.msgpack.decode(resume, type=_Position)
            if saved.version != self.VERSION:
                raise ValueError(f"{self._topic}: position of version {saved.version} cannot be read")
            self._next = saved.offset
        if self._next > end:
            log.error(
                "control: %s ends at offset %d and was read to %d: it was made anew, and is read from its start",
                self._topic,
                end,
                self._next,
            )
            self._next = 0
        self._consumer = _consumer(settings, self._next or OFFSET_BEGINNING)

    def next_batch(self) -> Iterable[Told | Rejected]:
        """Return what was told since the last call; mostly nothing."""
        if stopping.is_set():
            raise StopIteration
        out: list[Told | Rejected] = []
        for message in self._consumer.consume(500, 0):
            if (error := message.error()) is not None:
                self._on_error(error)
                continue
            offset = int(message.offset() or 0)
            self._next = offset + 1
            out.append(self._read(message.value(), offset))
        refused = [item for item in out if isinstance(item, Rejected)]
        if refused:  # one line a look, however many somebody writes; each is a dead letter
            log.warning("control: %d messages are refused; %s: %s", len(refused), refused[0].id, refused[0].detail)
        return out

    def next_awake(self) -> datetime | None:
        """Ask again soon."""
        return datetime.now(UTC) + timedelta(seconds=POLL)

    def _read(self, raw: bytes | None, offset: int) -> Told | Rejected:
        told = read(raw, offset, self._timeline)
        if isinstance(told, Refusal):
            metrics.REJECTED.labels(format="control", reason=told.reason).inc()
            return Rejected(f"{self._topic}-0", offset, told.reason, told.detail, raw or b"", "control")
        metrics.CONTROL.labels(kind=told.message.__struct_config__.tag).inc()
        return told

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
            log.error("control: %s has no offset %d; it is read from its start", self._topic, self._next)
            self._consumer.assign([TopicPartition(self._topic, 0, OFFSET_BEGINNING)])
        elif error.code() not in _PASSING:
            log.warning("control: %s at offset %d: %s", self._topic, self._next, error.str())

    def snapshot(self) -> bytes:
        """Return the position."""
        return msgspec.msgpack.encode(_Position(self.VERSION, self._next))

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


class Ears(DynamicSource[Any]):
    """Keep the timeline of each worker's process up to date, for its stateless steps. Emits nothing, keeps no state."""

    def __init__(self, control: ControlSource) -> None:
        self._control = control

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Ear:
        """Begin where the topic ended when it was read whole."""
        return Ear(self._control)


class Ear(StatelessSourcePartition[Any]):
    """One worker's own look at what is new in the control topic."""

    def __init__(self, control: ControlSource) -> None:
        self._timeline = control.timeline
        self._hearers = control.hearers
        self._consumer = _consumer(control.settings, control.end or OFFSET_BEGINNING)

    def next_batch(self) -> Iterable[Any]:
        """Take in what is new; what is refused is said by the partition that is part of the flow."""
        if stopping.is_set():
            raise StopIteration
        for message in self._consumer.consume(500, 0):
            if message.error() is None:
                told = read(message.value(), int(message.offset() or 0), self._timeline)
                if isinstance(told, Told) and isinstance(told.message, Activation):
                    for hear in self._hearers:
                        hear(told.message)
        return ()

    def next_awake(self) -> datetime | None:
        """Ask again soon."""
        return datetime.now(UTC) + timedelta(seconds=POLL)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


#: What a consumer says of a broker that is away, and of a partition read to its end.
_PASSING = (KafkaError._PARTITION_EOF, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)


def _consumer(settings: KafkaSettings, offset: int) -> Consumer:
    consumer = Consumer(
        settings.config(
            **{
                "group.id": f"{settings.group}-control",
                "session.timeout.ms": 6000,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 100,
                "log_level": 0,
            }
        )
    )
    consumer.assign([TopicPartition(settings.control, 0, offset)])
    return consumer
