"""What an analyst does not want is not alerted, and nothing else: not before, not after, not by a slip of the pen."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers import suppressions
from analyzers.control import Timeline, Told, read
from analyzers.suppressions import Suppressions
from state.alerts import Level
from state.control import EARLIEST, Refusal, Suppression, new_id

T = EARLIEST + 10**15


def entry(rule: str | None = None, entity: str | None = None, since: int = T, **more: Any) -> Suppression:
    return Suppression(
        version=1, id=new_id(), author="ann", reason="why", written_at=T, from_time=since, rule=rule, entity=entity,
        until_time=more.pop("until", None), **more,
    )  # fmt: skip


def end(of: Suppression, at: int) -> Suppression:
    return entry(None, None, at, removes=of.id)


def known(*messages: Suppression) -> Suppressions:
    found = Suppressions()
    for offset, message in enumerate(messages):
        assert found.add(message, offset) is None
    return found


def met(found: Suppressions, rule: str = "r1", entity: str = "web-1", time: int = T, **more: Any) -> str:
    fields = more.get("fields")
    return found.find(
        more.get("kind", "rule"), rule, entity, more.get("level", Level.medium), time,
        None if fields is None else lambda: fields,
    )  # fmt: skip


def test_it_holds_from_its_event_time_until_the_next_and_no_longer() -> None:
    told = entry("r1", "web-1", T, until=T + 100)
    assert [bool(met(known(told), time=T + d)) for d in (-1, 0, 99, 100)] == [False, True, True, False]
    removed = known(told, end(told, T + 50), end(told, T + 70))
    assert [bool(met(removed, time=T + d)) for d in (-1, 0, 49, 50, 99)] == [False, True, True, False, False]
    assert not met(known(told, end(told, T - 1)), time=T)


@pytest.mark.parametrize(
    ("told", "signal", "fits"),
    [
        (entry("r1"), {}, True),
        (entry("R1", "WEB-1"), {}, True),
        (entry("r1", "web-2"), {}, False),
        (entry("r"), {}, False),
        (entry(None, "web-1"), {"rule": "any"}, True),
        (entry(None, "web-1"), {"entity": "web-10"}, False),
        (entry("failed_logins"), {"rule": "failed_logins:peak", "kind": "threshold"}, True),
        (entry("failed_logins:dip"), {"rule": "failed_logins:peak", "kind": "anomaly"}, False),
        (entry("failed_logins"), {"rule": "failed_logins:peak", "kind": "alert"}, False),
        (entry(None, "web-1"), {"rule": "", "level": Level.critical}, False),
    ],
)
def test_rule_and_entity_are_compared_whole_and_in_any_case(
    told: Suppression, signal: dict[str, Any], fits: bool
) -> None:
    assert bool(met(known(told), **signal)) is fits


@pytest.mark.parametrize(("level", "hidden"), [(Level.medium, True), (Level.high, False), (Level.critical, False)])
def test_whoever_silences_a_host_does_not_silence_its_worst(level: Level, hidden: bool) -> None:
    assert bool(met(known(entry(None, "web-1")), level=level)) is hidden
    assert met(known(entry(None, "web-1"), entry("r1", "web-1")), level=level)


def test_fields_are_asked_for_only_where_rule_and_entity_fit_and_all_must_be_met() -> None:
    found = known(entry("r1", fields={"User": "svc-*", "Image": "*\\Tool.exe"}))
    event = {"user": "SVC-backup", "Image": "C:\\x\\tool.EXE", "List": ["a", "b"], "n": 5, "none": None}
    assert met(found, fields=event)
    assert not met(found, fields=event | {"user": "alice"})
    assert not met(found, fields={"user": "svc-x"})
    assert not met(found)  # of no event

    def never() -> dict[str, Any]:
        raise AssertionError("fields were decoded for nothing")

    assert found.find("rule", "r2", "web-1", Level.low, T, never) == ""
    assert found.find("rule", "r1", "web-1", Level.low, T - 1, never) == ""
    for name, value, fits in (("list", "B", True), ("N", "5", True), ("none", "*", False), ("gone", "*", False)):
        assert bool(met(known(entry("r1", fields={name: value})), fields=event)) is fits


@given(st.text("ab*", max_size=8).filter(bool), st.text("ab", max_size=8))
def test_a_star_stands_for_any_text(pattern: str, text: str) -> None:
    wanted = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None
    assert bool(met(known(entry("r1", fields={"f": pattern})), fields={"f": text})) is wanted


def test_of_several_the_first_told_counts_whatever_order_they_are_met_in() -> None:
    told = [entry("r1"), entry("r1", "web-1"), entry(None, "web-1")]
    for seed in range(6):
        order = random.Random(seed).sample(list(enumerate(told)), 3)
        found = Suppressions()
        for offset, message in order * 2:
            assert found.add(message, offset) is None
        assert met(found) == told[0].id
        assert met(found, rule="r2") == told[2].id
        assert len(found) == 3


def test_what_cannot_be_taken_in_is_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    timeline = Timeline()
    told = entry("r1")
    wrong = read(end(told, T).encode(), 0, timeline)
    assert isinstance(wrong, Refusal) and wrong.reason == "unknown_suppression"
    assert isinstance(read(told.encode(), 1, timeline), Told)
    copy = timeline.copy()
    assert isinstance(read(end(told, T).encode(), 2, timeline), Told)
    assert (met(timeline.suppressions), met(copy.suppressions)) == ("", told.id)
    monkeypatch.setattr(suppressions, "MAX_SUPPRESSIONS", 1)
    full = read(entry("r2").encode(), 3, timeline)
    assert isinstance(full, Refusal) and full.reason == "too_many"
