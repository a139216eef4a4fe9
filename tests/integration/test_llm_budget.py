"""What all workers of the LLM lane spend never passes the budget: Redis wiped, Postgres stopped, the clock set."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from analyzers.llm.asker import Asker
from analyzers.llm.breaker import Breaker
from analyzers.llm.endpoint import Endpoint
from analyzers.llm.question import Question
from analyzers.llm.settings import LlmSettings
from flows.triage.client import open_client
from flows.triage.lane import Lane
from flows.triage.metrics import Told
from flows.triage.questions import Questions
from state.answers import Answers
from state.budget import NANO, Budget
from state.embedded import EmbeddedPostgres
from state.postgres import PostgresSettings, connect, pool
from state.precedents import Precedents
from state.revisions import migrate
from state.triage import Arrived, TriageQueue
from state.verdicts import VerdictStore
from tests.integration.llm_double import Act, Double, answer, serving
from tests.integration.llm_lane import escalation, stands

pytest.importorskip("dspy")

WORKERS = 4


class Workers:
    """Four workers of the lane, each with connections, breaker and client of its own."""

    def __init__(self, dsn: str, url: str, cache: str | None = None, **changes: Any) -> None:
        told: dict[str, Any] = {
            "base_url": url, "model": "double", "api_key": "k", "input_price": 1, "output_price": 2, "retries": 1,
            "money_per_hour": 100, "calls_per_hour": 10_000, "backoff_seconds": 0.02, "breaker_seconds": 0.2,
            "timeout_seconds": 5, "lease_seconds": 1,
        }  # fmt: skip
        self.settings = LlmSettings(**{**told, **changes})
        self.dsn, self.cache, self.over = dsn, cache, threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(str(number),)) for number in range(WORKERS)]

    def __enter__(self) -> Workers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()

    def _work(self, name: str) -> None:
        asyncio.run(self._lane(name))

    async def _lane(self, name: str) -> None:
        settings = self.settings
        quick = VerdictStore(self.cache, 1.0, 60, prefix=b"winnow:llm:", longest=32_768) if self.cache else None
        with pool(PostgresSettings(dsn=SecretStr(self.dsn), connect_timeout=1)) as connections:
            breaker = Breaker(settings.breaker_failures, settings.breaker_seconds, time.monotonic)
            budget = Budget(connections, settings.money_per_hour, settings.calls_per_hour)
            async with open_client(settings) as client:
                asker = Asker(settings, Endpoint(client, settings), budget, breaker, Told(), random.Random(1))
                answers = Answers(connections, quick)
                questions = Questions(settings, Precedents(connections))
                await Lane(
                    settings, TriageQueue(connections), questions, answers, budget, asker, breaker, name, self.over
                ).run()


def queued(dsn: str, count: int, first: int = 0) -> None:
    with pool(PostgresSettings(dsn=SecretStr(dsn))) as connections:
        given = [escalation(number) for number in range(first, first + count)]
        TriageQueue(connections).add([Arrived(e, e.encode(), Question(e, "double").key) for e in given])


def until(met: Any, patience: float = 90.0) -> None:
    deadline = time.monotonic() + patience
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def books(dsn: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return money and calls of each hour: as the budget has them, and as the calls add up to."""
    with connect(dsn) as database:
        hours = database.execute("SELECT spent, calls FROM llm_budget ORDER BY hour").fetchall()
        calls = database.execute(
            "SELECT sum(coalesce(spent, reserved)), count(*) FROM llm_calls GROUP BY hour ORDER BY hour"
        ).fetchall()
    return [(int(s), int(c)) for s, c in hours], [(int(s), int(c)) for s, c in calls]


def test_a_wiped_redis_gives_no_money_back_and_nothing_is_paid_twice(postgres_dsn: str, valkey_url: str) -> None:
    migrate(postgres_dsn)
    queued(postgres_dsn, 40)
    with serving(Double(lambda _, body: answer(body))) as double, redis.Redis.from_url(valkey_url) as cache:
        with Workers(postgres_dsn, double.url, valkey_url, calls_per_hour=25):
            for least in (5, 10, 15):
                until(lambda least=least: len(double.bodies) >= least)
                cache.flushall()
            until(lambda: len(double.bodies) >= 25 and not stands(postgres_dsn).get("asking"))
            # The same questions once more: their answers are in Postgres.
            queued(postgres_dsn, 10, 0)
            cache.flushall()
            time.sleep(1.0)
        hours, calls = books(postgres_dsn)
        assert hours == calls and all(count <= 25 for _, count in hours)
        assert len(double.bodies) <= 25 * len(hours)
        questions = [body["messages"][1]["content"].partition('"fields"')[2] for body in double.bodies]
        assert len(set(questions)) == len(questions)


def test_without_postgres_nothing_is_asked_and_what_was_under_way_stays_spent() -> None:
    stopped, calls_after_stop = threading.Event(), []

    def act(_: int, body: dict[str, Any]) -> Act:
        if stopped.is_set():
            calls_after_stop.append(time.monotonic())
        if slow.is_set():
            held.append(1)
            gone.wait(20)
            return 500
        return answer(body)

    slow, gone = threading.Event(), threading.Event()
    held: list[int] = []
    with EmbeddedPostgres() as postgres, serving(Double(act)) as double:
        dsn = postgres.create_database("lane")
        migrate(dsn)
        queued(dsn, 60)
        with Workers(dsn, double.url, money_per_hour=0.5, calls_per_hour=50, concurrency=2, timeout_seconds=30):
            until(lambda: len(double.bodies) >= 10)
            slow.set()
            until(lambda: len(held) >= WORKERS)
            postgres.stop()
            # What was being sent when it stopped may still arrive.
            time.sleep(0.3)
            under_way = len(double.bodies)
            stopped.set()
            gone.set()
            slow.clear()
            time.sleep(2.0)
            assert len(double.bodies) == under_way and calls_after_stop == []
            stopped.clear()
            postgres.restart()
            until(lambda: len(double.bodies) > under_way + 5)
            until(lambda: stands(dsn).get("answered", 0) > 20)
        hours, calls = books(dsn)
        assert hours == calls
        assert all(spent <= NANO // 2 and count <= 50 for spent, count in hours), hours
        assert len(double.bodies) <= 50 * len(hours)
        with connect(dsn) as database:
            row = database.execute("SELECT count(*), min(reserved) FROM llm_calls WHERE spent IS NULL").fetchone()
        assert row is not None and row[0] >= WORKERS and row[1] > 0


@pytest.fixture
def clock(postgres_dsn: str) -> Iterator[tuple[ConnectionPool, Any]]:
    """Return connections that see a clock that can be set, and what sets it, hours from now."""
    migrate(postgres_dsn)
    with connect(postgres_dsn, autocommit=True) as database:
        database.execute("CREATE SCHEMA skewed")
        database.execute("CREATE TABLE skewed.clock AS SELECT interval '0' AS ahead")
        database.execute(
            "CREATE FUNCTION skewed.now() RETURNS timestamptz STABLE LANGUAGE sql AS "
            "'SELECT pg_catalog.now() + ahead FROM skewed.clock'"
        )

        def jump(hours: float) -> None:
            database.execute("UPDATE skewed.clock SET ahead = make_interval(mins => %s)", (round(hours * 60),))

        dsn = f"{postgres_dsn}&options=-csearch_path%3Dskewed,pg_catalog,public"
        with pool(PostgresSettings(dsn=SecretStr(dsn), pool_size=8)) as connections:
            yield connections, jump


def take(budget: Budget) -> int:
    """Spend all that there is, by four at once; return how many calls that was."""
    taken: list[int] = []

    def spend() -> None:
        while (call := budget.reserve(NANO // 20, "x-1")) is not None:
            taken.append(call)

    threads = [threading.Thread(target=spend) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(taken)


def test_a_clock_that_is_set_back_refills_nothing_and_one_ahead_opens_an_hour_once(
    clock: tuple[ConnectionPool, Any],
) -> None:
    connections, jump = clock
    budget = Budget(connections, 1.0, 1_000)
    # Half past, so that the test itself crosses no hour; the database decides, not this machine's clock.
    minute = (time.time() % 3600) / 60
    half = (30 - minute) / 60
    jump(half)
    assert take(budget) == 20
    for back in (-0.4, -1, -2, -49):
        jump(half + back)
        assert take(budget) == 0, back
        assert budget.spending().money == 1.0
    jump(half + 1)
    assert take(budget) == 20
    for there in (0, 1, 0.5, -3, 1):
        jump(half + there)
        assert take(budget) == 0, there
    jump(half)
    assert budget.spending().remaining == pytest.approx(1.5 * 3600, abs=120)
    # What a call did cost is put where it was taken from, whatever the clock says now.
    with connections.connection() as database:
        (call,) = database.execute("SELECT min(id) FROM llm_calls").fetchone() or (0,)
    budget.settle(call, 0, "answered")
    assert take(budget) == 0
    jump(half + 2)
    assert take(budget) == 20
    with connections.connection() as database:
        hours = database.execute("SELECT spent FROM llm_budget ORDER BY hour").fetchall()
    assert [int(spent) for (spent,) in hours] == [NANO - NANO // 20, NANO, NANO]


def test_pruning_while_the_clock_is_ahead_opens_no_hour_when_it_is_set_back(
    clock: tuple[ConnectionPool, Any],
) -> None:
    connections, jump = clock
    budget = Budget(connections, 1.0, 1_000)
    assert take(budget) >= 20
    jump(24 * 90)
    TriageQueue(connections).prune(30)
    jump(0)
    assert take(budget) == 0 or (time.time() % 3600) < 60
