"""Tests that rules carry: a test that would pass whatever the rule does is worse than none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import analyzers.rules
from analyzers.rules import cases
from analyzers.rules.loading import load
from analyzers.rules.rule import Unsupported
from operators.formats import Decoder, FormatSettings, fields
from state.events import Event

BUILTIN = Path(analyzers.rules.__file__).parent / "builtin"
BUILTIN_FILES = sorted(BUILTIN.glob("*.yml"))


def decode(raw: bytes, format: str) -> Event | str:
    decoded = Decoder("t-0", FormatSettings(), format, "web-1").decode_batch([raw], [0], 1_767_225_600_000_000)
    return decoded.events[0] if decoded.events else str(decoded.rejected[0].reason)


def outcome(*paths: Path) -> cases.Outcome:
    return cases.run(paths, load(paths, {}).compiled, {}, decode, fields)


@pytest.fixture
def folder(tmp_path: Path, make_rule: Callable[..., dict[str, Any]]) -> Path:
    rule = make_rule({"sel": {"a": 1, "b": "x"}, "condition": "sel"}, title="One")
    (tmp_path / "one.yml").write_text(yaml.safe_dump(rule))
    return tmp_path


def with_tests(folder: Path, text: str, name: str = "one") -> cases.Outcome:
    (folder / f"{name}.test.yaml").write_text(text)
    return outcome(folder)


class TestShippedRules:
    @pytest.mark.parametrize("path", BUILTIN_FILES, ids=lambda path: path.stem)
    def test_each_has_a_match_and_a_near_miss_and_passes(self, path: Path) -> None:
        found = cases.read(path.with_name(path.stem + ".test.yaml"))
        assert any(case.expected for case in found) and not all(case.expected for case in found)
        assert outcome(path).failures == ()
        assert outcome(path).cases == len(found)

    def test_each_case_fails_when_the_opposite_is_asked(self, tmp_path: Path) -> None:
        count = 0
        for path in BUILTIN_FILES:
            (tmp_path / path.name).write_bytes(path.read_bytes())
            text = path.with_name(path.stem + ".test.yaml").read_text()
            count += len(cases.read(path.with_name(path.stem + ".test.yaml")))
            turned = text.replace("no_match:", "M:").replace("match:", "no_match:").replace("M:", "match:")
            (tmp_path / f"{path.stem}.test.yaml").write_text(turned)
        found = outcome(tmp_path)
        assert found.rules == len(load([BUILTIN], {}).compiled) and len(found.failures) == found.cases == count
        assert all(failure.explanation is not None for failure in found.failures)

    def test_a_near_miss_has_a_field_that_the_rule_reads(self) -> None:
        """Else it would not match whatever the rule says."""
        rules = {each.rule.path: each.rule for each in load([BUILTIN], {}).compiled}
        for path in BUILTIN_FILES:
            for case in cases.read(path.with_name(path.stem + ".test.yaml")):
                if case.fields is not None:
                    assert case.fields.keys() & set(rules[str(path)].fields), f"{case.path}:{case.line}"


def test_a_failure_names_file_line_and_what_is_missing(folder: Path) -> None:
    found = with_tests(folder, "match:\n- fields: {a: 1, b: x}\n- why: it must\n  fields: {a: 2, b: x}\n")
    (failure,) = found.failures
    assert (failure.path, failure.line, failure.why) == (str(folder / "one.test.yaml"), 3, "it must")
    assert failure.said == "One must match, and does not"
    assert failure.explanation is not None
    assert [gap.said for gap in failure.explanation.gaps] == ['sel: a is "2"; wanted: is 1']
    assert (found.cases, found.files, found.rules) == (2, 1, 1)


def test_what_must_not_match_and_does_is_a_failure(folder: Path) -> None:
    (failure,) = with_tests(folder, "no_match:\n- fields: {A: '1', b: X}\n").failures
    assert failure.said == "One must not match, and does"
    assert failure.explanation is not None and failure.explanation.tree.met


def test_a_raw_line_goes_through_decoder_and_log_source(
    tmp_path: Path, make_rule: Callable[..., dict[str, Any]]
) -> None:
    rule = make_rule({"kw": ["root"], "condition": "kw"}, {"product": "linux", "service": "sshd"})
    (tmp_path / "one.yml").write_text(yaml.safe_dump(rule))
    line = "'<86>Jan  8 10:00:00 web-1 {}[7]: Accepted password for root from 192.0.2.4 port 4 ssh2'"
    assert with_tests(tmp_path, f"match:\n- raw: {line.format('sshd')}\n  format: syslog\n").failures == ()
    (failure,) = with_tests(tmp_path, f"match:\n- raw: {line.format('cron')}\n  format: syslog\n").failures
    assert failure.explanation is not None and "linux.cron" in failure.explanation.source.said
    (failure,) = with_tests(tmp_path, "no_match:\n- raw: '{}'\n  format: json\n").failures
    assert failure.said == "the line is no event: missing_time"


def test_a_file_of_several_rules_needs_the_rules_name_in_each_case(
    tmp_path: Path, make_rule: Callable[..., dict[str, Any]]
) -> None:
    rules = [make_rule({"sel": {"a": i}, "condition": "sel"}, title=f"Rule {i}") for i in (1, 2)]
    (tmp_path / "one.yml").write_text(yaml.safe_dump_all(rules))
    (failure,) = with_tests(tmp_path, "match:\n- fields: {a: 1}\n- fields: {a: 1}\n  rule: rule 1\n").failures
    assert (failure.line, failure.said) == (2, "`rule` must name one of the 2 rules in force in the file")


def test_tests_without_a_rule_beside_them_are_a_failure(folder: Path) -> None:
    (failure,) = with_tests(folder, "match:\n- fields: {a: 1}\n", "gone").failures
    assert failure.said == "no rule in force in gone.yml beside it"


def test_a_rule_file_that_is_checked_alone_runs_its_own_tests(folder: Path) -> None:
    with_tests(folder, "match:\n- fields: {a: 1, b: x}\n")
    (folder / "two.test.yaml").write_text("match: []")
    assert outcome(folder / "one.yml") == cases.Outcome(1, 1, 1, ())


def test_a_file_of_tests_is_no_rule_to_us_nor_to_pysigma(folder: Path) -> None:
    from sigma.collection import SigmaCollection

    with_tests(folder, "match:\n- fields: {a: 1, b: x}\n")
    assert not load([folder], {}).problems and len(load([folder], {}).compiled) == 1
    assert len(SigmaCollection.load_ruleset([folder], collect_errors=False).rules) == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "mapping of the lists"),
        ("- a", "mapping of the lists"),
        ("mach:\n- fields: {a: 1}\n", "mapping of the lists"),
        ("match: 3", "a list of cases"),
        ("match: []\nno_match:", "no case in it"),
        ("match:\n- fileds: {a: 1}\n", "line 2: a case has"),
        ("match:\n- {fields: {a: 1}, raw: x}\n", "line 2: a case has"),
        ("match:\n- {fields: {a: 1}, format: json}\n", "`format` belongs to `raw`"),
        ("match:\n- fields: 3\n", "`fields` is a mapping"),
        ("match:\n- raw: {a: 1}\n", "`raw` is a text"),
        ("match:\n- fields: {a: 2020-01-01}\n", "2020-01-01 is a date: put it in quotes"),
        ("match:\n- fields: {1: a}\n", "put 1 in quotes"),
        ("match:\n- &a {fields: {a: 1}}\n- *a\n", "aliases"),
        ("match:\n- fields: {a: " + "[" * 90 + "]" * 90 + "}\n", "nested deeper"),
    ],
)
def test_what_is_no_test_is_refused_with_its_reason(folder: Path, text: str, why: str) -> None:
    path = folder / "one.test.yaml"
    path.write_text(text)
    with pytest.raises(Unsupported) as refused:
        cases.read(path)
    assert why in str(refused.value)
    (failure,) = outcome(folder).failures
    assert failure.said.startswith("cannot be read as tests: ")


def test_broken_yaml_is_a_failure_with_its_line(folder: Path) -> None:
    (failure,) = with_tests(folder, "match:\n- fields: {a: 1\n").failures
    assert failure.line == 3 and "cannot be read as tests" in failure.said
