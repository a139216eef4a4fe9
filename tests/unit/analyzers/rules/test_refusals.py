"""What is not in force is listed with its reason, its file and the line where the rule begins; its neighbours stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analyzers.rules import RuleSet

BEFORE = """title: Before
logsource: {product: windows}
detection:
  sel: {A: 1}
  condition: sel
"""
AFTER = BEFORE.replace("Before", "After").replace("A: 1", "A: 2")
ID = "11111111-1111-4111-8111-111111111111"
#: How a refused rule or filter begins.
HEAD = "title: Refused\nlogsource: {product: windows}\n"


def rule(search: str, condition: str = "sel", more: str = "") -> str:
    return f"{HEAD}{more}detection:\n  sel: {search}\n  condition: {condition}\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (rule("{A|nosuch: x}"), "Unknown modifier 'nosuch'"),
        (rule("{A|contains|re: x}"), "only applicable to unmodified values"),
        (rule("{A|contains|cidr: 10.0.0.0/8}"), "only applicable to unmodified values"),
        (rule("{A|contains: 5}"), "incompatible to value type"),
        (rule("{A|cased: 5}"), "incompatible to value type"),
        (rule("{A|re|cased: x}"), "incompatible to value type"),
        (rule("{A|cased|fieldref: B}"), "cased does not go together with fieldref"),
        (rule("{A|gt: five}"), "incompatible to value type"),
        (rule("{A|hour: ten}"), "incompatible to value type"),
        (rule("{A|gte|hour: 9}"), "incompatible to value type"),
        (rule("{A|exists: maybe}"), "incompatible to value type"),
        (rule("{'|exists': true}"), "must be applied to field"),
        (rule("{'|gt': 5}"), "needs a field"),
        (rule("{'|fieldref': B}"), "needs a field"),
        (rule("[null]"), "needs a field"),
        (rule("{A|fieldref: 'x*'}"), "must not contain wildcards"),
        (rule("{A|contains|base64: x}"), "wildcards is not allowed"),
        (rule("{A|base64offset: 'x*'}"), "wildcards is not allowed"),
        (rule("{A|wide: é}"), "needs base64 or base64offset"),
        (rule("{A|windash: ' -a -b -c -d'}"), "at most 3 dashes"),
        (rule("{A|re: '('}"), "invalid"),
        (rule(r"{A|re: '(\w+)+\1$'}"), "quadratic"),
        (rule("{A|cidr: 10.0.0.1/8}"), "has host bits set"),
        (rule("{A|cidr: example.org}"), "Invalid CIDR"),
        (rule("{A|expand: '%unset%'}"), "placeholder %unset% has no value"),
        (rule("{A|expand|base64: '%unset%'}"), "placeholder %unset% has no value"),
        (rule("{A|re|expand: 'a%unset%'}"), "placeholder %unset% has no value"),
        (rule("{A: {B: 1}}"), ""),
        (rule("[]"), "must be bound to a field"),
        (rule("{}"), "empty"),
        (rule("{A: 1}", "nosuch"), "'nosuch' not defined"),
        (rule("{A: 1}", "sel and"), "Expected"),
        (rule("{A: 1}", "(sel"), "Unbalanced"),
        (rule("{A: 1}", "2 of sel*"), "Expected"),
        (rule("{A: 1}", "1 of nosuch*"), "doesn't match any detection"),
        (rule("{A: 1}", "'sel | count() > 5'"), "pipe syntax"),
        (rule("{A: 1}", "7"), "condition is not a text"),
        (rule("{A: 1}", "[sel, nosuch]"), "'nosuch' not defined"),
        (rule("{A: 1}", more=f"id: {ID}\n"), "has the id of a rule in"),
        (rule("{A: 1}", more="id: not-a-uuid\n"), "UUID"),
        (rule("{A: 1}", more="level: very high\n"), "not a valid Sigma rule level"),
        ("title: Refused\nlogsource: {product: windows}\n", "detection"),
        ("title: Refused\nlogsource: {product: windows}\ndetection: {sel: {A: 1}}\n", "condition"),
        ("title: Refused\ndetection: {sel: {A: 1}, condition: sel}\n", "log source"),
        ("title: Refused\ncorrelation: {type: event_count, rules: [x], timespan: 5m}\n", "without condition"),
        ("just words\n", "a rule is a mapping"),
        (
            f"{HEAD}filter: {{rules: [{ID[:-1]}2], s: {{A: 1}}, condition: s}}\n",
            "filter: names no rule",
        ),
        (
            f"title: Refused\nlogsource: {{product: linux}}\nfilter: {{rules: [{ID}], s: {{A: 1}}, condition: s}}\n",
            "filter: names no rule of its log source",
        ),
        ("title: Refused\nlogsource: {product: windows}\nfilter: {s: {A: 1}, condition: s}\n", "filter: "),
        (
            f"{HEAD}filter: {{rules: [{ID}], s: {{A: 1}}, condition: not t}}\n",
            "filter: Detection 't' not defined",
        ),
    ],
)
def test_a_refusal_has_a_reason_a_file_and_the_line_of_the_rule(tmp_path: Path, text: str, why: str) -> None:
    with_id = BEFORE.replace("title: Before", f"title: Before\nid: {ID}")
    path = tmp_path / "rules.yml"
    path.write_text("---\n".join(["# a comment\n" + with_id, text, AFTER]), encoding="utf-8")
    rules = RuleSet.load(tmp_path)
    (problem,) = rules.problems
    assert why in problem.reason and problem.reason
    assert problem.path == str(path)
    assert problem.line == len(with_id.splitlines()) + 3
    assert problem.title == ("" if text == "just words\n" else "Refused")
    assert [rule.title for rule in rules.rules] == ["Before", "After"]


def test_a_title_that_an_earlier_rule_mentions_does_not_mislead(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(f"{BEFORE}description: unlike Refused\n---\n{rule('{A|nosuch: x}')}")
    (problem,) = RuleSet.load(tmp_path).problems
    assert problem.line == len(BEFORE.splitlines()) + 3


def test_rules_under_a_global_document_have_their_own_lines(tmp_path: Path) -> None:
    shared = "action: global\ntitle: Shared\nlogsource: {product: windows}\n"
    parts = ["detection: {sel: {A: 1}, condition: sel}\n", "detection: {sel: {A|nosuch: 1}, condition: sel}\n"]
    (tmp_path / "rules.yml").write_text("---\n".join([shared, *parts]))
    rules = RuleSet.load(tmp_path)
    assert [problem.line for problem in rules.problems] == [7]
    assert len(rules.rules) == 1


def test_a_filter_that_a_later_change_leaves_without_a_rule_is_said_also_from_the_cache(
    tmp_path: Path, make_rule: Callable[..., dict[str, object]]
) -> None:
    folder, cache = tmp_path / "rules", tmp_path / "cache"
    folder.mkdir()
    (folder / "rule.yml").write_text(BEFORE.replace("title: Before", f"title: Before\nid: {ID}"))
    (folder / "filter.yml").write_text(
        f"title: Narrow\nlogsource: {{product: windows}}\nfilter: {{rules: [{ID}], s: {{B: 1}}, condition: not s}}\n"
    )
    assert not RuleSet.load(folder, cache=cache).problems
    assert not RuleSet.load(folder, cache=cache).problems
    (folder / "rule.yml").unlink()
    assert ["names no rule" in problem.reason for problem in RuleSet.load(folder, cache=cache).problems] == [True]
