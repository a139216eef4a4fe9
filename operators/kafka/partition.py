"""Read one partition of Kafka: one batch of decoded messages an item, one consumer a partition."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from bytewax.inputs import StatefulSourcePartition
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    TopicPartition,
)

from operators import metrics
from operators.batch import END_OF_TIME, Batch
from operators.clock import EventClock, TimeSettings
from operators.formats import Decoder
from operators.kafka.hold import Hold
from operators.kafka.lag import Lag
from operators.kafka.lost import LostOffsets
from operators.kafka.settings import KafkaSettings, TopicSettings
from operators.liveness import liveness
from operators.pace import Pace
from operators.succession import Judges, Judging
from operators.wall import WallClock
from state.ledger import SPAN

log = logging.getLogger(__name__)

#: How long a partition gathers messages before it emits fewer than a batch, seconds.
GATHER = 0.05
#: How often an idle partition is asked, and how often it says how far its clock is, seconds.
POLL = 0.02
HEARTBEAT = 0.2
#: Seconds without a sign of life after which the broker was away. Those who send to it were too: what they hold back
#: comes once it is there again, and a partition is idle only when they have had the time to send it.
OUTAGE = 2.0
#: How often a partition without messages looks whether there are any, and how long a broker may be silent before it
#: counts as away, seconds.
LIFE_LOOK = 0.5
LIFE_AWAY = 5.0

#: Set to end every source of this process: each stops where it is, without an end of time.
stopping = threading.Event()


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
        pace: Pace | None = None,
        judges: Judges | None = None,
    ) -> None:
        topic, _, number = name.rpartition("-")
        self._name = name
        self._topic, self._number = topic, int(number)
        self._decoder = decoder
        self._judges = judges or Judges()
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
        self._pace = pace or Pace([name], END_OF_TIME)
        self._pace.report(name, self._clock.watermark)
        #: The wall clock, seconds, for idleness and for what is too far ahead.
        self._wall = wall or WallClock()
        self._pending: list[Any] = []
        self._pending_since = 0.0
        self._at_end = False
        self._last_message = time.monotonic()
        #: When an event last advanced the clock, or could have again.
        self._last_advance = self._last_message
        self._answers = -1
        #: Wall clock, seconds, of the last sign that the broker answers; and when that was.
        self._alive = 0.0
        self._heard = -OUTAGE
        self._heartbeat = 0.0
        self._sent_watermark = self._clock.watermark
        self._saved_offset: int | None = None
        self._wait = 0.0
        self._lag = Lag()
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
        self._lost = LostOffsets(name, self._consumer, self._clock)
        self._hold = Hold(topic, self._number, self._consumer, self._life)
        self._consumer.assign([TopicPartition(topic, self._number, self._next)])

    def next_batch(self) -> Iterable[Batch]:
        """Return what was read since the last call, as batches of one ledger span each; or a heartbeat; or nothing."""
        if stopping.is_set():
            raise StopIteration
        now = time.monotonic()
        self._wait = POLL
        self._life.polled = now
        if self._lost.pending:
            self._life.moved = now
            return self._account_lost(now)
        self._pace.report(self._name, self._clock.watermark, self._at_end)
        if not self._pace.may_read(self._name):
            self._life.watermark = max(0, self._clock.watermark)
            self._hold.wait(now)
            self._lag.pause()
            return []
        if self._hold.end(self._pending[-1].offset() + 1 if self._pending else self._next):
            self._at_end = False
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
                return [*self._emit(messages), *self._beat(now)]
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
            versions = self._judges.versions(offsets[start], self._clock.watermark)
            limit = min(limit, self._judges.limit(offsets[start]))
            end = len(messages)
            if offsets[-1] >= limit:
                end = next(i for i in range(start, end) if offsets[i] >= limit)
            batches += self._missing(offsets[start])
            batches.append(self._batch_of(messages[start:end], offsets[start:end], bucket, versions))
            self._judges.judged(self._next)
            start = end
        self._sent_watermark = self._clock.watermark
        self._heartbeat = time.monotonic()
        self._measure(offsets[-1])
        return batches

    def _batch_of(self, messages: Sequence[Any], offsets: Sequence[int], bucket: int, versions: Judging) -> Batch:
        wall = self._wall()
        raws = [message.value() or b"" for message in messages]
        kind, stamp = messages[0].timestamp()
        keys = [message.key() for message in messages] if self._keyed else None
        decoded = self._decoder.decode_batch(raws, offsets, stamp * 1000 if stamp > 0 else int(wall * 1e6), keys)
        # The broker's own clock where it stamps messages; ours where producers do.
        now = messages[-1].timestamp()[1] * 1000 if kind == TIMESTAMP_LOG_APPEND_TIME else int(wall * 1e6)
        before = self._clock.watermark
        placed = self._clock.place(decoded.events, now)
        if self._clock.watermark > before:
            self._last_advance = time.monotonic()
        expected = self._next
        self._next = offsets[-1] + 1
        self._life.read += len(messages)
        behind, growing = (0.0, False) if self._at_end else self._lag.measure(time.monotonic(), self._next, self._end())
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
            behind=behind,
            growing=growing,
            rules=versions.rules,
            model=versions.model,
            calibration=versions.calibration,
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
        # Only a partition read to its end, of a broker that answers, follows the wall clock. Messages that say nothing
        # new of the time do not keep it from that, being no events, late, or too far ahead: all others would wait.
        if self._at_end and now - self._last_advance >= self._idle and self._alive:
            self._clock.follow(int(self._alive * 1e6))
        if self._clock.watermark == self._sent_watermark or now - self._heartbeat < HEARTBEAT:
            return []
        self._heartbeat = now
        self._sent_watermark = self._clock.watermark
        metrics.WATERMARK_DELAY.labels(**self._labels).set(time.time() - self._clock.watermark / 1e6)
        if self._next >= 0:
            # A partition that nothing comes of takes new versions into force too, else it would hold on to old ones.
            self._judges.versions(self._next, self._clock.watermark)
        return [Batch(self._name, max(0, self._next) // SPAN, self._clock.watermark, self._clock.start)]

    def _measure(self, offset: int) -> None:
        metrics.WATERMARK_DELAY.labels(**self._labels).set(time.time() - self._clock.watermark / 1e6)
        metrics.CONSUMER_LAG.labels(**self._labels).set(max(0, self._end() - offset - 1))

    def _end(self) -> int:
        """Return the partition's end as the last answer to a fetch had it."""
        _, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, self._number), cached=True)
        return int(high)

    def _look(self, now: float) -> None:
        """Say whether the partition gets on: it has read, has nothing to read, or cannot because the broker is away."""
        self._life.watermark = max(0, self._clock.watermark)
        # Where the end is below our place, the topic is not the one we were reading.
        away = now - self._heard > LIFE_AWAY
        if self._pending or self._at_end or away or self._end() == self._next or now - self._last_message < LIFE_LOOK:
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
            self._lag.pause()
            self._hear()
            return
        self._at_end = False
        if error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
            self._lost.suspect()
        elif error.code() not in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
            log.warning("source: %s at offset %d: %s", self._name, self._next, error.str())

    def _hear(self) -> None:
        now = time.monotonic()
        if now - self._heard > OUTAGE:
            self._last_message = max(self._last_message, now)
            self._last_advance = max(self._last_advance, now)
        self._heard = now
        self._alive = self._wall()

    def _account_lost(self, now: float) -> list[Batch]:
        # What was read before the gap comes first.
        if self._pending:
            messages, self._pending = self._pending, []
            return self._emit(messages)
        self._next, batches = self._lost.account(self._next, now)
        if batches:
            self._wait = 0.0
        return batches

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
        self._judges.close()
