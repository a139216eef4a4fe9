"""Read telemetry from Kafka: one batch of decoded messages an item, one consumer a partition."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from operators import metrics
from operators.batch import Batch
from operators.clock import EventClock, TimeSettings
from operators.formats import Decoder
from operators.formats.settings import FormatSettings
from operators.liveness import liveness
from operators.succession import Succession
from operators.versions import Versions
from operators.wall import WallClock
from state.alerts import Level, Signal
from state.ledger import SPAN

log = logging.getLogger(__name__)

#: Messages of one batch, at most. 1,000 to 2,000 was measured best.
BATCH = 2_000
#: How long a partition gathers messages before it emits fewer than a batch, seconds.
GATHER = 0.05
#: How often an idle partition is asked, and how often it says how far its clock is, seconds.
POLL = 0.02
HEARTBEAT = 0.2
#: Seconds without a sign of life after which the broker was away. Those who send to it were too: what they hold back
#: comes once it is there again, and a partition is idle only when they have had the time to send it.
OUTAGE = 2.0
#: Seconds between looks for where a partition begins, while the broker does not say.
ASK_AGAIN = 1.0
#: Ledger spans of one call that lost messages are entered in.
LOST_SPANS = 256

#: How often a partition without messages looks whether there are any, and how long a broker may be silent before it
#: counts as away, seconds.
LIFE_LOOK = 0.5
LIFE_AWAY = 5.0

#: Set to end every source of this process: each stops where it is, without an end of time.
stopping = threading.Event()


class TopicSettings(BaseModel):
    """How one telemetry topic is read."""

    model_config = ConfigDict(extra="forbid")

    format: str = Field(default="auto", description="Name of a format, or auto to sniff each message.")
    default_host: str = Field(default="", description="Host of messages that name none; default: the topic's name.")
    host_from_key: bool = Field(default=False, description="Whether a message that names no host is of its key's host.")


class KafkaSettings(BaseModel):
    """Which Kafka, and which topics."""

    model_config = ConfigDict(extra="forbid")

    bootstrap_servers: str | None = Field(
        default=None, description="host:port, or several with commas; unset: no Kafka."
    )
    options: dict[str, SecretStr] = Field(
        default={}, description="Further librdkafka settings (security.protocol, sasl.*, ssl.*)."
    )
    telemetry: list[str] = Field(
        default=["winnow.telemetry"], min_length=1, description="Topics that telemetry is read from."
    )
    topics: dict[str, TopicSettings] = Field(default={}, description="How a topic is read, by its name.")
    alerts: str = Field(default="winnow.alerts", description="Topic that alerts are written to.")
    deadletter: str = Field(default="winnow.deadletter", description="Topic that rejected messages are written to.")
    control: str = Field(
        default="winnow.control",
        description="Topic that live settings, suppressions, verdicts and activations are read from; one partition.",
    )
    group: str = Field(
        default="winnow", description="Consumer group under which positions are committed, for lag tools."
    )
    start: str = Field(
        default="earliest", pattern="^(earliest|latest)$", description="Where a partition never read begins."
    )
    partitions: int = Field(default=4, ge=1, le=1000, description="Partitions of a topic that Winnow creates.")
    batch: int = Field(default=BATCH, ge=1, le=20_000, description="Messages of one batch, at most.")

    def config(self, **own: Any) -> dict[str, Any]:
        """Return a librdkafka configuration: ours, then what the operator set.

        Raises:
            ValueError: no Kafka is configured.
        """
        if not self.bootstrap_servers:
            raise ValueError("no Kafka is configured: set kafka.bootstrap_servers or WINNOW_KAFKA__BOOTSTRAP_SERVERS")
        options = {name: secret.get_secret_value() for name, secret in self.options.items()}
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": "winnow",
            "log_level": 3,
            "allow.auto.create.topics": False,
            **own,
            **options,
        }


def ensure_topics(settings: KafkaSettings, timeout: float = 10.0) -> list[str]:
    """Create the topics that are missing; return their names.

    Raises:
        KafkaException: the broker cannot be reached, or refuses.
    """
    admin = AdminClient(settings.config())
    known = admin.list_topics(timeout=timeout).topics
    wanted = (*settings.telemetry, settings.alerts, settings.deadletter, settings.control)
    missing = [t for t in wanted if t not in known]
    if missing:
        for future in admin.create_topics([new_topic(t, settings) for t in missing]).values():
            try:
                future.result(timeout)
            except Exception as error:
                code = error.args[0].code() if error.args and isinstance(error.args[0], KafkaError) else None
                if code != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    return missing


def new_topic(topic: str, settings: KafkaSettings) -> NewTopic:
    """Return what a topic is created as: the control topic keeps all its messages, in one order."""
    if topic == settings.control:
        return NewTopic(topic, 1, -1, config={"cleanup.policy": "compact"})
    return NewTopic(topic, settings.partitions, -1)


def list_partitions(settings: KafkaSettings, timeout: float = 10.0) -> list[str]:
    """Return ``topic-partition`` of every telemetry partition, sorted.

    Raises:
        ValueError: a topic does not exist.
    """
    topics = AdminClient(settings.config()).list_topics(timeout=timeout).topics
    names = []
    for topic in settings.telemetry:
        if topic not in topics or topics[topic].error is not None:
            raise ValueError(f"topic {topic} does not exist")
        names += [f"{topic}-{partition}" for partition in topics[topic].partitions]
    return sorted(names)


class _Position(msgspec.Struct):
    version: int
    offset: int
    watermark: int
    start: int
    decoder: bytes


def offset_of(snapshot: bytes) -> int:
    """Return the offset at which a snapshot of a partition goes on; below 0 where nothing was read."""
    return msgspec.msgpack.decode(snapshot, type=_Position).offset


class KafkaPartition(StatefulSourcePartition[Batch, bytes]):
    """One partition: reads, decodes, keeps the event clock. Position and clock are snapshotted together."""

    VERSION = 1

    def __init__(
        self,
        settings: KafkaSettings,
        clock: TimeSettings,
        decoder: Decoder,
        name: str,
        resume: bytes | None,
        wall: Callable[[], float] | None = None,
        consumer: Callable[[dict[str, Any]], Any] = Consumer,
        succession: Succession | None = None,
    ) -> None:
        topic, _, number = name.rpartition("-")
        self._name = name
        self._topic, self._number = topic, int(number)
        self._decoder = decoder
        self._succession = succession
        self._keyed = settings.topics.get(topic, TopicSettings()).host_from_key
        self._batch = settings.batch
        self._idle = clock.idle_seconds
        self._clock = EventClock(int(clock.lateness_seconds * 1e6), int(clock.future_seconds * 1e6))
        #: Next offset to emit; below 0: wherever the broker says the beginning (or the end) is.
        self._next = OFFSET_BEGINNING if settings.start == "earliest" else OFFSET_END
        if resume is not None:
            saved = msgspec.msgpack.decode(resume, type=_Position)
            if saved.version != self.VERSION:
                raise ValueError(f"{name}: position of version {saved.version} cannot be read")
            self._next, self._clock.watermark, self._clock.start = saved.offset, saved.watermark, saved.start
            decoder.restore(saved.decoder)
        #: The wall clock, seconds, for idleness and for what is too far ahead.
        self._wall = wall or WallClock()
        #: First offset that is still there, if those before it were lost and are not yet accounted for.
        self._lost_to: int | None = None
        self._look_at: float | None = None
        self._pending: list[Any] = []
        self._pending_since = 0.0
        self._at_end = False
        self._last_message = time.monotonic()
        self._answers = -1
        #: Wall clock, seconds, of the last sign that the broker answers; and when that was.
        self._alive = 0.0
        self._heard = -OUTAGE
        self._heartbeat = 0.0
        self._sent_watermark = self._clock.watermark
        self._saved_offset: int | None = None
        self._wait = 0.0
        self._labels = {"topic": topic, "partition": number}
        self._life = liveness.partition(name)
        self._looked = 0.0
        self._consumer = consumer(
            settings.config(
                **{
                    "group.id": settings.group,
                    "session.timeout.ms": 6000,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "error",
                    "fetch.wait.max.ms": 100,
                    "queued.min.messages": 20_000,
                    # A full queue pauses fetching for this long; the default of a second empties it ten times over
                    # (measured: 45 k messages a second with it, 400 k without).
                    "fetch.queue.backoff.ms": 2,
                    "fetch.message.max.bytes": 4_000_000,
                    "queued.max.messages.kbytes": 65_536,
                    "statistics.interval.ms": 500,
                    "stats_cb": self._on_statistics,
                }
            )
        )
        self._consumer.assign([TopicPartition(topic, self._number, self._next)])

    def next_batch(self) -> Iterable[Batch]:
        """Return what was read since the last call, as batches of one ledger span each; or a heartbeat; or nothing."""
        if stopping.is_set():
            raise StopIteration
        now = time.monotonic()
        self._wait = POLL
        self._life.polled = now
        if self._lost_to is not None or self._look_at is not None:
            self._life.moved = now
            return self._account_lost(now)
        self._read(now)
        if now - self._looked >= LIFE_LOOK:
            self._looked = now
            self._look(now)
        if self._pending:
            self._last_message = now
            full = len(self._pending) >= self._batch
            if full or self._at_end or now - self._pending_since >= GATHER:
                messages, self._pending = self._pending, []
                if full:
                    self._wait = 0.0
                return self._emit(messages)
            self._wait = 0.002
            return []
        return self._beat(now)

    def _read(self, now: float) -> None:
        messages = self._consumer.consume(self._batch - len(self._pending), 0)
        if not messages:
            return
        good = [message for message in messages if message.error() is None]
        if good:
            if not self._pending:
                self._pending_since = now
            self._at_end = False
            self._pending += good
        if len(good) < len(messages):
            for message in messages:
                if (error := message.error()) is not None:
                    self._on_error(error)

    def next_awake(self) -> datetime | None:
        """Ask again at once while there is more, else soon."""
        return None if self._wait == 0.0 else datetime.now(UTC) + timedelta(seconds=self._wait)

    def _emit(self, messages: Sequence[Any]) -> list[Batch]:
        batches: list[Batch] = []
        start = 0
        offsets = [message.offset() for message in messages]
        while start < len(messages):
            bucket = offsets[start] // SPAN
            limit = (bucket + 1) * SPAN
            version = ""
            if self._succession is not None:
                version = self._succession.version(offsets[start], self._clock.watermark)
                limit = min(limit, self._succession.limit(offsets[start]))
            end = len(messages)
            if offsets[-1] >= limit:
                end = next(i for i in range(start, end) if offsets[i] >= limit)
            batches += self._missing(offsets[start])
            batches.append(self._batch_of(messages[start:end], offsets[start:end], bucket, version))
            if self._succession is not None:
                self._succession.judged(self._next)
            start = end
        self._sent_watermark = self._clock.watermark
        self._heartbeat = time.monotonic()
        self._measure(offsets[-1])
        return batches

    def _batch_of(self, messages: Sequence[Any], offsets: Sequence[int], bucket: int, version: str) -> Batch:
        wall = self._wall()
        raws = [message.value() or b"" for message in messages]
        kind, stamp = messages[0].timestamp()
        keys = [message.key() for message in messages] if self._keyed else None
        decoded = self._decoder.decode_batch(raws, offsets, stamp * 1000 if stamp > 0 else int(wall * 1e6), keys)
        # The broker's own clock where it stamps messages; ours where producers do.
        now = messages[-1].timestamp()[1] * 1000 if kind == TIMESTAMP_LOG_APPEND_TIME else int(wall * 1e6)
        placed = self._clock.place(decoded.events, now)
        expected = self._next
        self._next = offsets[-1] + 1
        self._life.read += len(messages)
        return Batch(
            self._name,
            bucket,
            self._clock.watermark,
            self._clock.start,
            decoded.events,
            decoded.rejected,
            consumed=len(messages),
            skipped=len(decoded.skipped),
            absent=self._next - expected - len(messages),
            size=sum(map(len, raws)),
            late=placed.late,
            future=placed.future,
            read_at=time.time(),
            rules=version,
            first=offsets[0],
        )

    def _missing(self, offset: int) -> list[Batch]:
        """Account for offsets that do not exist before ``offset``, in the spans that lie wholly before its own."""
        if self._next < 0:
            self._next = offset
        if offset // SPAN == self._next // SPAN:
            return []
        batches = []
        while self._next // SPAN < offset // SPAN:
            bucket = self._next // SPAN
            end = (bucket + 1) * SPAN
            batches.append(Batch(self._name, bucket, self._clock.watermark, self._clock.start, absent=end - self._next))
            self._next = end
        return batches

    def _beat(self, now: float) -> list[Batch]:
        # Only a partition read to its end, of a broker that answers, follows the wall clock.
        if self._at_end and now - self._last_message >= self._idle and self._alive:
            self._clock.follow(int(self._alive * 1e6))
        if self._clock.watermark == self._sent_watermark or now - self._heartbeat < HEARTBEAT:
            return []
        self._heartbeat = now
        self._sent_watermark = self._clock.watermark
        metrics.WATERMARK_DELAY.labels(**self._labels).set(time.time() - self._clock.watermark / 1e6)
        if self._succession is not None and self._next >= 0:
            # A partition that nothing comes of takes new versions into force too, else it would hold on to old ones.
            self._succession.version(self._next, self._clock.watermark)
        return [Batch(self._name, max(0, self._next) // SPAN, self._clock.watermark, self._clock.start)]

    def _measure(self, offset: int) -> None:
        metrics.WATERMARK_DELAY.labels(**self._labels).set(time.time() - self._clock.watermark / 1e6)
        _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, self._number), cached=True)
        metrics.CONSUMER_LAG.labels(**self._labels).set(max(0, high - offset - 1))

    def _look(self, now: float) -> None:
        """Say whether the partition gets on: it has read, has nothing to read, or cannot because the broker is away."""
        self._life.watermark = max(0, self._clock.watermark)
        # The end as the last answer to a fetch had it. Below our place, the topic is not the one we were reading.
        _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, self._number), cached=True)
        away = now - self._heard > LIFE_AWAY
        if self._pending or self._at_end or away or high == self._next or now - self._last_message < LIFE_LOOK:
            self._life.moved = now

    def _on_statistics(self, text: str) -> None:
        # Every answer to a fetch counts, also an empty one: as long as they come, nothing is waiting unread.
        answers = sum(broker.get("rx", 0) for broker in json.loads(text).get("brokers", {}).values())
        if answers > self._answers:
            self._answers = answers
            self._hear()

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            self._at_end = True
            self._hear()
            return
        self._at_end = False
        if error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
            self._look_at = time.monotonic()
        elif error.code() not in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
            log.warning("source: %s at offset %d: %s", self._name, self._next, error.str())

    def _hear(self) -> None:
        now = time.monotonic()
        if now - self._heard > OUTAGE:
            self._last_message = max(self._last_message, now)
        self._heard = now
        self._alive = self._wall()

    def _account_lost(self, now: float) -> list[Batch]:
        """Go on where the partition now begins; enter what lay before it as lost, some spans at a time."""
        # What was read before the gap comes first.
        if self._pending:
            messages, self._pending = self._pending, []
            return self._emit(messages)
        loss: Signal | None = None
        if self._look_at is not None:
            if now < self._look_at:
                return []
            if self._next < 0:  # nothing of it was read: it begins wherever the broker says
                self._look_at = None
                self._consumer.assign([TopicPartition(self._topic, self._number, self._next)])
                return []
            self._look_at = now + ASK_AGAIN
            place = TopicPartition(self._topic, self._number)
            try:
                low, high = self._consumer.get_watermark_offsets(place, timeout=0.5)
            except KafkaException:
                return []  # away; asked again
            if low <= self._next <= high:
                self._look_at = None
                self._consumer.assign([TopicPartition(self._topic, self._number, self._next)])
                return []
            if low < self._next:
                raise RuntimeError(
                    f"{self._name}: offset {self._next} is beyond the partition's end, {high}: this is not the "
                    "partition that the recovery store is about, or it was cut; move recovery.folder away to read it "
                    "from its start"
                )
            self._look_at, self._lost_to = None, low
            loss = self._report_lost(low)
            self._consumer.assign([TopicPartition(self._topic, self._number, low)])
        batches: list[Batch] = []
        while self._lost_to is not None and len(batches) < LOST_SPANS:
            bucket = self._next // SPAN
            end = min((bucket + 1) * SPAN, self._lost_to)
            lost = end - self._next
            self._next = end
            batches.append(Batch(self._name, bucket, self._clock.watermark, self._clock.start, lost=lost, loss=loss))
            loss = None
            if end == self._lost_to:
                self._lost_to = None
        self._wait = 0.0
        return batches

    def _report_lost(self, low: int) -> Signal:
        lost = low - self._next
        said = (
            f"offsets {self._next} to {low - 1} of {self._name} are gone from the broker (retention); "
            f"{lost:,} messages were lost unread"
        )
        log.error("source: %s", said)
        metrics.LOST.labels(**self._labels).inc(lost)
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

    def snapshot(self) -> bytes:
        """Return offset and event clock; commit the position of the snapshot before, which is safe by now."""
        if self._saved_offset is not None and self._saved_offset >= 0:
            self._consumer.commit(
                offsets=[TopicPartition(self._topic, self._number, self._saved_offset)], asynchronous=True
            )
        self._saved_offset = self._next
        self._life.snapshots += 1
        position = _Position(
            self.VERSION, self._next, self._clock.watermark, self._clock.start, self._decoder.snapshot()
        )
        return msgspec.msgpack.encode(position)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
        if self._succession is not None:
            self._succession.close()


class KafkaSource(FixedPartitionedSource[Batch, bytes]):
    """Every partition of the telemetry topics. Exactly once into state: positions are part of the recovery snapshot.

    Args:
        settings: which Kafka.
        formats: how messages are decoded.
        clock: how event time is kept.
        parts: ``topic-partition`` of each.
        versions: the rules that may judge; None: there is one set.
        successions: folder in which each partition writes down which version judged what; None: nowhere.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        formats: FormatSettings,
        clock: TimeSettings,
        parts: list[str],
        versions: Versions | None = None,
        successions: Path | None = None,
    ) -> None:
        self._settings = settings
        self._formats = formats
        self._clock = clock
        self._parts = parts
        self._versions = versions
        self._successions = successions

    @property
    def origins(self) -> list[str]:
        """Return the partitions as the align step knows them."""
        return self._parts

    def list_parts(self) -> list[str]:
        """Return all partitions; Bytewax spreads them over the workers."""
        return self._parts

    def build_part(self, step_id: str, for_part: str, resume_state: bytes | None) -> KafkaPartition:
        """Begin, or go on, reading one partition."""
        topic = for_part.rpartition("-")[0]
        how = self._settings.topics.get(topic, TopicSettings())
        decoder = Decoder(for_part, self._formats, how.format, default_host=how.default_host or topic)
        succession = None
        if self._versions is not None:
            succession = Succession(self._versions, for_part, self._successions)
        return KafkaPartition(self._settings, self._clock, decoder, for_part, resume_state, succession=succession)
