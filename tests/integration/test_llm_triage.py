"""The LLM lane as a whole: an escalation comes in and its verdict goes out, whatever the endpoint does."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from typing import Any

import pytest

from flows.commands.triage import reveal, status
from flows.settings import load_settings
from state.escalations import decode_verdict
from state.postgres import connect
from state.revisions import migrate
from tests.integration.live import create_topic, send, stored
from tests.integration.llm_double import Double, answer, reply, serving
from tests.integration.llm_lane import ended, environment, escalation, queued, stands, triaging, until


def test_an_escalation_is_asked_about_once_and_its_verdict_is_published(
    kafka: str, postgres_dsn: str, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_topic(kafka, f"{topic_name}.escalations")
    migrate(postgres_dsn)
    first, same = escalation(1), escalation(2, fields=escalation(1).fields)
    messages = [first.encode(), b'{"id": 1}', b"\xff", first.encode(), same.encode()]
    send(kafka, f"{topic_name}.escalations", messages)
    with serving(Double(lambda _, body: answer(body))) as double:
        variables = environment(kafka, postgres_dsn, topic_name, double.url)
        with triaging(variables) as running:
            until(lambda: ended(postgres_dsn) == 2, running)
        assert len(double.bodies) == 1
        assert double.keys == {"Bearer key-of-the-lane"}
    verdicts = [decode_verdict(raw) for raw in stored(kafka, f"{topic_name}.verdicts")]
    asked = {verdict.id: verdict for verdict in verdicts}
    assert set(asked) == {first.id, same.id}
    for of in (first, same):
        verdict = asked[of.id]
        assert (verdict.status, verdict.verdict, verdict.severity) == ("answered", "malicious", "high")
        assert verdict.techniques == ("T1059.001",)
        assert [(c.event_id, c.field) for c in verdict.citations] == [(of.event_id, "CommandLine")]
        assert (verdict.event_id, verdict.host, verdict.model) == (of.event_id, of.host, "double")
    assert sorted(verdict.cached for verdict in verdicts) == [False, True]
    paid = next(verdict for verdict in verdicts if not verdict.cached)
    assert paid.cost == pytest.approx((1_000 * 1 + 100 * 2) / 1e6)
    assert len(stored(kafka, f"{topic_name}.deadletter")) == 2
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = status(load_settings())
    assert (found["answered"], found["waiting"], found["cached"]) == (2, 0, 1)
    assert found["hour"]["calls"] == 1 and found["hour"]["money"] == pytest.approx(paid.cost)
    assert reveal(load_settings(), first.id)["names"] == {"[host-1]": first.host}


def hostile(number: int, body: dict[str, Any]) -> Any:
    """Do, in turn, all that an endpoint can do wrong, and answer now and then."""
    return [
        answer(body),
        reply("I cannot help with that."),
        429,
        answer(body, claims=[{"text": "I made it up.", "event": "e0", "field": "CommandLine"}]),
        500,
        answer(body, "benign"),
        None,
        reply('{"verdict": "mal', finish="length"),
        1.5,
        b"<html>gateway</html>",
        answer(body, "suspicious"),
        reply(json.dumps({"verdict": "certainly"})),
    ][number % 12]


def test_whatever_the_endpoint_does_none_is_lost_and_the_budget_holds(
    kafka: str, postgres_dsn: str, topic_name: str
) -> None:
    """Four processes, one of them killed, an endpoint that fails in every way and is gone for a while."""
    migrate(postgres_dsn)
    given = [escalation(number, stakes=number / 200) for number in range(200)]
    queued(postgres_dsn, given)
    money, calls = 1.0, 260
    double = Double(hostile)
    with serving(double):
        port = int(double.url.rpartition(":")[2].partition("/")[0])
        variables = environment(
            kafka, postgres_dsn, topic_name, double.url,
            money_per_hour=money, calls_per_hour=calls, timeout_seconds=0.5, backoff_max_seconds=1,
        )  # fmt: skip
        with triaging(variables, 4) as running:
            until(lambda: len(double.bodies) > 40, running)
            running[0].send_signal(signal.SIGKILL)
            until(lambda: len(double.bodies) > 60, running)
        # The endpoint is gone, and so are we; both come back, the endpoint later.
    with triaging(variables, 1) as running:
        time.sleep(0.5)
        with serving(double, port):
            until(lambda: ended(postgres_dsn) > 40, running)
            until(lambda: sum(stands(postgres_dsn).values()) == 200 and not abandoned(postgres_dsn), running)
    found = stands(postgres_dsn)
    assert sum(found.values()) == 200 and set(found) <= {"waiting", "answered", "refused"}, found
    assert found["answered"] > 15 and found["refused"] > 0, found
    with connect(postgres_dsn) as database:
        hours = database.execute("SELECT spent, calls FROM llm_budget").fetchall()
        rows = database.execute(
            "SELECT hour, sum(coalesce(spent, reserved)), count(*) FROM llm_calls GROUP BY hour"
        ).fetchall()
        reasons = database.execute("SELECT DISTINCT reason FROM escalations WHERE status = 'refused'").fetchall()
        decided = {row[0] for row in database.execute("SELECT id FROM escalations WHERE verdict IS NOT NULL")}
    assert all(reason for (reason,) in reasons)
    assert all(spent <= money * 1e9 and count <= calls for spent, count in hours), hours
    # What the calls were taken to cost is what the hours did cost.
    assert sorted((int(s), c) for _, s, c in rows) == sorted((int(s), c) for s, c in hours)
    assert len(double.bodies) <= calls * len(hours)
    verdicts = [decode_verdict(raw) for raw in stored(kafka, f"{topic_name}.verdicts")]
    assert {verdict.id for verdict in verdicts} == decided
    says = Counter(verdict.id for verdict in verdicts if verdict.status == "answered")
    assert set(says) <= {e.id for e in given} and says.total() > 15


def abandoned(dsn: str) -> int:
    return stands(dsn).get("asking", 0)
