"""Every attack raises an alert that names it; ordinary work raises none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

import analyzers.rules
from analyzers.correlations.correlator import Correlator
from analyzers.correlations.hits import Hits
from analyzers.correlations.settings import CorrelationSettings
from analyzers.metrics import MetricSet, Partial
from analyzers.rules import RuleSet
from flows.traffic import SCENARIOS, Fleet, Message, Scenario, Traffic, TrafficSettings
from flows.traffic import scenarios as package
from flows.traffic.clock import HOUR, MINUTE, SECOND
from operators.batch import END_OF_TIME, Batch
from operators.formats import Decoder, FormatSettings
from operators.rules import Judge

START = 1_704_672_000 * SECOND + 9 * HOUR
RULES = RuleSet.load([Path(analyzers.rules.__file__).parent / "builtin"])
METRICS = MetricSet.load()


def alerts(messages: Iterable[Message]) -> set[str]:
    """Return the names of what shipped rules, correlations and metric thresholds say about messages."""
    decoders: dict[tuple[str, str], Decoder] = {}
    batches: dict[tuple[str, str], list[Message]] = defaultdict(list)
    for message in messages:
        batches[message.format, message.host if message.format == "apache" else ""].append(message)
    windows: dict[tuple[int, str], Partial] = defaultdict(Partial)
    names: set[str] = set()
    correlator = Correlator(["t-0"], CorrelationSettings())
    for (name, host), batch in batches.items():
        decoder = decoders.setdefault((name, host), Decoder("t-0", FormatSettings(), default_host=host))
        events = decoder.decode_batch([m.value for m in batch], range(len(batch)), batch[-1].time).events
        judged = Judge(lambda _: RULES).judge(Batch("t-0", 0, 0, 0, events, consumed=len(events)))
        names |= {signal.name for signals in judged.signals.values() for signal in signals}
        if judged.hits is not None:
            correlator.add(judged.hits)
        for event in events:
            METRICS.count(windows[event.time // MINUTE, event.host], [event])
    correlator.add(Hits("t-0", END_OF_TIME))
    names |= {said.signal.name for said in correlator.release()}
    for partial in windows.values():
        for index, value in partial.values().items():
            metric = METRICS.metrics[index]
            if metric.peak and metric.threshold is not None and value >= metric.threshold:
                names.add(metric.peak.name)
    return names


def test_each_module_is_found_as_a_scenario() -> None:
    modules = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(SCENARIOS) == modules
    assert all(isinstance(scenario, Scenario) for scenario in SCENARIOS.values())


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
class TestScenario:
    def test_tells_people_and_tests_what_it_is(self, scenario: Scenario) -> None:
        assert scenario.title and scenario.techniques and scenario.expects
        assert all(technique.startswith("T1") for technique in scenario.techniques)

    def test_tags_and_orders_its_messages(self, scenario: Scenario) -> None:
        messages = scenario.generate(Random(1), Fleet.build(12), START, "x-1")
        assert {(m.truth, m.attack_id) for m in messages} == {(scenario.name, "x-1")}
        assert [m.time for m in messages] == sorted(m.time for m in messages)
        assert messages[0].time >= START

    def test_chooses_its_victim_at_random(self, scenario: Scenario) -> None:
        fleet = Fleet.build(12)
        victims = {scenario.generate(Random(seed), fleet, START)[0].host for seed in range(20)}
        assert len(victims) >= 2

    @pytest.mark.parametrize("seed", range(6))
    def test_raises_an_alert_that_names_it(self, scenario: Scenario, seed: int) -> None:
        # Starts anywhere in a minute: thresholds hold of whole minutes.
        start = START + seed * 11 * SECOND
        assert alerts(scenario.generate(Random(seed), Fleet.build(12), start)) & set(scenario.expects)

    def test_works_on_the_smallest_fleet(self, scenario: Scenario) -> None:
        assert scenario.generate(Random(1), Fleet.build(4), START)


def test_ordinary_work_raises_no_alert() -> None:
    traffic = Traffic(11, START, TrafficSettings(attacks_per_hour=0))
    assert alerts(traffic.messages(START + 10 * MINUTE)) == set()


def test_backups_and_updates_raise_no_alert() -> None:
    night = START - 8 * HOUR
    traffic = Traffic(11, night, TrafficSettings(attacks_per_hour=0))
    assert alerts(traffic.messages(night + 30 * MINUTE)) == set()
