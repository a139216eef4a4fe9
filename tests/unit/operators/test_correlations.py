"""The step around correlations: who is remembered, what is too low to be said, and a restart in between."""

from __future__ import annotations

from pathlib import Path

import msgspec

from analyzers.anomaly.barrier import WindowClosed
from analyzers.control import Timeline
from analyzers.correlations.hits import Hits
from analyzers.correlations.settings import CorrelationSettings
from analyzers.incidents.minutes import Minutes
from analyzers.incidents.sightings import Heard
from analyzers.rules import RuleSet
from operators.correlations import CorrelationLogic, CorrelationOut
from operators.roster import HostForgotten
from state.alerts import Level, Signal
from tests.unit.analyzers.correlations.conftest import hit

RULES = """
title: Twice
correlation: {type: event_count, rules: [x], group-by: [user], timespan: 1m, condition: {gte: 2}}
level: low
---
title: x
name: x
logsource: {product: windows}
detection: {sel: {A: x}, condition: sel}
"""


def load(tmp_path: Path) -> RuleSet:
    (tmp_path / "a.yml").write_text(RULES)
    return RuleSet.load(tmp_path)


def twice(rules: RuleSet, second: int, offset: int, user: str) -> Hits:
    """Return two events of a user on two hosts."""
    hits = [hit(rules, second, offset + n, ["x"], {"user": user}, f"host-{n}") for n in range(2)]
    return Hits("t-0", hits[0].place + 1, hits, rules.correlations)


def logic(state: bytes | None = None, lowest: Level = Level.low) -> CorrelationLogic:
    return CorrelationLogic(["t-0"], CorrelationSettings(entities=100), lowest, Timeline(), state)


def test_invented_names_do_not_fill_the_memory_of_alerts(tmp_path: Path) -> None:
    rules, step = load(tmp_path), logic()
    out: list[CorrelationOut] = []
    for number in range(150):
        out += step.on_batch([twice(rules, number, number * 2, f"user{number}")])[0]
        if number == 120:
            step = logic(step.snapshot())
    said = [each for each in out if isinstance(each, Signal)]
    gone = [each for each in out if isinstance(each, HostForgotten)]
    assert [signal.entity for signal in said] == [f"user{number}" for number in range(150)]
    assert [each.host for each in gone] == [f"user{number}" for number in range(50)]
    assert gone[0].before == said[0].time + 1


def test_a_correlation_below_the_lowest_level_is_not_said(tmp_path: Path) -> None:
    rules = load(tmp_path)
    said = list(logic(lowest=Level.medium).on_batch([twice(rules, 0, 0, "anna")])[0])
    assert not [each for each in said if isinstance(each, Signal | Heard)]


def test_incidents_hear_each_correlation_once_and_then_that_its_minute_is_over(tmp_path: Path) -> None:
    rules, step = load(tmp_path), logic()
    minutes = Minutes(1)
    sightings = []
    for number, second in enumerate((5, 15, 70, 200)):
        for each in step.on_batch([twice(rules, second, number * 2, f"user{number % 2}")])[0]:
            if isinstance(each, Heard):
                minutes.hear(each)
            elif isinstance(each, WindowClosed):
                minutes.close(msgspec.structs.replace(each, shard=0))
        found = [sighting for minute in minutes.release() for sighting in minute.sightings]
        sightings += [(sighting.minute // 60_000_000 % 60, sighting.host, sighting.links) for sighting in found]
        step = logic(step.snapshot())  # a restart between any two batches changes nothing
    assert sightings == [(0, "user0", ("user:user0",)), (0, "user1", ("user:user1",)), (1, "user0", ("user:user0",))]
