"""Asking: paid beforehand, tried again where that may help, checked, asked once more, and then believed or refused."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from analyzers.llm.answer import Fault
from analyzers.llm.breaker import Breaker
from analyzers.llm.endpoint import CallFailed, Endpoint, Reply
from analyzers.llm.prompt import ask_again
from analyzers.llm.settings import LlmSettings
from state.budget import NANO, Budget
from state.triage import Settlement

#: How long an escalation waits after it was asked about in vain, seconds: first, and at most.
FIRST_WAIT, LONGEST_WAIT = 15.0, 900.0


Found = TypeVar("Found")
FoundOut = TypeVar("FoundOut", covariant=True)


class Askable(Protocol[FoundOut]):
    """What can be asked: how it is put, and what of an answer is believed."""

    @property
    def name(self) -> str:
        """Return under what its calls are booked."""

    def messages(self, marker: str) -> list[dict[str, str]]:
        """Return the messages for one asking; ``marker`` is random, of letters and digits."""

    def schema(self, marker: str, bounded: bool) -> dict[str, Any]:
        """Return the JSON schema of the answer; ``bounded``: with bounds, and choices of what can be cited."""

    def read(self, marker: str, text: str | None, finish: str | None) -> FoundOut:
        """Return what of a reply is believed. Raises ``Fault``."""


class Answered(msgspec.Struct, Generic[Found], frozen=True):
    """The model answered, and the answer stands."""

    judgement: Found
    settlement: Settlement
    #: What all calls did cost, in the currency, and the seconds that the last one took.
    cost: float
    seconds: float


class Refused(msgspec.Struct, frozen=True):
    """There will be no answer to this question."""

    reason: str
    settlement: Settlement | None
    cost: float
    seconds: float


class Waits(msgspec.Struct, frozen=True):
    """There is no answer now; the escalation waits for ``seconds`` at least."""

    fault: str
    seconds: float
    #: Whether the hour's budget has no room for the call.
    budget: bool = False


Outcome = Answered[Found] | Refused | Waits


class Watcher(Protocol):
    """Who is told of calls: metrics."""

    def called(self, outcome: str, reply: Reply | None, spent: int) -> None:
        """Tell how a call went, and what it did cost, in billionths."""

    def faulted(self, kind: str) -> None:
        """Tell of an answer that was not believed."""


class Asker:
    """Asks one endpoint.

    Args:
        settings: of the lane.
        endpoint: the model.
        budget: of all workers.
        breaker: of this process.
        watcher: is told of calls.
        chance: jitter of pauses.
        marker: makes the random marker of a question.
    """

    def __init__(
        self,
        settings: LlmSettings,
        endpoint: Endpoint,
        budget: Budget,
        breaker: Breaker,
        watcher: Watcher,
        chance: random.Random,
        marker: Callable[[], str] = lambda: "e" + secrets.token_hex(6),
    ) -> None:
        self._settings, self._endpoint, self._budget = settings, endpoint, budget
        self._breaker, self._watcher, self._random, self._marker = breaker, watcher, chance, marker

    async def ask(self, question: Askable[Found], attempts: int = 1) -> Outcome[Found]:
        """Ask a question; ``attempts`` is how often it was taken up. Raises ``DatabaseError``."""
        marker, spent = self._marker(), 0
        messages = question.messages(marker)
        schema = None
        if self._settings.response_format in ("schema", "bounded"):
            schema = question.schema(marker, self._settings.response_format == "bounded")
        for again in (False, True):
            got = await self._called(question.name, messages, schema, attempts)
            if not isinstance(got, tuple):
                # What the first answer did cost is settled already.
                return got if isinstance(got, Waits) else msgspec.structs.replace(got, cost=got.cost + spent / NANO)
            reply, settlement = got
            spent += settlement.spent
            try:
                judgement = question.read(marker, reply.text, reply.finish)
            except Fault as fault:
                self._watcher.faulted(fault.kind)
                if again:
                    return Refused(f"{fault.kind}: {fault}", settlement, spent / NANO, reply.seconds)
                await self._settled(settlement)
                messages = ask_again(messages, reply.text or "", str(fault))
            else:
                return Answered(judgement, settlement, spent / NANO, reply.seconds)
        raise AssertionError("asked twice")

    async def _called(
        self, name: str, messages: list[dict[str, str]], schema: dict[str, Any] | None, attempts: int
    ) -> tuple[Reply, Settlement] | Refused | Waits:
        settings, worst = self._settings, self._endpoint.worst_price(messages, schema)
        if worst > self._budget.money:
            money = worst / NANO
            return Refused(f"budget: this question may cost {money:.6f}, more than an hour's budget", None, 0.0, 0.0)
        pause = settings.backoff_seconds
        for left in range(settings.retries, -1, -1):
            call = await asyncio.to_thread(self._budget.reserve, worst, name)
            if call is None:
                return Waits("budget", 1.0, budget=True)
            try:
                reply = await self._endpoint.call(messages, schema)
            except CallFailed as failed:
                spent = await self._failed(call, failed, worst)
                self._watcher.called(failed.kind, None, spent)
                if failed.kind == "question":
                    return Refused(f"refused: {failed}", None, spent / NANO, 0.0)
                wait = max(pause * self._random.uniform(0.5, 1.5), failed.after)
                if not failed.retryable or not left or self._breaker.open or wait > settings.backoff_max_seconds:
                    longer = min(FIRST_WAIT * 2.0 ** min(attempts - 1, 16), LONGEST_WAIT)
                    return Waits(f"{failed.kind}: {failed}", max(longer * self._random.uniform(0.5, 1.5), failed.after))
                await asyncio.sleep(wait)
                pause = min(pause * 2, settings.backoff_max_seconds)
                continue
            self._breaker.went_well()
            spent = self._endpoint.cost(reply, worst)
            self._watcher.called("answered", reply, spent)
            return reply, Settlement(call, spent, "answered")
        raise AssertionError("tried once at least")

    async def _failed(self, call: int, failed: CallFailed, worst: int) -> int:
        """Tell breaker and budget of a call that failed; return what it is taken to have cost."""
        if failed.kind != "question":
            self._breaker.failed(at_once=failed.kind == "refused", after=failed.after)
        if not failed.sent:
            await asyncio.to_thread(self._budget.release, call)
            return 0
        spent = 0 if failed.free else worst
        await self._settled(Settlement(call, spent, failed.kind))
        return spent

    async def _settled(self, settlement: Settlement) -> None:
        await asyncio.to_thread(self._budget.settle, settlement.call, settlement.spent, settlement.outcome)
