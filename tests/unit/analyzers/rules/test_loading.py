"""A rule file is input: what is broken or hostile is named, and harms no other rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from analyzers.rules import RuleSet
from state.alerts import Level

Load = Callable[..., RuleSet]
Make = Callable[..., dict[str, Any]]

ID = "11111111-1111-4111-8111-111111111111"
SIMPLE = {"sel": {"A": 1}, "condition": "sel"}


def test_a_rule_tells_what_people_need(rule_set: Load, make_rule: Make) -> None:
    tags = ["attack.execution", "attack.t1059.001", "attack.credential_access", "attack.g0016", "cve.2021-44228"]
    rules = rule_set(
        make_rule(
            {"sel": {"Image|endswith": "x", "CommandLine|fieldref": "B"}, "condition": "sel"},
            {"product": "windows", "category": "process_creation"},
            id=ID, level="critical", tags=tags, description="Why", falsepositives=["Admins"],
        )
    )  # fmt: skip
    (found,) = rules.rules
    assert (found.id, found.level, found.status, found.description) == (ID, Level.critical, "test", "Why")
    assert (found.techniques, found.tactics) == (("T1059.001",), ("execution", "credential-access"))
    assert found.falsepositives == ("Admins",)
    assert found.fields == ("Image", "CommandLine", "B")
    assert str(found.logsource) == "product=windows category=process_creation"
    assert found.path.endswith("rule000.yml")


def test_a_rule_without_level_or_id_has_medium_and_a_stable_id(rule_set: Load, make_rule: Make) -> None:
    bare = make_rule(SIMPLE)
    del bare["level"]
    first, second = rule_set(bare).rules[0], rule_set(bare).rules[0]
    assert first.level is Level.medium
    assert first.id == second.id and first.id.startswith("sha-")


def test_the_id_of_a_rule_without_one_is_the_same_in_every_process_and_under_any_filter(rule_set: Load) -> None:
    """Alert ids are made of it: they must be the same after a restart, and in every worker."""
    rule = {
        "title": "No id",
        "logsource": {"product": "windows"},
        "detection": {"sel": {"a|contains": ["x", "y"], "c": None, "d|re": "z"}, "condition": "sel"},
    }
    sigma_filter = {
        "title": "Known good",
        "logsource": {"product": "windows"},
        "filter": {"rules": "any", "good": {"User": "svc"}, "condition": "not good"},
    }
    (alone,) = rule_set(rule).rules
    (filtered,) = rule_set(rule, sigma_filter).rules
    assert alone.id == filtered.id == "sha-e94f082d2305aeb792d7"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("title: [", "not valid YAML"),
        ("", "file holds no rule"),
        ("- a\n- b\n", "a rule is a mapping, not a list"),
        ("just text", "a rule is a mapping, not a str"),
        ("title: x\ntitle: y\n", "Duplicate key"),
        ("a: " + "[" * 500_000, "nested deeper"),
        ("- " * 400_000, "nested deeper"),
        ("? " * 100_000, "nested deeper"),
        ("a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nc: {<<: [*b, *b]}\n", "merge keys"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("x: " + "y" * 1_100_000, "at most 1000000 bytes"),
    ],
)
def test_a_broken_or_hostile_file_is_a_problem_with_its_name(
    rule_set: Load, make_rule: Make, text: str, why: str
) -> None:
    rules = rule_set(make_rule(SIMPLE), text)
    assert len(rules.rules) == 1
    (problem,) = rules.problems
    assert problem.path.endswith("rule001.yml")
    assert why in problem.reason
    assert len(problem.reason) <= 400 and "\n" not in problem.reason


def test_aliases_that_multiply_are_refused(rule_set: Load, make_rule: Make) -> None:
    levels = "".join(f"  l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 12))
    bomb = f"title: bomb\nlogsource: {{product: windows}}\ndetection:\n  l0: &l0 [x]\n{levels}  condition: l0\n"
    rules = rule_set(make_rule(SIMPLE), bomb)
    assert len(rules.rules) == 1
    assert "aliases written out" in rules.problems[0].reason


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"detection": {"sel": {"A": 1}, "condition": "other"}}, "'other' not defined"),
        ({"detection": {"sel": {"A": 1}, "condition": "sel and"}}, ""),
        ({"detection": {"sel": {"A": 1}, "condition": "1 of x*"}}, "doesn't match any detection"),
        ({"detection": {"sel": {"A": 1}, "condition": "sel | count() > 5"}}, "pipe syntax"),
        ({"detection": {"sel": {"A": 1}}}, "at least one condition"),
        ({"detection": {"sel": {"A": 1}, "condition": 5}}, ""),
        ({"detection": {"sel": {"A": 1}, "condition": "(" * 30_000 + "sel" + ")" * 30_000}}, "longer than"),
        ({"detection": {"sel": {"A": 1}, "condition": "sel and " * 3_000 + "sel"}}, "longer than"),
        ({"detection": {"sel": {"A|nonsense": 1}, "condition": "sel"}}, "Unknown modifier"),
        ({"detection": {"sel": {"A|re": "("}, "condition": "sel"}}, ""),
        ({"detection": {"sel": {"A|cidr": "10.0.0.0/99"}, "condition": "sel"}}, "CIDR"),
        ({"detection": {"sel": {"A|expand": "%unset%"}, "condition": "sel"}}, "placeholder %unset% has no value"),
        ({"detection": {"sel": {"A|lt": "x"}, "condition": "sel"}}, "incompatible"),
        ({"detection": {"sel": {"A": {"B": 1}}, "condition": "sel"}}, ""),
        ({"detection": {"sel": [None], "condition": "sel"}}, "needs a field"),
        ({"detection": "text"}, ""),
        ({"detection": None}, ""),
        ({"logsource": {}}, "can't be empty"),
        ({"logsource": 7}, ""),
        ({"level": "very high"}, "not a valid Sigma rule level"),
        ({"id": "not-a-uuid"}, "UUID"),
        ({"title": 5}, ""),
        ({"tags": 5}, ""),
    ],
)
def test_a_rule_that_cannot_be_used_is_listed_with_its_reason(
    rule_set: Load, make_rule: Make, change: dict[str, Any], why: str
) -> None:
    rules = rule_set(make_rule(SIMPLE), {**make_rule(SIMPLE), "title": "The broken one", **change})
    assert len(rules.rules) == 1
    assert len(rules.problems) == 1, rules.problems
    assert rules.problems[0].reason and why in rules.problems[0].reason
    assert rules.problems[0].path.endswith("rule001.yml")


def test_a_problem_says_which_rule_and_where(rule_set: Load, make_rule: Make) -> None:
    good = make_rule(SIMPLE)
    bad = {**make_rule({"sel": {"A": 1}, "condition": "nope"}), "title": "Second of the file", "id": ID}
    rules = rule_set(yaml.safe_dump_all([good, bad], sort_keys=False))
    assert len(rules.rules) == 1
    (problem,) = rules.problems
    assert (problem.id, problem.title) == (ID, "Second of the file")
    lines = Path(problem.path).read_text().splitlines()
    assert lines[problem.line - 2] == "---" and ID in "".join(lines[problem.line - 1 :])


def test_correlation_rules_are_listed_and_their_neighbours_kept(rule_set: Load, make_rule: Make) -> None:
    correlation = {
        "title": "Many failures",
        "correlation": {"type": "event_count", "rules": ["x"], "group-by": ["user"], "timespan": "5m"},
    }
    rules = rule_set(yaml.safe_dump_all([make_rule(SIMPLE), correlation]))
    assert len(rules.rules) == 1
    assert rules.problems[0].title == "Many failures"
    assert "without condition" in rules.problems[0].reason


def test_a_second_rule_of_the_same_id_is_not_in_force(rule_set: Load, make_rule: Make) -> None:
    rules = rule_set(make_rule(SIMPLE, id=ID), make_rule({"sel": {"B": 1}, "condition": "sel"}, id=ID))
    assert len(rules.rules) == 1
    assert "has the id of a rule in" in rules.problems[0].reason


def test_a_global_document_is_part_of_the_rules_after_it(rule_set: Load, make_rule: Make) -> None:
    first = {"action": "global", "title": "Shared", "logsource": {"product": "windows"}, "level": "low"}
    second = {"detection": {"sel": {"A": 1}, "condition": "sel"}}
    third = {"detection": {"sel": {"A": 2}, "condition": "sel"}}
    rules = rule_set(yaml.safe_dump_all([first, second, third]))
    assert not rules.problems
    assert [rule.title for rule in rules.rules] == ["Shared", "Shared"]


def test_a_sigma_filter_narrows_the_rules_it_names(
    rule_set: Load, make_rule: Make, make_event: Callable[..., Any]
) -> None:
    narrowing = {
        "title": "Not on the build host",
        "logsource": {"product": "windows"},
        "filter": {"rules": [ID], "selection": {"Host": "build"}, "condition": "not selection"},
    }
    rules = rule_set(make_rule(SIMPLE, id=ID), narrowing)
    assert not rules.problems
    assert rules.match_batch([make_event()], lambda _: {"A": 1, "Host": "desk"})
    assert not rules.match_batch([make_event()], lambda _: {"A": 1, "Host": "build"})


def test_the_version_follows_content_and_placeholders_and_nothing_else(tmp_path: Path, make_rule: Make) -> None:
    for folder, level in (("a", "high"), ("b", "high"), ("c", "low")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.yml").write_text(yaml.safe_dump(make_rule(SIMPLE, level=level)))
    versions = [RuleSet.load(tmp_path / folder).version for folder in "abc"]
    assert versions[0] == versions[1] != versions[2]
    assert RuleSet.load(tmp_path / "a", placeholders={"x": ["1"]}).version != versions[0]


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        RuleSet.load(tmp_path / "none")


def test_a_file_that_is_not_utf8_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_bytes(b"title: \xff\xfe")
    assert RuleSet.load(tmp_path).problems[0].reason == "file is not UTF-8"
