"""The lane itself: takes what waits, highest stakes first, asks, stores each end, and gives up what is too old."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from analyzers.llm.answer import Judgement
from analyzers.llm.asker import Answered, Asker, Outcome, Refused, Waits
from analyzers.llm.breaker import Breaker
from analyzers.llm.prompt import PROMPTS
from analyzers.llm.question import Question, refusal
from analyzers.llm.settings import LlmSettings
from flows.triage import metrics
from flows.triage.intake import remembered
from flows.triage.questions import Questions
from state.answers import Answers, Remembered
from state.budget import Budget
from state.escalations import Escalation, LlmVerdict, decode_escalation
from state.postgres import DatabaseError
from state.triage import Claimed, Settlement, TriageQueue

log = logging.getLogger(__name__)

#: How often is looked for what waits, and for what is too old, seconds.
LOOK, SWEEP = 0.2, 2.0
#: Pause after the database failed, seconds.
PAUSE = 1.0
#: How long a question waits that another is asking just now, seconds.
SAME = 1.0
#: How often an empty budget is tried again before the next hour: settled calls give back what they did not use.
SHORT = 5.0
#: Attempts at an escalation that end in an error of our own, after which it is refused.
MOST_ERRORS = 3
#: Seconds that calls under way get when we are told to stop.
DRAIN = 10.0

T = TypeVar("T")


class Lane:
    """One process's share of the lane."""

    def __init__(
        self,
        settings: LlmSettings,
        queue: TriageQueue,
        questions: Questions,
        answers: Answers,
        budget: Budget,
        asker: Asker,
        breaker: Breaker,
        process: str,
        over: threading.Event,
    ) -> None:
        self._settings, self._queue, self._questions = settings, queue, questions
        self._answers, self._budget = answers, budget
        self._asker, self._breaker, self._process, self._over = asker, breaker, process, over
        self._held: dict[str, Claimed] = {}
        self._errors: dict[str, int] = {}
        self._short_until = 0.0
        #: Whether the last look at the database went well.
        self.database = True

    @property
    def short(self) -> bool:
        """Return whether the hour's budget had no room for a call just now."""
        return time.monotonic() < self._short_until

    async def run(self) -> None:
        """Ask until told to stop; then let calls under way end, and give back what is left."""
        beside = [asyncio.create_task(self._hold()), asyncio.create_task(self._sweep())]
        running: set[asyncio.Task[None]] = set()
        try:
            while not self._over.is_set():
                room = 0 if self.short else self._breaker.room(self._settings.concurrency) - len(running)
                metrics.BREAKER.set(self._breaker.open)
                claimed = await self._claim(room) if room > 0 else []
                for item in claimed:
                    self._held[item.owner] = item
                    running.add(asyncio.create_task(self._one(item)))
                if running and (not claimed or len(running) >= self._settings.concurrency):
                    _, running = await asyncio.wait(running, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
                elif not claimed:
                    await asyncio.sleep(LOOK)
            if running:
                _, running = await asyncio.wait(running, timeout=DRAIN)
        finally:
            for task in (*beside, *running):
                task.cancel()
            await asyncio.gather(*beside, *running, return_exceptions=True)
            for item in list(self._held.values()):
                try:
                    await asyncio.to_thread(self._queue.put_back, item, 0.0, "stopped", counted=False)
                except DatabaseError:
                    break  # their leases end

    async def _claim(self, most: int) -> list[Claimed]:
        try:
            found = await asyncio.to_thread(self._queue.claim, most, self._process, self._settings.lease_seconds)
        except DatabaseError as error:
            self._away(error)
            await asyncio.sleep(PAUSE)
            return []
        self.database = True
        return found

    async def _one(self, item: Claimed) -> None:
        """See to one escalation, whatever happens."""
        try:
            await self._handle(item)
        except DatabaseError as error:
            # Without a database nothing is sent. What we hold is taken up again when its lease has ended.
            self._away(error)
        except Exception as error:
            # Ours, or of a message that nobody foresaw: one escalation must not end the lane.
            log.exception("lane: escalation %s", item.id)
            self._errors[item.id] = self._errors.get(item.id, 0) + 1
            try:
                if self._errors[item.id] >= MOST_ERRORS:
                    del self._errors[item.id]
                    verdict = self._refusal(decode_escalation(item.message), f"error: {type(error).__name__}")
                    await self._finish(item, verdict)
                else:
                    await asyncio.to_thread(self._queue.put_back, item, PAUSE, f"error: {type(error).__name__}")
            except DatabaseError as away:
                self._away(away)
        finally:
            self._held.pop(item.owner, None)

    async def _handle(self, item: Claimed) -> None:
        settings = self._settings
        escalation = decode_escalation(item.message)
        # A hostile event can keep its reader busy for a second; the others go on meanwhile.
        question, _ = await asyncio.to_thread(self._questions.of, escalation)
        begun = await asyncio.to_thread(
            self._answers.begin, question.key, question.prompt, question.model, item.owner, settings.lease_seconds
        )
        if begun is None:
            await asyncio.to_thread(self._queue.put_back, item, SAME, "the same is being asked", counted=False)
            return
        if begun != "ours":
            verdict = remembered(question, begun)
            if verdict is None:
                # Stored by another version, or by another hand.
                await asyncio.to_thread(self._answers.forget, question.key)
                await asyncio.to_thread(self._queue.put_back, item, 0.0, "a stored answer was none", counted=False)
                return
            metrics.CACHE.labels(result="hit").inc()
            await self._finish(item, verdict)
            return
        await self._ended(item, question, await self._asker.ask(question, item.attempts))

    async def _ended(self, item: Claimed, question: Question, outcome: Outcome[Judgement]) -> None:
        if isinstance(outcome, Waits):
            if outcome.budget:
                self._short_until = time.monotonic() + SHORT
            await asyncio.to_thread(
                self._queue.put_back, item, outcome.seconds, outcome.fault, counted=not outcome.budget
            )
            return
        told = {"model": question.model, "cost": outcome.cost, "seconds": outcome.seconds}
        if isinstance(outcome, Refused):
            await self._finish(item, self._refusal(question.escalation, outcome.reason, **told), outcome.settlement)
            return
        await self._answered(item, question, outcome, told)

    async def _answered(
        self, item: Claimed, question: Question, outcome: Answered[Judgement], told: dict[str, Any]
    ) -> None:
        metrics.CACHE.labels(result="miss").inc()
        metrics.UNKNOWN.inc(outcome.judgement.unknown)
        del told["model"]
        verdict = question.verdict(outcome.judgement, answered_at=_now(), **told)
        assert verdict is not None  # its citations were checked against this very question
        seconds, raw = self._settings.cache_hours * 3600, outcome.judgement.encode()
        kept = Remembered(question.key, question.prompt, question.model, raw, seconds) if seconds else None
        await self._finish(item, verdict, outcome.settlement, kept)
        if kept is None:
            return
        await asyncio.to_thread(self._answers.quicken, {question.key: raw})

        def same(escalation: Escalation, _fault: str) -> LlmVerdict | None:
            other, _ = self._questions.of(escalation, look=False)  # a connection is held
            return remembered(other, raw) if other.key == question.key else None

        done = await asyncio.to_thread(self._queue.finish_waiting, "question", question.key, same)
        metrics.CACHE.labels(result="hit").inc(done)
        metrics.DECIDED.labels(status="answered").inc(done)

    async def _finish(
        self,
        item: Claimed,
        verdict: LlmVerdict,
        settlement: Settlement | None = None,
        kept: Remembered | None = None,
    ) -> None:
        """Store an end. An answer was paid for: while the database is away, it is kept and tried again."""
        while True:
            try:
                ours = await asyncio.to_thread(self._queue.finish, item, verdict, settlement, kept)
            except DatabaseError as error:
                if self._over.is_set():
                    raise
                self._away(error)
                await asyncio.sleep(PAUSE)
                continue
            if ours:
                metrics.DECIDED.labels(status=verdict.status).inc()
            return

    async def _hold(self) -> None:
        """Say that we live, for as long as we do."""
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 4)
            if self._held:
                await self._try(self._queue.extend, list(self._held), self._settings.lease_seconds)

    async def _sweep(self) -> None:
        """Refuse what waited for too long or is too much, and tell how much there is."""
        minutes = self._settings.give_up_minutes

        def old(escalation: Escalation, fault: str) -> LlmVerdict:
            if not fault:
                fault = "budget" if self.short else "overload"
            kind, _, detail = fault.partition(": ")
            return self._refusal(escalation, f"{kind}: no answer within {minutes:g} minutes{detail and '; '}{detail}")

        def much(escalation: Escalation, _fault: str) -> LlmVerdict:
            return self._refusal(escalation, f"queue: over {self._settings.queue:,} wait, of higher stakes")

        while True:
            done = await self._try(self._queue.finish_waiting, "older", minutes * 60, old) or 0
            done += await self._try(self._queue.finish_waiting, "beyond", self._settings.queue, much) or 0
            metrics.DECIDED.labels(status="refused").inc(done)
            depth = await self._try(self._queue.depth)
            if depth is not None:
                metrics.WAITING.set(depth["waiting"])
                metrics.ASKING.set(depth["asking"])
                metrics.UNPUBLISHED.set(depth["unpublished"])
            spending = await self._try(self._budget.spending)
            if spending is not None:
                metrics.BUDGET.labels(what="money").set(spending.money / (self._settings.money_per_hour or 1.0))
                metrics.BUDGET.labels(what="calls").set(spending.calls / (self._settings.calls_per_hour or 1))
            await asyncio.sleep(SWEEP)

    async def _try(self, do: Callable[..., T], *args: Any) -> T | None:
        try:
            return await asyncio.to_thread(do, *args)
        except DatabaseError as error:
            self._away(error)
            return None

    def _refusal(self, escalation: Escalation, reason: str, **told: Any) -> LlmVerdict:
        told = {"model": self._settings.model or "", "prompt": PROMPTS[self._settings.prompt], **told}
        return refusal(escalation, reason, answered_at=_now(), **told)

    def _away(self, error: DatabaseError) -> None:
        if self.database:
            log.warning("lane: %s; nothing is asked until it is back", error)
        self.database = False


def _now() -> int:
    return time.time_ns() // 1_000
