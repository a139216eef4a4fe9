"""A backtest that miscounts lets a bad rule through: what is added, removed and kept, by day, with where and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from analyzers.rules import RuleSet
from analyzers.rules.backtest import MAX_TIMED, Backtest, costs
from analyzers.rules.documents import differences, read
from analyzers.rules.loading import load
from state.events import Event, Kind

Make = Callable[..., dict[str, Any]]
ANY = Kind("windows.test", "host", "test", channel="Test")
DAY = 86_400_000_000
IDS = [f"{digit * 8}-1111-4111-8111-111111111111" for digit in "123456"]


def folder(path: Path, *rules: dict[str, Any]) -> Path:
    path.mkdir()
    for i, rule in enumerate(rules):
        (path / f"{i}.yml").write_text(yaml.safe_dump(rule, sort_keys=False))
    return path


@pytest.fixture
def rule(make_rule: Make) -> Make:
    def make(i: int, value: int, **more: Any) -> dict[str, Any]:
        return make_rule({"sel": {"a": value}, "condition": "sel"}, id=IDS[i], title=f"Rule {i}", **more)

    return make


class TestDifferences:
    def test_each_rule_has_one_fate(self, tmp_path: Path, rule: Make) -> None:
        old = folder(tmp_path / "old", rule(0, 1), rule(1, 1), rule(2, 1), rule(3, 1))
        new = folder(tmp_path / "new", rule(5, 1), rule(3, 1), rule(1, 2), rule(2, 1, level="low"))
        found = differences(read([old]), read([new]))
        named = {
            name: [d.key for d in getattr(found, name)] for name in ("new", "removed", "changed", "reworded")
        }  # fmt: skip
        assert named == {"new": [IDS[5]], "removed": [IDS[0]], "changed": [IDS[1]], "reworded": [IDS[2]]}
        assert found.unchanged == 1

    def test_order_of_keys_case_of_ids_and_comments_change_nothing(self, tmp_path: Path, rule: Make) -> None:
        written = rule(0, 1)
        old = folder(tmp_path / "old", written)
        new = folder(tmp_path / "new", {**dict(reversed(written.items())), "id": IDS[0].upper()})
        text = (new / "0.yml").read_text()
        (new / "0.yml").write_text(f"# a comment\n{text.replace(IDS[0].upper(), IDS[0])}")
        assert differences(read([old]), read([new])).unchanged == 1

    def test_filters_count_for_themselves_and_what_is_no_rule_is_named(self, tmp_path: Path, rule: Make) -> None:
        one = folder(tmp_path / "one", rule(0, 1), rule(0, 2))
        (one / "bad.yml").write_text("a: [")
        sigma_filter = {"title": "F", "logsource": {"product": "windows"}, "filter": {"rules": "any"}}
        two = folder(tmp_path / "two", rule(0, 1), sigma_filter)
        first, second = read([one]), read([two])
        assert first.repeated == (IDS[0],) and first.unreadable == (str(one / "bad.yml"),)
        assert first.filters == "" != second.filters and second.filter_paths == (str(two / "1.yml"),)

    def test_aliases_that_multiply_are_read_in_no_time(self, tmp_path: Path, rule: Make) -> None:
        path = folder(tmp_path / "bomb", rule(0, 1))
        layers = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 30))
        (path / "0.yml").write_text(f"title: B\nid: {IDS[0]}\nl0: &l0 [x]\n{layers}detection: {{s: {{a: *l29}}}}\n")
        assert read([path]).unreadable == (str(path / "0.yml"),)


def events(*values: tuple[int, int]) -> tuple[list[Event], dict[int, dict[str, Any]]]:
    """Return events of (day, value of ``a``), and their fields by line."""
    made = [Event("f-0", i, day * DAY, "h", ANY, b"{}", "test") for i, (day, _) in enumerate(values)]
    return made, {i: {"a": value} for i, (_, value) in enumerate(values)}


def test_matches_are_counted_by_rule_and_day_with_the_first_ones_quoted(tmp_path: Path, rule: Make) -> None:
    old = RuleSet.load(folder(tmp_path / "old", rule(0, 1), rule(1, 1), rule(2, 3)))
    new = RuleSet.load(folder(tmp_path / "new", rule(0, 1), rule(1, 2), rule(5, 2)))
    batch, by_line = events((1, 1), (1, 2), (2, 2), (2, 3), (2, 1))
    test = Backtest(new, old, frozenset({IDS[0]}), samples=1)
    test.add("f.json", batch, lambda event: by_line[event.offset])
    counts = {t.rule.id: (t.counts.added, t.counts.removed, t.counts.kept) for t in test.tallies.values()}
    assert counts == {IDS[0]: (0, 0, 2), IDS[1]: (2, 2, 0), IDS[2]: (0, 1, 0), IDS[5]: (2, 0, 0)}
    by_day = {day: (c.added, c.removed, c.kept) for day, c in test.days.items()}
    assert by_day == {1: (2, 1, 1), 2: (2, 2, 1)}
    assert [(s.verdict, s.place, s.reason) for s in test.tallies[IDS[1]].samples] == [
        ("added", "f.json:1", 'a="2" (is 2)'),
        ("removed", "f.json:0", 'a="1" (is 1)'),
    ]
    assert (test.totals.added, test.totals.removed, test.totals.kept) == (4, 3, 2)


def test_leaving_the_same_rules_out_of_the_baseline_changes_no_count(tmp_path: Path, rule: Make) -> None:
    rules = folder(tmp_path / "old", rule(0, 1), rule(1, 1))
    new = RuleSet.load(folder(tmp_path / "new", rule(0, 1), rule(1, 2)))
    batch, by_line = events((1, 1), (1, 2))
    totals = []
    for baseline, same in (
        (RuleSet.load(rules), frozenset[str]()),
        (RuleSet.load(rules / "1.yml"), frozenset({IDS[0]})),
    ):
        test = Backtest(new, baseline, same, samples=0)
        test.add("f", batch, lambda event: by_line[event.offset])
        totals.append(test.totals)
        assert all(not tally.samples for tally in test.tallies.values())
    assert totals[0] == totals[1]


def test_the_events_that_rules_are_timed_on_are_bounded_and_from_the_whole_run(tmp_path: Path, rule: Make) -> None:
    rules = RuleSet.load(folder(tmp_path / "rules", rule(0, 1)))
    test = Backtest(rules, rules, frozenset(IDS), samples=0)
    for start in range(0, 20 * MAX_TIMED, MAX_TIMED):
        test.add("f", [Event("f-0", start + i, 0, "h", ANY, b"{}", "t") for i in range(MAX_TIMED)], lambda _: {"a": 2})
    lines = sorted(event.offset for event in test.timed)
    assert len(lines) == MAX_TIMED and test.events == 20 * MAX_TIMED
    # A uniform sample has about half of its lines in either half.
    assert 0.35 < sum(line < 10 * MAX_TIMED for line in lines) / MAX_TIMED < 0.65


def test_cost_is_told_of_the_rules_that_the_events_concern(tmp_path: Path, rule: Make) -> None:
    other = {**rule(1, 1), "logsource": {"product": "zeek", "service": "dns"}}
    compiled = load([folder(tmp_path / "rules", rule(0, 1), other)], {}).compiled
    batch, by_line = events((1, 1), (1, 2))
    elsewhere = Event("f-0", 9, 0, "h", Kind("apache.access", "web", "x"), b"{}", "t")
    found = costs(compiled, [*batch, elsewhere, elsewhere], lambda event: by_line[event.offset])
    assert found.keys() == {IDS[0]}
    assert found[IDS[0]].events == 2 and found[IDS[0]].overall == pytest.approx(found[IDS[0]].concerned / 2)
