"""Messages of the LLM lane: what the schema promises is what is taken, and what is no message is a ValueError."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from state.escalations import (
    MAX_BYTES,
    Citation,
    Escalation,
    HostContext,
    LlmVerdict,
    Raised,
    decode_escalation,
    decode_verdict,
    escalation_id,
)
from state.schemas import escalation_schema, llm_verdict_schema

T0 = 1_770_000_000_000_000
RAISED = Raised(kind="rule", rule="r", name="R", level="high", time=T0)
ESCALATION = Escalation(
    id=escalation_id("t-0-1"), event_id="t-0-1", host="h", time=T0, source="s", format="f", fields={"a": "b"},
    raised=(RAISED,), context=HostContext(recent=(RAISED,)), versions={"rules": "v1"},
)  # fmt: skip
VERDICT = LlmVerdict(
    id=escalation_id("t-0-1"), event_id="t-0-1", host="h", time=T0, status="answered", verdict="malicious",
    severity="high", confidence=0.5, techniques=("T1059.001",), explanation="x", answered_at=T0,
    citations=(Citation(event_id="t-0-1", field="a"),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "schema", "message"),
    [
        ("escalation", Escalation, escalation_schema(), ESCALATION),
        ("llm_verdict", LlmVerdict, llm_verdict_schema(), VERDICT),
    ],
)
def test_the_schema_is_that_of_the_code(name: str, kind: Any, schema: dict[str, Any], message: Any) -> None:
    (_,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    found = dict(schema)
    Draft202012Validator.check_schema(found)
    assert found.pop("$id") == f"urn:winnow:schema:{name}:1"
    assert found.pop("$schema") == "https://json-schema.org/draft/2020-12/schema"
    assert found.pop("title").endswith(", version 1")
    expected = json.loads(msgspec.json.encode(parts.pop(kind.__name__)))
    del expected["title"]
    assert found.pop("$defs", {}) == json.loads(msgspec.json.encode(parts))
    assert found == expected
    Draft202012Validator(schema).validate(json.loads(message.encode()))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "x-1"}, {"id": None}, {"version": 2}, {"time": -1}, {"stakes": 1.5}, {"surprise": 1},
        {"fields": {"a": 1}}, {"fields": {str(n): "" for n in range(65)}}, {"fields": {"a": "x" * 2_049}},
        {"host": "h" * 513}, {"raised": [{}]}, {"versions": {str(n): "" for n in range(17)}},
    ],
)  # fmt: skip
def test_what_the_schema_refuses_is_refused(changes: dict[str, Any]) -> None:
    message = json.loads(ESCALATION.encode()) | changes
    assert not Draft202012Validator(escalation_schema()).is_valid(message)
    with pytest.raises(ValueError):
        decode_escalation(json.dumps(message).encode())


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b"null", b"[" * 200_000, b" " * (MAX_BYTES + 1), b'{"id": "x"}']
)
def test_what_is_no_message_is_a_value_error(raw: bytes) -> None:
    for decode in (decode_escalation, decode_verdict):
        with pytest.raises(ValueError):
            decode(raw)


def test_messages_come_back_as_they_were() -> None:
    assert decode_escalation(ESCALATION.encode()) == ESCALATION
    assert decode_verdict(VERDICT.encode()) == VERDICT
