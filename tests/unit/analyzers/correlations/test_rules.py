"""Correlation rules as people write them: the specification's own examples, references over files, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from analyzers.correlations.correlator import Correlator
from analyzers.correlations.hits import Hits
from analyzers.correlations.settings import CorrelationSettings
from analyzers.rules import RuleSet
from analyzers.rules.loading import load as load_rules
from analyzers.rules.registry import Registry, keep_broken
from tests.unit.analyzers.correlations.conftest import END_OF_TIME, START, hit, run

Load = Callable[[str], RuleSet]

BASE = """
title: {name} happened
name: {name}
logsource: {{product: windows}}
detection: {{sel: {{A: {name}}}, condition: sel}}
"""
#: The example of the specification, 2.1, "Failed Logins Followed by Successful Login", as it stands there.
SPECIFICATION = """
title: Correlation - Multiple Failed Logins Followed by Successful Login
id: b180ead8-d58f-40b2-ae54-c8940995b9b6
status: experimental
correlation:
    type: temporal_ordered
    rules:
        - multiple_failed_login
        - successful_login
    group-by:
        - User
    timespan: 10m
level: high
---
title: Multiple failed logons
id: a8418a5a-5fc4-46b5-b23b-6c73beb19d41
name: multiple_failed_login
correlation:
    type: event_count
    rules:
        - failed_login
    group-by:
        - User
    timespan: 10m
    condition:
        gte: 10
---
title: Single failed login
id: 53ba33fd-3a50-4468-a5ef-c583635cfa92
name: failed_login
logsource: {product: windows, service: security}
detection:
    selection:
        EventID: [529, 4625]
    condition: selection
---
title: Successful login
id: 4d0a2c83-c62c-4ed4-b475-c7e23a9269b8
name: successful_login
logsource: {product: windows, service: security}
detection:
    selection:
        EventID: [528, 4624]
    condition: selection
"""
ALIASES = """
title: Error and connection
correlation:
    type: temporal
    rules:
        - internal_error
        - new_network_connection
    group-by:
        - internal_ip
        - remote_ip
    timespan: 10s
    aliases:
        internal_ip:
            internal_error: destination.ip
            new_network_connection: source.ip
        remote_ip:
            internal_error: source.ip
            new_network_connection: destination.ip
"""


def documents(*texts: str) -> str:
    return "\n---\n".join(texts)


def correlation(kind: str, rules: list[str], condition: object = None, **more: object) -> str:
    written = {"type": kind, "rules": rules, "timespan": "1m", **more}
    if condition is not None:
        written["condition"] = condition
    return yaml.safe_dump({"title": "Counted", "name": "counted", "correlation": written}, sort_keys=False)


def test_many_failed_logins_and_then_a_success_are_told_once(load: Load) -> None:
    rules = load(SPECIFICATION)
    alice, bob = {"User": "alice"}, {"User": "Bob"}
    failed = [hit(rules, number, number, ["failed_login"], alice) for number in range(10)]
    few = [hit(rules, number, 100 + number, ["failed_login"], bob) for number in range(9)]
    success = [hit(rules, 60, 200, ["successful_login"], alice), hit(rules, 60, 201, ["successful_login"], bob)]
    said = run(rules, failed + few + success)
    assert [(signal.rule, signal.time) for signal in said] == [(rules.correlations[1].rule.id, success[0].time)]
    assert said[0].reason == (
        "2 rules met within 10m in this order for User alice: Multiple failed logons; Successful login"
    )
    assert said[0].entity == "web-1"
    assert [said[0].event_id, *(event for _, event, _ in said[0].more)] == ["t-0-200", *(f"t-0-{n}" for n in range(10))]


def test_a_success_before_the_failures_is_no_guess(load: Load) -> None:
    rules = load(SPECIFICATION)
    hits = [hit(rules, 0, 0, ["successful_login"], {"User": "alice"})]
    hits += [hit(rules, 1 + number, 1 + number, ["failed_login"], {"User": "alice"}) for number in range(10)]
    assert not run(rules, hits)


def test_aliases_join_fields_of_different_names(load: Load) -> None:
    rules = load(documents(ALIASES, BASE.format(name="internal_error"), BASE.format(name="new_network_connection")))
    error = {"source.ip": "192.0.2.9", "destination.ip": "10.0.0.5"}
    there = hit(rules, 0, 0, ["internal_error"], error)
    back = hit(
        rules, 9, 1, ["new_network_connection"], {"source.ip": "10.0.0.5", "destination.ip": "192.0.2.9"}, "db-1"
    )
    same = hit(rules, 9, 2, ["new_network_connection"], error)
    said = run(rules, [there, back, same])
    assert [signal.event_id for signal in said] == ["t-0-1"]
    assert said[0].entity == "10.0.0.5", "of several hosts, the first value that it groups by"
    assert "internal_ip 10.0.0.5, remote_ip 192.0.2.9" in said[0].reason


@pytest.mark.parametrize(
    ("kind", "condition", "values", "told"),
    [
        ("value_sum", {"field": "bytes_sent", "gt": 1_000_000}, ["600000", "400001"], "1,000,001"),
        ("value_sum", {"field": "bytes_sent", "gt": 1_000_000}, ["600000", "400000"], None),
        ("value_avg", {"field": "bytes_sent", "gt": 500}, ["400", "700"], "550 on average"),
        ("value_avg", {"field": "bytes_sent", "gt": 500}, ["300", "700"], None),
        ("value_percentile", {"field": "bytes_sent", "gte": 9, "percentile": 90}, list("1111111198"), None),
        ("value_percentile", {"field": "bytes_sent", "gte": 8, "percentile": 90}, list("1111111198"), "is 8"),
        ("value_median", {"field": "bytes_sent", "eq": 2.5}, list("1234"), "median 2.5"),
        ("event_count", {"gt": 2, "lte": 4}, list("123"), "3 events"),
        ("event_count", {"gt": 2, "lte": 4}, list("12345"), None),
        ("event_count", {"lt": 3}, list("12"), "2 events"),
        ("event_count", {"eq": 2}, list("12"), "2 events"),
        ("event_count", {"eq": 2}, list("123"), None),
        ("value_count", {"field": "bytes_sent", "gte": 3}, list("1213"), "3 different"),
        ("value_count", {"field": "bytes_sent", "gte": 3}, list("121"), None),
    ],
)
def test_each_type_counts_what_it_says(
    load: Load, kind: str, condition: dict[str, float], values: list[str], told: str | None
) -> None:
    rules = load(documents(correlation(kind, ["x"], condition), BASE.format(name="x")))
    said = run(rules, [hit(rules, number, number, ["x"], {"bytes_sent": value}) for number, value in enumerate(values)])
    assert [told in signal.reason if told else signal for signal in said] == ([True] if told else [])


def test_an_attack_that_goes_on_is_told_once_a_timespan(load: Load) -> None:
    rules = load(documents(correlation("event_count", ["x"], {"gte": 5}), BASE.format(name="x")))
    said = run(rules, [hit(rules, number, number, ["x"], {}) for number in range(300)])
    assert [signal.event_id for signal in said] == [f"t-0-{number}" for number in (4, 64, 124, 184, 244)]


def test_events_a_timespan_apart_do_not_count_together(load: Load) -> None:
    rules = load(documents(correlation("event_count", ["x"], {"gte": 2}), BASE.format(name="x")))
    assert not run(rules, [hit(rules, 0, 0, ["x"], {}), hit(rules, 60, 1, ["x"], {})])
    assert run(rules, [hit(rules, 0, 0, ["x"], {}), hit(rules, 59.999999, 1, ["x"], {})])


def test_an_event_without_the_field_takes_no_part(load: Load) -> None:
    rules = load(documents(correlation("event_count", ["x"], {"gte": 2}, **{"group-by": ["u"]}), BASE.format(name="x")))
    assert not run(rules, [hit(rules, number, number, ["x"], {}) for number in range(5)])


def test_a_correlation_of_all_hosts_is_told_of_the_fleet(load: Load) -> None:
    rules = load(documents(correlation("event_count", ["x"], {"gte": 2}), BASE.format(name="x")))
    said = run(rules, [hit(rules, 0, 0, ["x"], {}, "a"), hit(rules, 1, 1, ["x"], {}, "b")])
    assert [signal.entity for signal in said] == ["_fleet"]


def test_a_hostile_value_neither_breaks_the_line_nor_takes_a_reserved_name(load: Load) -> None:
    text = documents(correlation("event_count", ["x"], {"gte": 2}, **{"group-by": ["u"]}), BASE.format(name="x"))
    rules = load(text)
    value = {"u": "_overflow-01\n\x1b[2J"}
    said = run(rules, [hit(rules, 0, 0, ["x"], value, "a"), hit(rules, 1, 1, ["x"], value, "b")])
    assert said[0].entity == "_fleet"
    assert said[0].reason.isprintable()


CHAIN = [
    correlation("event_count", ["x"], {"gte": 2}).replace("counted", "one"),
    correlation("event_count", ["one"], {"gte": 2}).replace("counted", "two"),
    correlation("event_count", ["two"], {"gte": 2}).replace("counted", "three"),
    correlation("event_count", ["three"], {"gte": 2}).replace("counted", "four"),
]


def test_a_chain_has_three_levels_and_no_fourth(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(documents(*CHAIN, BASE.format(name="x")))
    rules = RuleSet.load(tmp_path)
    assert [each.depth for each in rules.correlations] == [1, 2, 3]
    (problem,) = rules.problems
    assert "at most 3 levels" in problem.reason
    assert problem.line == 1 + documents(*CHAIN[:3]).count("\n") + 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (correlation("event_count", ["nosuch"], {"gte": 2}), "no rule in force has that id or name"),
        (correlation("event_count", ["counted"], {"gte": 2}), "refers to itself"),
        (correlation("event_count", ["x"], {"gte": 2, "gt": 3}), "a range is"),
        (correlation("event_count", ["x"], {"gte": 20_000}), "counts to 10,000"),
        (correlation("event_count", ["x"]), "condition"),
        (correlation("event_count", [], {"gte": 2}), "rules are named"),
        (correlation("value_count", ["x"], {"gte": 2}), "field"),
        (correlation("value_percentile", ["x"], {"gte": 2, "field": "f"}), "needs percentile"),
        (correlation("temporal", ["x"], {"gte": 2}), "more rules than it names"),
        (correlation("temporal", ["x"], {"lt": 1}), "least number"),
        (correlation("temporal", ["x"], "x and not y"), "extended conditions"),
        (correlation("nosuch", ["x"], {"gte": 2}), "nosuch"),
        (correlation("event_count", ["x"], {"gte": 2}, timespan="5x"), "Timespan"),
        (correlation("event_count", ["x"], {"gte": 2}, timespan="40d"), "at most 31 days"),
        (correlation("event_count", ["x"], {"gte": "many"}), "many"),
        (correlation("event_count", ["x"], {"gte": 2}, aliases={"a": {"nosuch": "f"}}), "no rule in force"),
        (correlation("event_count", ["x"], {"gte": 2}, **{"group-by": [f"f{n}" for n in range(20)]}), "at most 8"),
    ],
)
def test_what_is_unsupported_is_listed_with_its_reason_and_its_neighbours_stay(
    tmp_path: Path, text: str, why: str
) -> None:
    (tmp_path / "a.yml").write_text(documents(BASE.format(name="x"), text))
    rules = RuleSet.load(tmp_path)
    assert [rule.name for rule in rules.rules] == ["x"]
    assert not rules.correlations
    (problem,) = rules.problems
    assert why in problem.reason
    assert problem.title == "Counted"
    assert problem.line
    assert not rules.feeds.silent, "a rule that no correlation in force refers to alerts as ever"


def test_two_that_refer_to_each_other_are_refused(tmp_path: Path) -> None:
    one = correlation("event_count", ["b"], {"gte": 2}).replace("counted", "a")
    other = correlation("event_count", ["a"], {"gte": 2}).replace("counted", "b")
    (tmp_path / "a.yml").write_text(documents(one, other))
    assert [problem.reason for problem in RuleSet.load(tmp_path).problems] == ["correlation: refers to itself"] * 2


def test_a_very_long_chain_is_refused_and_its_beginning_in_force(tmp_path: Path) -> None:
    texts = [BASE.format(name="n0")]
    texts += [correlation("event_count", [f"n{n}"], {"gte": 2}).replace("counted", f"n{n + 1}") for n in range(400)]
    (tmp_path / "a.yml").write_text(documents(*reversed(texts)))
    rules = RuleSet.load(tmp_path)
    assert [each.rule.name for each in rules.correlations] == ["n1", "n2", "n3"]
    assert len(rules.problems) == 397


def test_references_reach_over_files_and_the_same_file_comes_first(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(documents(BASE.format(name="x"), correlation("event_count", ["x"], {"gte": 2})))
    (tmp_path / "b.yml").write_text(BASE.format(name="x").replace("{A: x}", "{B: x}"))
    (tmp_path / "c.yml").write_text(BASE.format(name="y"))
    (tmp_path / "d.yml").write_text(correlation("event_count", ["y"], {"gte": 2}))
    (tmp_path / "e.yml").write_text(correlation("event_count", ["x"], {"gte": 3}))
    rules = RuleSet.load(tmp_path)
    assert [Path(each.rule.path).name for each in rules.correlations] == ["a.yml", "d.yml"]
    assert [problem.reason for problem in rules.problems] == ["correlation: several rules are named 'x'"]


def test_only_what_changes_the_count_begins_it_anew(load: Load) -> None:
    def key(text: str) -> str:
        return load(text).correlations[0].key

    counted = correlation("event_count", ["x"], {"gte": 2}).replace("name:", f"id: {ID}\nname:")
    base = BASE.format(name="x").replace("name:", f"id: {OTHER}\nname:")
    before = key(documents(counted, base))
    assert key(documents(counted.replace("Counted", "Said otherwise") + "level: high\n", base)) == before
    assert key(documents(counted, base.replace("happened", "came"))) == before
    assert key(documents(counted.replace("gte: 2", "gte: 3"), base)) != before
    assert key(documents(counted.replace("1m", "2m"), base)) != before
    assert key(documents(counted, base.replace("A: x", "A: y"))) != before, "it would count two things together"


ID = "a8418a5a-5fc4-46b5-b23b-6c73beb19d41"
OTHER = "53ba33fd-3a50-4468-a5ef-c583635cfa92"


def test_compiled_sets_keep_their_correlations_on_disk(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "a.yml").write_text(SPECIFICATION)
    cold = load_rules([folder], {}, tmp_path / "cache")
    warm = load_rules([folder], {}, tmp_path / "cache")
    registry = Registry(tmp_path / "registry")
    registry.put(cold)
    stored = registry.get(cold.version)
    digests = [each.digest for each in cold.correlations]
    assert len(digests) == 2
    assert [each.digest for each in warm.correlations] == [each.digest for each in stored.correlations] == digests


def test_a_correlation_that_breaks_stays_in_force_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(SPECIFICATION)
    before = load_rules([tmp_path], {})
    file.write_text(SPECIFICATION.replace("gte: 10", "gte: many"))
    broken = load_rules([tmp_path], {})
    assert not broken.correlations
    loaded, kept = keep_broken(broken, before.compiled, before.correlations)
    assert [each.rule.title for each in kept] == [each.rule.title for each in before.correlations]
    assert [each.digest for each in loaded.correlations] == [each.digest for each in before.correlations]
    assert loaded.version != broken.version


def test_a_change_of_words_goes_on_with_the_count_and_a_change_of_the_condition_does_not(load: Load) -> None:
    text = documents(correlation("event_count", ["x"], {"gte": 3}), BASE.format(name="x"))
    text = text.replace("name: counted", f"id: {ID}\nname: counted").replace("name: x", f"id: {OTHER}\nname: x")
    old, renamed, changed = load(text), load(text.replace("Counted", "Renamed")), load(text.replace("1m", "2m"))

    def after(rules: RuleSet) -> list[str]:
        correlator = Correlator(["t-0"], CorrelationSettings())
        correlator.add(Hits("t-0", START, [hit(old, n, n, ["x"], {}) for n in range(2)], old.correlations))
        correlator.add(Hits("t-0", END_OF_TIME, [hit(rules, 2, 2, ["x"], {})], rules.correlations))
        return [said.signal.name for said in correlator.release()]

    assert after(old) == ["Counted"]
    assert after(renamed) == ["Renamed"]
    assert after(changed) == []
