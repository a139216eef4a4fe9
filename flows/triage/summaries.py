"""Summaries of incidents: asked for when one of severity medium or above is heard of, after all escalations."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException
from msgspec import Meta

from analyzers.llm.answer import Fault
from analyzers.llm.asker import Answered, Asker, Refused, Waits
from analyzers.llm.breaker import Breaker
from analyzers.llm.settings import LlmSettings
from analyzers.llm.summary import SummaryQuestion, Told, decode_told
from flows.triage import metrics
from operators.escalate import bounded_fields
from operators.formats.decoder import Decoder
from operators.formats.settings import FormatSettings
from operators.kafka import KafkaSettings
from state.alerts import Level
from state.answers import Answers, Remembered
from state.postgres import DatabaseError
from state.summaries import ClaimedSummary, Heard, Story, SummaryQueue

log = logging.getLogger(__name__)

#: Messages that are looked at together, at most, and the longest that is.
BATCH, LONGEST = 500, 1_048_576
#: How often is looked for incidents to summarise, and for those that changed, seconds.
LOOK, SWEEP = 1.0, 5.0
#: Pause while the database is away, and while another asks the same, seconds.
PAUSE, SAME = 1.0, 2.0
#: Seconds after which it is tried again when the budget has no room; and attempts that fail by our own error.
SHORT, MOST_ERRORS = 60.0, 3

T = TypeVar("T")


class Message(msgspec.Struct):
    """What is read of an incident's message."""

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    state: str
    severity: str
    tactics: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=32)]
    type: str = ""


_message = msgspec.json.Decoder(Message).decode


class Hearing(threading.Thread):
    """Reads the topic of alerts, as one of a consumer group, and notes which incidents are to be summarised."""

    def __init__(self, kafka: KafkaSettings, queue: SummaryQueue, over: threading.Event) -> None:
        super().__init__(name="hearing", daemon=True)
        self._kafka, self._queue, self._over = kafka, queue, over

    def run(self) -> None:
        """Read until told to stop."""
        try:
            self._read()
        except BaseException:
            # Escalations go on; the summaries of what is not heard of now come when a process is started anew.
            log.exception("summaries: no more incidents are heard of")

    def _read(self) -> None:
        config = self._kafka.config(
            **{
                "group.id": f"{self._kafka.group}-summaries",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": 6_000,
                "max.poll.interval.ms": 600_000,
            }
        )
        consumer = Consumer(config)
        consumer.subscribe([self._kafka.alerts])
        try:
            while not self._over.is_set():
                messages = consumer.consume(BATCH, 0.5)
                values = [m.value() or b"" for m in messages if self._sound(m.error())]
                if values and self._store(values):
                    try:
                        consumer.commit(asynchronous=False)
                    except KafkaException as error:
                        # They are read again, and are there already.
                        log.warning("summaries: positions were not committed: %s", error.args[0].str())
        finally:
            consumer.close()

    def _sound(self, error: KafkaError | None) -> bool:
        if error is not None and error.code() not in (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART):
            log.warning("summaries: %s: %s", self._kafka.alerts, error.str())
        return error is None

    def _store(self, values: list[bytes]) -> bool:
        heard, gone = sorted_out(values)
        while not self._over.is_set():
            try:
                metrics.SUMMARIES.labels(status="asked").inc(self._queue.heard(heard, gone))
                return True
            except DatabaseError as error:
                log.warning("summaries: %s; trying again", error)
                self._over.wait(PAUSE)
        return False


def sorted_out(values: list[bytes]) -> tuple[list[Heard], list[str]]:
    """Return the incidents of severity medium and above among messages, and those that became part of others."""
    heard: dict[str, Heard] = {}
    gone: dict[str, None] = {}
    for value in values:
        if b'"incident"' not in value or len(value) > LONGEST:
            continue
        try:
            found = _message(value)
            severity = Level[found.severity]
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
            continue  # an alert, or not ours
        if found.type != "incident":
            continue
        if found.state == "merged":
            gone[found.id] = None
            heard.pop(found.id, None)
        elif severity >= Level.medium:
            heard[found.id] = Heard(found.id, severity, found.tactics)
    return list(heard.values()), list(gone)


class Summaries:
    """Asks for one summary at a time, when no escalation waits.

    Args:
        settings: of the lane.
        formats: how events are decoded.
        queue: of summaries.
        answers: those that are known.
        asker: whose budget is the share that summaries may use.
        breaker: of this process.
        process: its name.
        over: told to stop.
    """

    def __init__(
        self,
        settings: LlmSettings,
        formats: FormatSettings,
        queue: SummaryQueue,
        answers: Answers,
        asker: Asker,
        breaker: Breaker,
        process: str,
        over: threading.Event,
    ) -> None:
        self._settings, self._formats, self._queue, self._answers = settings, formats, queue, answers
        self._asker, self._breaker, self._process, self._over = asker, breaker, process, over
        self._held: ClaimedSummary | None = None
        self._short_until = 0.0

    async def run(self) -> None:
        """Ask until told to stop, or cancelled: then the lease of what is being asked ends."""
        beside = asyncio.create_task(self._beside())
        try:
            while not self._over.is_set():
                claimed = None
                if time.monotonic() >= self._short_until and self._breaker.room(1):
                    claimed = await self._try(self._queue.claim, self._process, self._settings.lease_seconds)
                if claimed is None:
                    await asyncio.sleep(LOOK)
                    continue
                self._held = claimed
                try:
                    await self._one(claimed)
                finally:
                    self._held = None
        finally:
            beside.cancel()
            await asyncio.gather(beside, return_exceptions=True)

    async def _one(self, claimed: ClaimedSummary) -> None:
        """See to one summary, whatever happens."""
        try:
            await self._handle(claimed)
        except DatabaseError as error:
            log.warning("summaries: %s", error)
            await asyncio.sleep(PAUSE)
        except Exception as error:
            log.exception("summaries: incident %s", claimed.incident_id)
            told = f"error: {type(error).__name__}"
            if claimed.attempts >= MOST_ERRORS:
                await self._try(self._refuse, claimed, told)
            else:
                await self._try(self._queue.put_back, claimed, PAUSE, told)

    async def _handle(self, claimed: ClaimedSummary) -> None:
        story = await asyncio.to_thread(self._queue.story, claimed.incident_id)
        if story is None or not story.alerts:
            # The flow writes incidents before or after their alerts.
            await asyncio.to_thread(self._queue.put_back, claimed, SHORT, "nothing is stored of it yet")
            return
        question = await asyncio.to_thread(self._question, story)
        begun = await asyncio.to_thread(
            self._answers.begin, question.key, question.prompt, question.model, claimed.owner,
            self._settings.lease_seconds,
        )  # fmt: skip
        if begun is None:
            await asyncio.to_thread(self._queue.put_back, claimed, SAME, "the same is being asked", counted=False)
            return
        if begun != "ours":
            try:
                told: Told | None = decode_told(begun)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                told = None
            if told is None or question.written(told) is None:
                await asyncio.to_thread(self._answers.forget, question.key)
                await asyncio.to_thread(self._queue.put_back, claimed, 0.0, "a stored answer was none", counted=False)
                return
            await self._write(claimed, question, told)
            return
        outcome = await self._asker.ask(question, claimed.attempts)
        if isinstance(outcome, Waits):
            if outcome.budget:
                self._short_until = time.monotonic() + SHORT
            await asyncio.to_thread(
                self._queue.put_back, claimed, outcome.seconds, outcome.fault, counted=not outcome.budget
            )
        elif isinstance(outcome, Refused):
            await asyncio.to_thread(
                self._refuse, claimed, outcome.reason, settlement=outcome.settlement, cost=outcome.cost
            )
        else:
            await self._write(claimed, question, outcome.judgement, outcome)

    def _question(self, story: Story) -> SummaryQuestion:
        fields = {event.id: self._fields(event.id, event.raw) for event in story.events}
        return SummaryQuestion(story, fields, self._settings)

    def _fields(self, event_id: str, raw: bytes) -> dict[str, str]:
        """Return the fields of an event's copy; of one that is none without those before it, or was cut, its text."""
        decoder = Decoder(event_id.rpartition("-")[0] or event_id, self._formats)
        decoded = decoder.decode_batch([raw], [0], time.time_ns() // 1_000)
        if decoded.events:
            return bounded_fields(decoded.events[0])
        return {"event.original": raw[:2_048].decode(errors="replace")}

    async def _write(
        self,
        claimed: ClaimedSummary,
        question: SummaryQuestion,
        told: Told,
        outcome: Answered[Told] | None = None,
    ) -> None:
        written = question.written(told)
        if written is None:
            raise Fault("citation", "cites what is not there")
        seconds = self._settings.cache_hours * 3600 if outcome is not None else 0
        kept = Remembered(question.key, question.prompt, question.model, told.encode(), seconds) if seconds else None
        done = await asyncio.to_thread(
            self._queue.finish,
            claimed,
            *written,
            model=question.model,
            prompt=question.prompt,
            cost=outcome.cost if outcome else 0.0,
            settlement=outcome.settlement if outcome else None,
            remembered=kept,
        )
        metrics.SUMMARIES.labels(status="written").inc(done)

    def _refuse(self, claimed: ClaimedSummary, reason: str, **told: Any) -> None:
        done = self._queue.finish(claimed, "", [], model="", prompt="", reason=reason, **told)
        metrics.SUMMARIES.labels(status="refused").inc(done)

    async def _beside(self) -> None:
        """Say that we live, look for incidents that changed, and give up what has waited for too long."""
        looked = 0.0
        while True:
            await asyncio.sleep(min(SWEEP, self._settings.lease_seconds / 4))
            if self._held is not None:
                await self._try(self._queue.extend, self._held.owner, self._settings.lease_seconds)
            if time.monotonic() - looked >= SWEEP:
                looked = time.monotonic()
                changed = await self._try(self._queue.changed) or 0
                metrics.SUMMARIES.labels(status="asked").inc(changed)
                given_up = await self._try(self._queue.give_up, self._settings.give_up_minutes) or 0
                metrics.SUMMARIES.labels(status="refused").inc(given_up)

    async def _try(self, do: Callable[..., T], *args: Any) -> T | None:
        try:
            return await asyncio.to_thread(do, *args)
        except DatabaseError as error:
            log.warning("summaries: %s", error)
            return None
