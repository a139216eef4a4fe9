"""Escalations from Kafka into the queue: stored first, then committed, so that none is lost and none is asked twice."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from analyzers.llm.answer import Judgement, decode_judgement
from analyzers.llm.question import Question
from flows.triage import metrics
from flows.triage.questions import Questions
from operators.kafka import KafkaSettings
from operators.kafka.topics import new_topic
from operators.sinks.kafka import MAX_DEAD_LETTER
from state.answers import Answers
from state.escalations import Escalation, LlmVerdict, decode_escalation
from state.postgres import DatabaseError
from state.triage import Arrived, TriageQueue

log = logging.getLogger(__name__)

#: Escalations that are stored together, at most.
BATCH = 200
#: Pause while the database is away, seconds.
PAUSE = 1.0


class Intake(threading.Thread):
    """Reads the topic of escalations as one of the consumer group, until told to stop."""

    def __init__(
        self, kafka: KafkaSettings, questions: Questions, queue: TriageQueue, answers: Answers, over: threading.Event
    ) -> None:
        super().__init__(name="intake", daemon=True)
        self._kafka, self._questions, self._queue, self._answers, self._over = kafka, questions, queue, answers, over
        #: Why it ended by itself.
        self.error: BaseException | None = None

    def run(self) -> None:
        """Read until told to stop."""
        try:
            self._read()
        except BaseException as error:
            self.error = error
            log.exception("intake: ended")

    def _read(self) -> None:
        consumer = Consumer(
            self._kafka.config(
                **{
                    "group.id": f"{self._kafka.group}-triage",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    "session.timeout.ms": 6_000,
                    # The database may be away for long; what was not committed is read again.
                    "max.poll.interval.ms": 600_000,
                }
            )
        )
        consumer.subscribe([self._kafka.escalations])
        try:
            while not self._over.is_set():
                messages = [m for m in consumer.consume(BATCH, 0.2) if self._sound(m)]
                if messages and self._store(messages):
                    self._commit(consumer)
        finally:
            consumer.close()

    def _sound(self, message: Message) -> bool:
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            log.warning("intake: %s: %s", self._kafka.escalations, error.str())
        return error is None

    def _commit(self, consumer: Consumer) -> None:
        try:
            consumer.commit(asynchronous=False)
        except KafkaException as error:
            # They are read again, by us or by who has the partition now, and are there already.
            log.warning("intake: positions of %s were not committed: %s", self._kafka.escalations, error.args[0].str())

    def _store(self, messages: Sequence[Message]) -> bool:
        """Store a batch; return whether it is stored: not if we were told to stop while the database was away."""
        arrived: dict[str, tuple[Escalation, bytes]] = {}
        bad: list[tuple[Message, str]] = []
        buried = 0
        for message in messages:
            raw = message.value() or b""
            try:
                escalation = decode_escalation(raw)
                arrived[escalation.id] = (escalation, raw)
            except ValueError as error:
                bad.append((message, str(error)))
        while not self._over.is_set():
            try:
                self._bury(bad)
                bad, buried = [], buried + len(bad)
                items = self._with_known(arrived)
                new = self._queue.add(items)
            except (DatabaseError, KafkaException) as error:
                log.warning("intake: %s; trying again", error)
                self._over.wait(PAUSE)
                continue
            metrics.ESCALATIONS.labels(kind="new").inc(new)
            metrics.ESCALATIONS.labels(kind="repeated").inc(len(messages) - buried - new)
            metrics.ESCALATIONS.labels(kind="invalid").inc(buried)
            return True
        return False

    def _with_known(self, arrived: dict[str, tuple[Escalation, bytes]]) -> list[Arrived]:
        asked = [(*item, *self._questions.of(item[0])) for item in arrived.values()]
        known = self._answers.known(list({question.key for *_, question, _ in asked})) if asked else {}
        found = []
        for escalation, raw, question, subject in asked:
            verdict = remembered(question, known.get(question.key))
            found.append(Arrived(escalation, raw, question.key, verdict, subject))
            if verdict is not None:
                metrics.CACHE.labels(result="hit").inc()
        return found

    def _bury(self, bad: Sequence[tuple[Message, str]]) -> None:
        """Write what is no escalation to the dead-letter topic, with the reason."""
        if not bad:
            return
        producer = Producer(self._kafka.config())
        for message, reason in bad:
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            log.warning("intake: %s-%s-%s is no escalation: %s", topic, partition, offset, reason[:200])
            headers = {
                "reason": "bad_escalation",
                "detail": reason[:500],
                "topic": topic or "",
                "partition": str(partition),
                "offset": str(offset),
            }
            producer.produce(
                self._kafka.deadletter,
                (message.value() or b"")[:MAX_DEAD_LETTER],
                key=f"{topic}-{partition}-{offset}".encode(),
                headers=[(name, value.encode()) for name, value in headers.items()],
            )
        if producer.flush(30.0):
            raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT, "dead letters were not taken"))


def remembered(question: Question, raw: bytes | None) -> LlmVerdict | None:
    """Return the verdict by a remembered answer; None: there is none, or it is not one to this question."""
    if raw is None:
        return None
    try:
        judgement: Judgement = decode_judgement(raw)
    except ValueError:
        return None
    return question.verdict(judgement, cached=True, answered_at=time.time_ns() // 1_000)


def ensure(settings: KafkaSettings, timeout: float = 10.0) -> list[str]:
    """Create the topics of the lane that are missing; return their names. Raises KafkaException."""
    admin = AdminClient(settings.config())
    known: Any = admin.list_topics(timeout=timeout).topics
    missing = [t for t in (settings.escalations, settings.verdicts, settings.deadletter) if t not in known]
    if missing:
        for future in admin.create_topics([new_topic(topic, settings) for topic in missing]).values():
            try:
                future.result(timeout)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    return missing
