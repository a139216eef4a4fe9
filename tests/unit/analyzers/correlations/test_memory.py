"""Memory stays bounded whatever is sent; what was forgotten is counted, and what is said then says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from analyzers.correlations.correlator import Correlator
from analyzers.correlations.hits import Hits
from analyzers.correlations.settings import CorrelationSettings
from analyzers.rules import RuleSet
from tests.unit.analyzers.correlations.conftest import END_OF_TIME, START, hit, run

Load = Callable[[str], RuleSet]
RULES = """
title: Many
name: many
correlation: {type: event_count, rules: [x], group-by: [user], timespan: 1h, condition: {gte: 3}}
---
title: x
name: x
logsource: {product: windows}
detection: {sel: {A: x}, condition: sel}
"""
SMALL = CorrelationSettings(memory_mb=1)


def test_a_flood_of_users_is_forgotten_in_order_and_said_to_be_inexact(load: Load) -> None:
    rules = load(RULES)
    correlator = Correlator(["t-0"], SMALL)
    flood = [hit(rules, number / 100, number, ["x"], {"user": f"user{number}"}) for number in range(5_000)]
    attack = [hit(rules, 60 + number, 6_000 + number, ["x"], {"user": "root"}) for number in range(3)]
    early = [hit(rules, 70, 7_000 + number, ["x"], {"user": "user0"}) for number in range(2)]
    correlator.add(Hits("t-0", END_OF_TIME - 1, flood + attack + early, rules.correlations))
    said = correlator.release()
    assert correlator.take_evicted() > 1_000
    assert len(correlator.snapshot()) < 2_000_000
    # The first user's first event is forgotten, so two more are not three; of root all are known.
    (signal,) = [each.signal for each in said]
    assert "user root" in signal.reason
    assert "not exact" in signal.reason


def test_groups_are_forgotten_when_their_window_has_passed(load: Load) -> None:
    rules = load(RULES)
    correlator = Correlator(["t-0"], CorrelationSettings())
    hits = [hit(rules, number, number, ["x"], {"user": f"user{number}"}) for number in range(100)]
    correlator.add(Hits("t-0", START + 3_600_000_000, hits, rules.correlations))
    correlator.release()
    assert correlator.groups == 99
    correlator.add(Hits("t-0", START + 3_700_000_000))
    correlator.release()
    assert correlator.groups == 0
    assert correlator.take_evicted() == 0


def test_who_is_forgotten_does_not_depend_on_when_it_was_looked(load: Load) -> None:
    rules = load(RULES)
    hits = [hit(rules, number / 10, number, ["x"], {"user": f"user{number % 2_900}"}) for number in range(9_000)]
    at_once = run(rules, hits, SMALL)
    correlator = Correlator(["t-0"], SMALL)
    bit_by_bit = []
    for number in range(0, len(hits), 700):
        batch = hits[number : number + 700]
        correlator.add(Hits("t-0", batch[-1].place + 1, batch, rules.correlations))
        bit_by_bit += [said.signal for said in correlator.release()]
        state = correlator.snapshot()
        correlator = Correlator(["t-0"], SMALL)
        correlator.restore(state)
    assert at_once == bit_by_bit


def test_the_values_of_one_window_are_bounded_and_beyond_that_inexact(load: Load) -> None:
    rules = load(RULES.replace("type: event_count", "type: value_count").replace("{gte: 3}", "{field: f, neq: 1}"))
    hits = [hit(rules, number / 10, number, ["x"], {"user": "root", "f": str(number)}) for number in range(10_050)]
    (signal,) = run(rules, hits)
    assert "10,000 different values" in signal.reason
    assert "not exact" in signal.reason


def test_a_sum_of_more_events_than_are_kept_is_too_low_and_that_is_counted(load: Load) -> None:
    rules = load(RULES.replace("type: event_count", "type: value_sum").replace("{gte: 3}", "{field: f, gt: 20001}"))
    hits = [hit(rules, number / 10, number, ["x"], {"user": "root", "f": "2"}) for number in range(10_050)]
    correlator = Correlator(["t-0"], CorrelationSettings())
    correlator.add(Hits("t-0", END_OF_TIME, hits, rules.correlations))
    assert not correlator.release()
    assert correlator.take_evicted() == 50


def test_a_snapshot_of_another_version_is_refused(load: Load) -> None:
    correlator = Correlator(["t-0"], CorrelationSettings())
    state = correlator.snapshot()
    changed = state.replace(b"\xa7version\x01", b"\xa7version\x63")
    assert changed != state
    with pytest.raises(ValueError, match="version 99"):
        correlator.restore(changed)
