"""Control messages: what the schema promises is what is taken, and nothing that is written there raises."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from state.control import KINDS, MAX_BYTES, Control, Refusal, Suppression, decode, new_id
from state.schemas import SchemaError, control_schema, validate_control

T0 = 1_770_000_000_000_000
HEAD = {"version": 1, "id": "c-" + "0a" * 10, "author": "ann", "reason": "noise", "written_at": T0, "from_time": T0}
GOOD: dict[str, dict[str, Any]] = {
    "setting": {"name": "anomaly.least", "value": 4.5},
    "suppression": {"rule": "r-1", "entity": None, "until_time": T0 + 1},
    "verdict": {"target": "a-1", "verdict": "false_positive"},
    "activation": {"what": "rules", "artifact": "v2"},
}
#: Changes to a message that make it none.
BAD: list[dict[str, Any]] = [
    {"id": "c-1"}, {"id": "c-" + "0" * 20 + "\n"}, {"author": ""}, {"author": "a" * 257}, {"author": "a\nb"},
    {"reason": "x\n"}, {"reason": "\x1b[31mred"}, {"reason": "a\u202eb"}, {"reason": None}, {"reason": "x" * 1001},
    {"written_at": "2026-01-01"}, {"written_at": T0 + 0.5}, {"from_time": 0}, {"from_time": 4_102_444_800_000_000},
    {"from_time": 2**70}, {"from_time": -1}, {"version": "1"}, {"surprise": 1},
]  # fmt: skip
WORSE: dict[str, list[dict[str, Any]]] = {
    "setting": [{"name": ""}, {"name": 5}, {"value": []}, {"value": {}}, {"value": "x" * 1001}],
    "suppression": [{"rule": ""}, {"entity": 5}, {"until_time": "never"}],
    "verdict": [{"target": ""}, {"verdict": "maybe"}],
    "activation": [{"what": "weather"}, {"artifact": ""}],
}
FIELDS = [(kind, field) for kind in KINDS for field in (*HEAD, *GOOD[kind])]


def message(kind: str, **changes: Any) -> dict[str, Any]:
    return {"kind": kind, **HEAD, **GOOD[kind], **changes}


def told(given: dict[str, Any]) -> Control | Refusal:
    return decode(json.dumps(given).encode())


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_message_is_taken_and_written_as_it_was(kind: str) -> None:
    found = told(message(kind))
    assert isinstance(found, KINDS[kind])
    assert json.loads(found.encode()) == message(kind)
    validate_control(message(kind))
    assert found.key.startswith(kind.encode()) and found.key.endswith(found.id.encode())


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_is_that_of_the_code(kind: str) -> None:
    (_,), parts = msgspec.json.schema_components([KINDS[kind]], ref_template="#/$defs/{name}")
    schema = dict(control_schema(kind))
    Draft202012Validator.check_schema(schema)
    assert (schema.pop("$id"), schema.pop("$schema")) == (
        f"urn:winnow:schema:control.{kind}:1",
        "https://json-schema.org/draft/2020-12/schema",
    )
    assert schema.pop("title") == f"Winnow control message: {kind}, version 1"
    expected = parts.pop(KINDS[kind].__name__)
    del expected["title"]
    assert schema == expected and not parts


@pytest.mark.parametrize(
    ("kind", "changes"), [(k, c) for k in KINDS for c in (*BAD, *WORSE[k])], ids=lambda v: str(v)[:40]
)
def test_what_the_schema_refuses_is_refused(kind: str, changes: dict[str, Any]) -> None:
    found = told(message(kind, **changes))
    with pytest.raises(SchemaError):
        validate_control(message(kind, **changes))
    assert isinstance(found, Refusal) and found.reason == "bad_message"
    assert next(iter(changes)) in found.detail
    assert found.detail.isprintable()


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_a_missing_field_is_named(kind: str, field: str) -> None:
    given = message(kind)
    del given[field]
    found = told(given)
    assert isinstance(found, Refusal) and field in found.detail


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{", "malformed_json"),
        (b"[" * 10_000, "bad_message"),
        (b'{"kind":"setting","version":1,"value":' + b"[" * 10_000, "malformed_json"),
        (b"\xff", "not_utf8"),
        (b"x" * (MAX_BYTES + 1), "too_large"),
        (b"3", "bad_message"),
        (b'{"kind":"wish","version":1}', "unknown_kind"),
        (b'{"kind":"\\u001b[2J","version":1}', "unknown_kind"),
        (b'{"kind":"setting","version":2}', "unknown_version"),
        (b'{"kind":"setting","version":99999999999999999999999}', "unknown_version"),
    ],
)
def test_what_is_no_message_is_refused_with_its_reason(raw: bytes | None, reason: str) -> None:
    found = decode(raw)
    assert isinstance(found, Refusal) and found.reason == reason
    assert found.detail.isprintable() and len(found.detail) <= Refusal.limit


def test_a_suppression_of_everything_or_of_no_time_is_refused() -> None:
    for changes in ({"rule": None, "entity": None}, {"until_time": T0}):
        found = told(message("suppression", **changes))
        assert isinstance(found, Refusal) and found.reason == "bad_message"


def test_a_suppression_may_name_fields_of_the_event_within_bounds() -> None:
    given = message("suppression", fields={"User": "svc-*", "ünï": "x" * 512})
    found = told(given)
    assert isinstance(found, Suppression) and json.loads(found.encode()) == given
    validate_control(given)
    for fields in ({str(n): "x" for n in range(9)}, {"": "x"}, {"a": ""}, {"a": "x" * 513}, {"a": "x\n"}, {"a": 1}):
        refused = told(message("suppression", fields=fields))
        assert isinstance(refused, Refusal) and "fields" in refused.detail
        with pytest.raises(SchemaError):
            validate_control(message("suppression", fields=fields))


def test_the_end_of_a_suppression_names_only_that() -> None:
    nothing: dict[str, Any] = {"rule": None, "entity": None, "until_time": None}
    end = message("suppression", **nothing, removes="c-" + "0b" * 10)
    found = told(end)
    assert isinstance(found, Suppression) and found.subject == "c-" + "0b" * 10
    validate_control(end)
    for more in ({"rule": "r"}, {"entity": "h"}, {"until_time": T0 + 1}, {"fields": {"a": "b"}}, {"removes": "x"}):
        assert isinstance(told({**end, **more}), Refusal)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(st.sampled_from(sorted(KINDS)), st.data())
def test_no_value_anywhere_raises(kind: str, data: st.DataObject) -> None:
    field = data.draw(st.sampled_from(sorted(message(kind))))
    decode(json.dumps({**message(kind), field: data.draw(json_values)}).encode())


@given(st.binary(max_size=200))
def test_no_bytes_raise(raw: bytes) -> None:
    decode(raw)


def test_ids_are_valid() -> None:
    assert isinstance(told(message("setting", id=new_id())), Control)
