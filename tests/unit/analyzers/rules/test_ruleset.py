"""The batch interface: who matched, why, and what happens when something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from analyzers.rules import RuleSet
from analyzers.rules.reasons import MAX_REASON, printable, reason
from state.events import Event, Fields, Kind

Load = Callable[..., RuleSet]
Make = Callable[..., dict[str, Any]]
MakeEvent = Callable[..., Event]

SECURITY = Kind("windows.security", "authentication", "logon-failed", channel="Security", code=4625)


def test_matches_come_in_order_of_event_then_rule(rule_set: Load, make_rule: Make, make_event: MakeEvent) -> None:
    rules = rule_set(
        make_rule({"sel": {"A": 1}, "condition": "sel"}, title="first"),
        make_rule(
            {"sel": {"A|gt": 0}, "condition": "sel"}, {"product": "windows", "service": "security"}, title="second"
        ),
        make_rule({"sel": {"B": 1}, "condition": "sel"}, title="third"),
    )
    events = [make_event(SECURITY, offset) for offset in range(3)]
    fields: list[Fields] = [{"A": 1, "B": 1}, {"A": 7}, {"B": 1}]
    found = rules.match_batch(events, lambda event: fields[event.offset])
    assert [(match.index, match.rule.title) for match in found] == [
        (0, "first"), (0, "second"), (0, "third"), (1, "second"), (2, "third"),
    ]  # fmt: skip


def test_fields_are_not_decoded_for_events_that_no_rule_concerns(
    rule_set: Load, make_rule: Make, make_event: MakeEvent
) -> None:
    rules = rule_set(
        make_rule({"sel": {"EventID": 4624}, "condition": "sel"}, {"product": "windows", "service": "security"})
    )
    asked: list[int] = []

    def fields(event: Event) -> Fields:
        asked.append(event.offset)
        return {"EventID": event.kind.code}

    success = Kind("windows.security", "authentication", "logon-succeeded", channel="Security", code=4624)
    events = [
        make_event(SECURITY, 0),
        make_event(Kind("zeek.conn", "network", "connection"), 1),
        make_event(success, 2),
    ]
    assert [match.index for match in rules.match_batch(events, fields)] == [2]
    assert asked == [2]
    assert rules.concerns(success) == rules.rules
    assert rules.concerns(SECURITY) == ()


def test_equal_kinds_that_are_not_the_same_object_are_judged_alike(
    rule_set: Load, make_rule: Make, make_event: MakeEvent
) -> None:
    rules = rule_set(make_rule({"sel": {"A": 1}, "condition": "sel"}))
    events = [make_event(Kind("windows.test", "host", "test", channel="Test"), offset) for offset in range(50)]
    assert len(rules.match_batch(events, lambda _: {"A": 1})) == 50


def test_an_event_whose_fields_cannot_be_read_is_counted_and_harms_no_other(
    rule_set: Load, make_rule: Make, make_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    rules = rule_set(make_rule({"sel": {"A": 1}, "condition": "sel"}))

    def fields(event: Event) -> Fields:
        if event.offset == 1:
            raise ValueError("secret data")
        return {"A": 1}

    found = rules.match_batch([make_event(offset=offset) for offset in range(3)], fields)
    assert [match.index for match in found] == [0, 2]
    assert rules.failures == 1
    assert "test-0-1" in caplog.text and "secret data" not in caplog.text


def test_the_reason_names_fields_and_values(rule_set: Load, make_rule: Make, make_event: MakeEvent) -> None:
    detection = {
        "sel": {"Image|endswith": ["\\a.exe", "\\cmd.exe"], "User": None},
        "filter": {"Parent": "x"},
        "condition": "sel and not filter",
    }
    rules = rule_set(make_rule(detection))
    (match,) = rules.match_batch([make_event()], lambda _: {"Image": "C:\\CMD.exe"})
    assert match.reason == 'Image="C:\\CMD.exe" (endswith \\cmd.exe); User (is null)'


def test_a_rule_of_exclusions_only_has_a_reason(rule_set: Load, make_rule: Make, make_event: MakeEvent) -> None:
    rules = rule_set(make_rule({"filter": {"A": 1}, "condition": "not filter"}))
    (match,) = rules.match_batch([make_event()], lambda _: {"A": 2})
    assert match.reason == "none of the excluded values is present"


def test_log_data_in_a_reason_is_bounded_and_cannot_disturb_a_line() -> None:
    text = reason([(f"F{i}", "contains x", "line\nnext\x1b[31m\u202e" + "x" * 10_000) for i in range(100)])
    assert len(text) <= MAX_REASON
    assert text.isprintable()
    assert printable("a\r\nb\x00") == "a\\r\\nb\\x00"


def test_many_spellings_of_fields_do_not_grow_without_bound(
    rule_set: Load, make_rule: Make, make_event: MakeEvent
) -> None:
    rules = rule_set(make_rule({"sel": {"abcdefgh": 1}, "condition": "sel"}))
    spellings = ["".join(c.upper() if i >> n & 1 else c for n, c in enumerate("abcdefgh")) for i in range(256)]
    for name in spellings * 2:
        assert rules.match_batch([make_event()], lambda _, name=name: {name: 1})
    assert len(rules._spellings.others("abcdefgh") or ()) < 100


def test_no_rules_match_nothing(make_event: MakeEvent) -> None:
    assert RuleSet.of([], []).match_batch([make_event()], lambda _: {"A": 1}) == []
