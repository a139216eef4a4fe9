"""Queue, answers and budget of the LLM lane in Postgres: shared by processes that die, and never passed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from analyzers.llm.prompt import PROMPT
from analyzers.llm.question import Question, refusal
from state.answers import Answers, Remembered
from state.budget import NANO, Budget
from state.escalations import Escalation, LlmVerdict, decode_verdict
from state.postgres import PostgresSettings, connect, pool
from state.revisions import migrate
from state.triage import Arrived, Settlement, TriageQueue
from state.verdicts import VerdictStore
from tests.integration.llm_lane import escalation


@pytest.fixture
def connections(postgres_dsn: str) -> Iterator[ConnectionPool]:
    migrate(postgres_dsn)
    with pool(PostgresSettings(dsn=SecretStr(postgres_dsn), pool_size=8)) as found:
        yield found


def fill(queue: TriageQueue, *stakes: float) -> list[Escalation]:
    given = [escalation(number, stakes=height) for number, height in enumerate(stakes)]
    queue.add([Arrived(e, e.encode(), Question(e, "m").key) for e in given])
    return given


def test_the_highest_stakes_go_first_and_each_to_one_process(connections: ConnectionPool) -> None:
    queue = TriageQueue(connections)
    given = fill(queue, 0.1, 0.9, 0.5, 0.8)
    assert fill(queue, 0.1, 0.9) == given[:2]  # what is there already is not stored again
    first, second = queue.claim(2, "a", 60), queue.claim(9, "b", 60)
    assert [c.id for c in first] == [given[1].id, given[3].id]
    assert [c.id for c in second] == [given[2].id, given[0].id]
    assert queue.claim(9, "c", 60) == []
    assert queue.counts()["asking"] == 4


def test_what_a_process_left_is_taken_by_another_and_its_late_end_does_not_count(connections: ConnectionPool) -> None:
    queue = TriageQueue(connections)
    (given,) = fill(queue, 0.5)
    (left,) = queue.claim(1, "a", 0.05)
    time.sleep(0.1)
    (taken,) = queue.claim(1, "b", 60)
    assert taken.id == left.id and taken.attempts == 2
    late, sound = refusal(given, "late", answered_at=1), refusal(given, "sound", answered_at=1)
    assert not queue.finish(left, late)
    assert queue.finish(taken, sound)
    assert not queue.finish(taken, late)
    sent: list[tuple[str, bytes]] = []
    assert queue.publish(sent.extend) == 1 and queue.publish(sent.extend) == 0
    assert decode_verdict(sent[0][1]).reason == "sound"


def test_a_process_that_says_that_it_lives_keeps_what_it_holds(connections: ConnectionPool) -> None:
    queue, answers = TriageQueue(connections), Answers(connections)
    fill(queue, 0.5)
    (held,) = queue.claim(1, "a", 0.1)
    assert answers.begin(b"q", PROMPT, "m", held.owner, 0.1) == "ours"
    queue.extend([held.owner], 60)
    time.sleep(0.15)
    assert queue.claim(1, "b", 60) == []
    assert answers.begin(b"q", PROMPT, "m", "b/1", 60) is None
    queue.put_back(held, 0, "time-out: x")
    assert answers.begin(b"q", PROMPT, "m", "b/1", 60) == "ours"


def test_a_verdict_that_the_broker_did_not_take_is_sent_again(connections: ConnectionPool) -> None:
    queue = TriageQueue(connections)
    (given,) = fill(queue, 0.5)
    queue.finish(queue.claim(1, "a", 60)[0], refusal(given, "no", answered_at=1))

    def away(_: object) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        queue.publish(away)
    assert queue.depth()["unpublished"] == 1
    assert queue.publish(lambda _: None) == 1


def test_what_waits_too_long_or_is_too_much_is_refused_the_lowest_stakes_first(connections: ConnectionPool) -> None:
    queue = TriageQueue(connections)
    given = fill(queue, 0.1, 0.9, 0.5)

    def no(of: Escalation, fault: str) -> LlmVerdict:
        return refusal(of, f"why: {fault}", answered_at=1)

    assert queue.finish_waiting("older", 60, no) == 0
    assert queue.finish_waiting("beyond", 2, no) == 1
    assert queue.message(given[0].id) is not None
    assert [c.id for c in queue.claim(9, "a", 60)] == [given[1].id, given[2].id]
    with connections.connection() as database:
        database.execute("UPDATE escalations SET status = 'waiting', owner = NULL, lease_until = NULL, "
                         "received_at = now() - interval '1 hour' WHERE status = 'asking'")  # fmt: skip
    assert queue.finish_waiting("older", 60, no) == 2
    assert queue.counts()["reasons"] == {"why": 3}


def test_a_question_is_paid_once_and_its_answer_given_to_all_who_wait(
    connections: ConnectionPool, valkey_url: str
) -> None:
    quick = VerdictStore(valkey_url, 1.0, 60, prefix=b"winnow:llm:", longest=1_000)
    queue, answers = TriageQueue(connections), Answers(connections, quick)
    (given,) = fill(queue, 0.5)
    (held,) = queue.claim(1, "a", 60)
    assert answers.begin(b"q", PROMPT, "m", held.owner, 60) == "ours"
    assert [answers.begin(b"q", PROMPT, "m", f"b/{n}", 60) for n in range(3)] == [None, None, None]
    assert answers.known([b"q"]) == {}
    queue.finish(held, refusal(given, "x", answered_at=1), None, Remembered(b"q", PROMPT, "m", b"{}", 60))
    assert answers.begin(b"q", PROMPT, "m", "b/1", 60) == b"{}"
    assert answers.known([b"q", b"r"]) == {b"q": b"{}"}
    assert quick.get([b"q"]) == [b"{}"]  # what Postgres knows is put into Redis
    quick.put({b"q": b"x" * 2_000})  # somebody else's
    assert answers.known([b"q"]) == {b"q": b"{}"}
    quick.close()
    with connections.connection() as database:
        database.execute("UPDATE llm_answers SET expires_at = now()")
    assert answers.begin(b"q", PROMPT, "m", "c/1", 60) == "ours"


def test_the_budget_is_never_passed_by_many_at_once(connections: ConnectionPool) -> None:
    budget = Budget(connections, 1.0, 1_000)
    price, taken = NANO // 40, []

    def spend() -> None:
        while (call := budget.reserve(price, "x-1")) is not None:
            taken.append(call)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hours = _hours(connections)
    assert len(taken) == 40 * len(hours) and all(spent <= NANO for spent, _ in hours)
    # What an answer did cost takes the place of its worst case, once; what was never sent is given back.
    budget.settle(taken[-1], price // 2, "answered")
    budget.settle(taken[-1], 0, "answered")
    budget.release(taken[-2])
    budget.release(taken[-1])
    spent, calls = _hours(connections)[-1]
    assert spent == hours[-1][0] - price // 2 - price and calls == hours[-1][1] - 1


def test_calls_are_bounded_too_and_what_fits_no_hour_takes_nothing(connections: ConnectionPool) -> None:
    budget = Budget(connections, 1.0, 2)
    assert budget.reserve(NANO + 1, "x-1") is None
    assert [budget.reserve(0, "x-1") is not None for _ in range(3)] == [True, True, False] or len(
        _hours(connections)
    ) == 2
    assert Budget(connections, 1.0, 0).reserve(0, "x-1") is None


def test_a_crash_between_answer_and_store_leaves_the_worst_case_spent(
    connections: ConnectionPool, postgres_dsn: str
) -> None:
    queue, budget = TriageQueue(connections), Budget(connections, 1.0, 10)
    (given,) = fill(queue, 0.5)
    (held,) = queue.claim(1, "a", 60)
    call = budget.reserve(NANO // 2, given.id)
    assert call is not None
    with connect(postgres_dsn) as database:
        # The database refuses the end: neither verdict nor price are stored.
        database.execute("ALTER TABLE escalations ADD CHECK (reason <> 'refuse me')")
        database.commit()
    with pytest.raises(Exception, match="violates check"):
        queue.finish(held, refusal(given, "refuse me", answered_at=1), Settlement(call, 1, "answered"))
    assert budget.spending().money == 0.5
    assert queue.finish(held, refusal(given, "x", answered_at=1), Settlement(call, 1, "answered"))
    assert budget.spending().money == 1 / NANO


def test_prune_removes_what_is_over_and_keeps_what_waits(connections: ConnectionPool) -> None:
    queue = TriageQueue(connections)
    given = fill(queue, 0.5, 0.6)
    queue.finish(queue.claim(1, "a", 60)[0], refusal(given[1], "x", answered_at=1))
    queue.publish(lambda _: None)
    assert queue.prune(30) == 0
    with connections.connection() as database:
        database.execute("UPDATE escalations SET received_at = now() - interval '90 days', "
                         "decided_at = decided_at - interval '90 days'")  # fmt: skip
    assert queue.prune(30) == 1
    assert (queue.message(given[1].id), queue.message(given[0].id)) == (None, given[0].encode())


def _hours(connections: ConnectionPool) -> list[tuple[int, int]]:
    with connections.connection() as database:
        return [(int(s), int(c)) for s, c in database.execute("SELECT spent, calls FROM llm_budget ORDER BY hour")]
