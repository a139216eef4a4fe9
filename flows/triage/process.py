"""``winnow triage`` as a process: what it needs, its threads, its end."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import random
import secrets
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException
from psycopg_pool import ConnectionPool

from analyzers.llm.asker import Asker
from analyzers.llm.breaker import Breaker
from analyzers.llm.endpoint import Endpoint
from analyzers.llm.prompt import signature
from analyzers.llm.settings import LlmSettings
from flows.health import serve
from flows.settings import Settings
from flows.triage.client import open_client
from flows.triage.intake import Intake, ensure
from flows.triage.lane import Lane
from flows.triage.metrics import Told
from flows.triage.outbox import Outbox
from flows.triage.questions import Questions
from flows.triage.summaries import Hearing, Summaries
from flows.usage import UsageError
from state.answers import Answers
from state.budget import Budget
from state.postgres import pool
from state.precedents import Precedents
from state.summaries import SummaryQueue
from state.triage import TriageQueue
from state.verdicts import VerdictStore

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger(__name__)

#: Namespace of answers in Redis, and the longest that is taken from there, bytes.
PREFIX, LONGEST = b"winnow:llm:", 32_768
#: Seconds that the threads get to end.
GRACE = 30.0


def check(settings: Settings) -> None:
    """See to it that all is there that the lane needs.

    Raises:
        UsageError: no model is configured, a price is missing, the extra is not installed, Kafka cannot be reached, or
            the database is not migrated.
        DatabaseError: the database is not configured or cannot be reached.
    """
    from state.revisions import pending  # Alembic takes a second

    check_llm(settings.llm)
    if pending(settings.postgres.required_dsn()):
        raise UsageError("the database is not migrated: run winnow migrate")
    try:
        for topic in ensure(settings.kafka):
            log.warning("topic %s did not exist; it was created", topic)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except KafkaException as error:
        raise UsageError(f"Kafka at {settings.kafka.bootstrap_servers}: {error.args[0].str()}") from error


def check_llm(llm: LlmSettings) -> None:
    """See to it that a model and its prices are set, and the extra is installed. Raises UsageError."""
    if not llm.configured:
        raise UsageError("no LLM is configured: set llm.base_url and llm.model")
    if llm.input_price is None or llm.output_price is None:
        raise UsageError("set llm.input_price and llm.output_price, a million tokens each (0: free)")
    missing = [name for name in ("dspy", "openai") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"{' and '.join(missing)}: not installed: pip install 'winnow[llm]'")


def triage(settings: Settings) -> int:
    """Be one process of the lane until SIGTERM or SIGINT; return the exit status."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    signature()  # imports DSPy now and not with the first question
    llm = settings.llm
    redis = settings.redis.url.get_secret_value() if settings.redis.url is not None and llm.redis else None
    quick = None
    if redis and llm.cache_hours:
        quick = VerdictStore(redis, 0.1, llm.cache_hours * 3600, prefix=PREFIX, longest=LONGEST)
    with pool(settings.postgres) as connections:
        queue, answers = TriageQueue(connections), Answers(connections, quick)
        questions = Questions(llm, Precedents(connections))
        budget = Budget(connections, llm.money_per_hour, llm.calls_per_hour)
        # The outbox ends last: calls under way may still bring verdicts.
        ended = threading.Event()
        intake, outbox = Intake(settings.kafka, questions, queue, answers, over), Outbox(settings.kafka, queue, ended)
        return asyncio.run(_run(settings, connections, queue, questions, answers, budget, intake, outbox, over, ended))


async def _run(
    settings: Settings,
    connections: ConnectionPool,
    queue: TriageQueue,
    questions: Questions,
    answers: Answers,
    budget: Budget,
    intake: Intake,
    outbox: Outbox,
    over: threading.Event,
    ended: threading.Event,
) -> int:

    llm = settings.llm
    # As many threads as there are connections to wait for, and those of what runs beside.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(settings.postgres.pool_size + 4, "lane"))
    breaker = Breaker(llm.breaker_failures, llm.breaker_seconds, time.monotonic)
    async with open_client(llm) as client:
        chance = random.Random()  # noqa: S311 - jitter, not a secret
        asker = Asker(llm, Endpoint(client, llm), budget, breaker, Told(), chance)
        process = f"{socket.gethostname()[:64]}-{os.getpid()}-{secrets.token_hex(4)}"
        lane = Lane(llm, queue, questions, answers, budget, asker, breaker, process, over)

        def health() -> tuple[bool, dict[str, Any]]:
            well = lane.database and intake.is_alive() and outbox.is_alive()
            state = "open" if breaker.open else "closed"
            return well, {"database": lane.database, "breaker": state, "budget_short": lane.short}

        if llm.port:
            try:
                serve(llm.port, settings.metrics.address, health)
            except OSError as error:
                log.warning("metrics and health cannot be served on port %d: %s", llm.port, error.strerror)
        intake.start()
        outbox.start()
        running = asyncio.create_task(lane.run())
        beside = _summaries(settings, client, connections, answers, breaker, process, over)
        while not over.is_set() and not running.done():
            await asyncio.sleep(0.1)
            if not intake.is_alive() or not outbox.is_alive():
                break
        died = not over.is_set()
        over.set()
        try:
            await running
        finally:
            ended.set()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        for thread in (intake, outbox):
            await asyncio.to_thread(thread.join, GRACE)
    return 1 if died or intake.error is not None else 0


def _summaries(
    settings: Settings,
    client: AsyncOpenAI,
    connections: ConnectionPool,
    answers: Answers,
    breaker: Breaker,
    process: str,
    over: threading.Event,
) -> list[asyncio.Task[None]]:
    """Start the summaries of incidents, if they are wanted: they may spend their share of the budget, no more."""
    llm = settings.llm
    if not llm.summaries:
        return []
    share = llm.summary_share
    budget = Budget(connections, llm.money_per_hour * share, int(llm.calls_per_hour * share))
    chance = random.Random()  # noqa: S311 - jitter, not a secret
    asker = Asker(llm, Endpoint(client, llm), budget, breaker, Told(), chance)
    queue = SummaryQueue(connections)
    Hearing(settings.kafka, queue, over).start()
    summaries = Summaries(llm, settings.formats, queue, answers, asker, breaker, process, over)
    return [asyncio.create_task(summaries.run())]
