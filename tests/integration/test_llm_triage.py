"""The LLM lane as a whole: an escalation comes in and its verdict goes out, whatever the endpoint does."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from state.escalations import decode_verdict
from state.revisions import migrate
from tests.integration.live import create_topic, send, stored
from tests.integration.llm_double import Double, answer, serving
from tests.integration.llm_lane import ended, environment, escalation, triaging, until


def test_an_escalation_is_asked_about_once_and_its_verdict_is_published(
    kafka: str, postgres_dsn: str, topic_name: str
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
            told = subprocess.run(
                [sys.executable, "-m", "flows.cli", "triage", "--status"],
                env={**os.environ, **variables},
                capture_output=True,
                check=True,
            )
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
    found = json.loads(told.stdout)
    assert (found["answered"], found["waiting"], found["cached"]) == (2, 0, 1)
    assert found["hour"]["calls"] == 1 and found["hour"]["money"] == pytest.approx(paid.cost)
