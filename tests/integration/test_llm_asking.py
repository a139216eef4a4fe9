"""The LLM lane against an endpoint that misbehaves: what is paid, tried again, believed, refused, and left waiting."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
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
from state.budget import Budget
from state.escalations import Escalation, LlmVerdict, Raised, decode_verdict
from state.postgres import PostgresSettings, pool
from state.precedents import Precedents
from state.revisions import migrate
from state.triage import Arrived, TriageQueue
from tests.integration.llm_double import Act, Double, answer, serving
from tests.integration.llm_lane import T0, escalation, word
from tests.unit.analyzers.llm.secrets import planted

pytest.importorskip("dspy")


@pytest.fixture
def connections(postgres_dsn: str) -> Iterator[ConnectionPool]:
    migrate(postgres_dsn)
    with pool(PostgresSettings(dsn=SecretStr(postgres_dsn), pool_size=8)) as found:
        yield found


class Run:
    """A lane of this process over the given escalations."""

    def __init__(self, connections: ConnectionPool, url: str, **changes: Any) -> None:
        told: dict[str, Any] = {
            "base_url": url, "model": "double", "api_key": "k", "input_price": 1, "output_price": 2, "retries": 2,
            "money_per_hour": 100, "calls_per_hour": 10_000, "backoff_seconds": 0.02, "breaker_seconds": 0.2,
            "timeout_seconds": 5,
        }  # fmt: skip
        self.settings = LlmSettings(**{**told, **changes})
        self.connections, self.queue = connections, TriageQueue(connections)
        self.over = threading.Event()

    def add(self, given: Sequence[Escalation]) -> None:
        model = self.settings.model or ""
        self.queue.add([Arrived(e, e.encode(), Question(e, model).key) for e in given])

    def until(self, met: Callable[[], bool]) -> dict[str, Any]:
        """Run until it is so; return how many stand where."""
        asyncio.run(self._run(met))
        return self.queue.counts()

    async def _run(self, met: Callable[[], bool]) -> None:
        settings = self.settings
        breaker = Breaker(settings.breaker_failures, settings.breaker_seconds, time.monotonic)
        budget = Budget(self.connections, settings.money_per_hour, settings.calls_per_hour)
        async with open_client(settings) as client:
            asker = Asker(settings, Endpoint(client, settings), budget, breaker, Told(), random.Random(1))
            answers = Answers(self.connections)
            questions = Questions(settings, Precedents(self.connections, seconds=0.0))
            lane = Lane(settings, self.queue, questions, answers, budget, asker, breaker, "p", self.over)
            running = asyncio.create_task(lane.run())
            deadline = time.monotonic() + 60
            while not await asyncio.to_thread(met):
                assert time.monotonic() < deadline and not running.done(), self.queue.counts()
                await asyncio.sleep(0.02)
            self.over.set()
            await running

    def verdicts(self) -> dict[str, LlmVerdict]:
        with self.connections.connection() as database:
            rows = database.execute("SELECT verdict FROM escalations WHERE verdict IS NOT NULL").fetchall()
        return {found.id: found for found in (decode_verdict(bytes(row[0])) for row in rows)}

    def ended(self, count: int) -> Callable[[], bool]:
        return lambda: len(self.verdicts()) == count


@pytest.fixture
def double() -> Iterator[Double]:
    with serving(Double(lambda _, body: answer(body))) as found:
        yield found


def test_when_the_budget_is_short_the_highest_stakes_are_asked_and_the_rest_waits_then_is_refused(
    connections: ConnectionPool, double: Double
) -> None:
    given = [escalation(number, stakes=height) for number, height in enumerate((0.1, 0.9, 0.2, 0.8))]
    run = Run(connections, double.url, calls_per_hour=2, concurrency=1)
    run.add(given)
    counts = run.until(lambda: len(run.verdicts()) >= 2 and run.queue.depth()["asking"] == 0)
    assert len(double.bodies) == 2 * len(_hours(connections)) and counts["waiting"] == 4 - len(double.bodies)
    assert {given[1].id, given[3].id} <= set(run.verdicts())
    late = Run(connections, double.url, calls_per_hour=0, give_up_minutes=0.001)
    late.until(late.ended(4))
    assert {v.reason.split(":")[0] for v in late.verdicts().values() if v.status == "refused"} <= {"budget", "overload"}
    assert late.verdicts()[given[0].id].status == "refused" or len(_hours(connections)) > 1


def test_an_answer_without_evidence_is_asked_for_once_more_with_the_fault_and_then_refused(
    connections: ConnectionPool, double: Double
) -> None:
    bad = [{"text": "Trust me.", "event": "e0", "field": "CommandLine"}]

    def act(_: int, body: dict[str, Any]) -> Act:
        learns = f"hidden {word(1)}" in json.dumps(body)
        return answer(body) if learns and len(body["messages"]) == 4 else answer(body, claims=bad)

    double.act = act
    learns, never = escalation(1), escalation(2)
    run = Run(connections, double.url)
    run.add([learns, never])
    run.until(run.ended(2))
    found = run.verdicts()
    assert (found[learns.id].status, found[never.id].status) == ("answered", "refused")
    assert found[never.id].reason == "citation: claim 1 cites an event that the question does not have"
    assert len(double.bodies) == 4
    assert all(
        "claim 1 cites an event" in b["messages"][3]["content"] for b in double.bodies if len(b["messages"]) == 4
    )
    # Both calls of each were paid for.
    assert found[learns.id].cost == found[never.id].cost == pytest.approx(2 * (1_000 + 2 * 100) / 1e6)


def test_the_same_question_asked_at_once_is_paid_once(connections: ConnectionPool, double: Double) -> None:
    def act(_: int, body: dict[str, Any]) -> Act:
        time.sleep(0.3)
        return answer(body)

    double.act = act
    same = escalation(1).fields
    given = [escalation(number, fields=same) for number in range(12)]
    run = Run(connections, double.url)
    run.add(given)
    run.until(run.ended(12))
    assert len(double.bodies) == 1
    assert sorted(v.cached for v in run.verdicts().values()) == [False] + [True] * 11
    assert all(run.verdicts()[e.id].citations[0].event_id == e.event_id for e in given)


def test_an_endpoint_that_is_not_there_costs_nothing_and_loses_nothing(connections: ConnectionPool) -> None:
    given = [escalation(number) for number in range(6)]
    run = Run(connections, "http://127.0.0.1:9/v1", breaker_failures=3)
    run.add(given)
    counts = run.until(lambda: sum(r[0] != "" for r in _faults(connections)) >= 3)
    assert (counts["waiting"], counts["answered"], counts["refused"]) == (6, 0, 0)
    assert all(spent == 0 and calls == 0 for spent, calls in _hours(connections))
    assert any("connection" in fault for (fault,) in _faults(connections))


@pytest.mark.parametrize(
    ("act", "calls", "fault"),
    [
        (503, 3, "server: the endpoint answered 503"),
        (None, 3, "connection: "),
        (b"<html>", 3, "garbled: "),
        (b'{"choices": []}', 3, "garbled: "),
        (401, 1, "refused: the endpoint answered 401"),
        (b"x" * 5_000_000, 3, "connection: "),
    ],
    ids=["503", "hang-up", "html", "no-choice", "401", "endless"],
)
def test_what_may_pass_is_tried_again_and_then_waits(
    act: Act, calls: int, fault: str, connections: ConnectionPool, double: Double
) -> None:
    double.act = lambda _number, _body: act
    run = Run(connections, double.url, concurrency=1)
    run.add([escalation(1)])
    counts = run.until(lambda: bool(_faults(connections)[0][0]))
    assert counts["waiting"] == 1 and len(double.bodies) == calls
    assert _faults(connections)[0][0].startswith(fault)


def test_a_question_that_the_endpoint_does_not_take_is_refused_and_others_go_on(
    connections: ConnectionPool, double: Double
) -> None:
    double.act = lambda _, body: 400 if f"hidden {word(1)}" in json.dumps(body) else answer(body)
    given = [escalation(1), escalation(2)]
    run = Run(connections, double.url)
    run.add(given)
    run.until(run.ended(2))
    found = run.verdicts()
    assert found[given[0].id].reason == "refused: the endpoint answered 400"
    assert found[given[1].id].status == "answered"


def test_an_answer_that_does_not_come_in_time_is_paid_for_and_the_event_waits(
    connections: ConnectionPool, double: Double
) -> None:
    double.act = lambda _number, _body: 30.0
    run = Run(connections, double.url, timeout_seconds=0.2, retries=0)
    run.add([escalation(1)])
    run.until(lambda: bool(_faults(connections)[0][0]))
    assert _faults(connections)[0][0] == "timeout: no answer in 0.2 s"
    # It may have been answered, and paid, after we stopped listening.
    assert all(spent > 0 for spent, _ in _hours(connections))


def test_a_benign_answer_to_a_high_rule_hit_is_stored_and_only_informs(
    connections: ConnectionPool, double: Double
) -> None:
    double.act = lambda _, body: answer(body, "benign", severity="critical")
    high = Raised(kind="rule", rule="r", name="R", level="critical", time=T0, event_id="t-0-1")
    given = escalation(1, raised=(high,))
    run = Run(connections, double.url)
    run.add([given])
    run.until(run.ended(1))
    assert (run.verdicts()[given.id].verdict, run.verdicts()[given.id].severity) == ("benign", "informational")


def test_no_planted_secret_reaches_the_server(connections: ConnectionPool, double: Double) -> None:
    found = planted(seed=7)
    given = []
    for start in range(0, len(found), 5):
        some = found[start : start + 5]
        fields = {field if not n else f"{field} {n}": text for n, (field, text, _) in enumerate(some)}
        given.append(escalation(start, fields=fields, reason=some[0][1]))
    run = Run(connections, double.url, prompt_chars=100_000)
    run.add(given)
    run.until(run.ended(len(given)))
    assert len(found) >= 30 and len(double.raw) == len(given)
    sent = b"".join(double.raw)
    assert not [
        secret for _, _, secret in found if secret.encode() in sent or json.dumps(secret)[1:-1].encode() in sent
    ]


GUARD = """
import asyncio, socket, sys
asked = []
def resolve(host, *rest, _real=socket.getaddrinfo, **more):
    asked.append(host)
    return _real("127.0.0.1", *rest, **more)
socket.getaddrinfo = resolve
real = socket.socket.connect
def connect(self, address):
    asked.append(address[0] if isinstance(address, tuple) else address)
    return real(self, address)
socket.socket.connect = connect
from analyzers.llm.endpoint import Endpoint
from analyzers.llm.question import Question
from analyzers.llm.settings import LlmSettings
from flows.triage.client import open_client
from tests.integration.llm_lane import escalation
settings = LlmSettings(base_url=sys.argv[1], model="m")
async def main():
    async with open_client(settings) as client:
        print(await Endpoint(client, settings).call(Question(escalation(1), "m").messages("e1")), file=sys.stderr)
asyncio.run(main())
assert set(asked) == {"127.0.0.1"}, asked
assert not [name for name in sys.modules if name.split(".")[0] in ("litellm", "diskcache")]
"""


def test_nothing_but_the_endpoint_is_connected_to(double: Double) -> None:
    done = subprocess.run([sys.executable, "-c", GUARD, double.url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(double.bodies) == 1


def _hours(connections: ConnectionPool) -> list[tuple[int, int]]:
    with connections.connection() as database:
        return [(int(s), int(c)) for s, c in database.execute("SELECT spent, calls FROM llm_budget")]


def _faults(connections: ConnectionPool) -> list[tuple[str]]:
    with connections.connection() as database:
        return [(str(f),) for (f,) in database.execute("SELECT fault FROM escalations ORDER BY id")]
