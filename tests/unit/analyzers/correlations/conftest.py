from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from analyzers.correlations.correlator import Correlator
from analyzers.correlations.hits import Hit, Hits, Matched
from analyzers.correlations.settings import CorrelationSettings
from analyzers.rules import RuleSet
from state.alerts import Signal

SECOND = 1_000_000
#: A time in event time, µs.
START = 1_704_700_800_000_000
END_OF_TIME = 2**62


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], RuleSet]:
    """Load rules from one text of YAML documents."""

    def of(text: str) -> RuleSet:
        (tmp_path / "rules.yml").write_text(text, encoding="utf-8")
        rules = RuleSet.load(tmp_path)
        assert not rules.problems, rules.problems
        return rules

    return of


def hit(
    rules: RuleSet, seconds: float, offset: int, names: Sequence[str], values: dict[str, str], host: str = "web-1"
) -> Hit:
    """Return an event at some seconds that met the rules of some names, and has some values."""
    ids = {rule.name: rule.id for rule in rules.rules}
    feedings = [feeding for name in names if (feeding := rules.feeds.get(ids[name])) is not None]
    concerned = {each.digest: each for feeding in feedings for each in feeding.correlations}
    ordered = sorted(concerned.values(), key=lambda each: (each.depth, each.rule.id, each.digest))
    time = START + round(seconds * SECOND)
    matches = tuple(Matched(ids[name], values) for name in names)
    digests = tuple(each.digest for each in ordered)
    return Hit(time, "t-0", offset, time, host, b"raw", matches, digests, "v")


def run(rules: RuleSet, hits: Iterable[Hit], settings: CorrelationSettings | None = None) -> list[Signal]:
    """Return what correlations say of some events, to the end of time."""
    correlator = Correlator(["t-0"], settings or CorrelationSettings())
    correlator.add(Hits("t-0", START, list(hits), rules.correlations))
    said = [said.signal for said in correlator.release()]
    correlator.add(Hits("t-0", END_OF_TIME))
    return said + [each.signal for each in correlator.release()]
