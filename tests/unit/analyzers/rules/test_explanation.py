"""An explanation that is wrong sends an analyst the wrong way: it agrees with the engine, and names what is missing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers.rules import RuleSet
from analyzers.rules.explanation import MAX_GAPS, MAX_PARTS, MAX_TEXT, Explanation, Part, explain
from analyzers.rules.finding import NotFound, find
from analyzers.rules.prose import lines
from state.events import Event, Kind

ANY = Kind("windows.test", "host", "test", channel="Test")
SYSMON = "Microsoft-Windows-Sysmon/Operational"

Explained = Callable[..., Explanation]


def event(kind: Kind = ANY) -> Event:
    return Event("test-0", 0, 0, "host-1", kind, b"{}", "test")


@pytest.fixture
def explained(tmp_path: Path, make_rule: Callable[..., dict[str, Any]]) -> Explained:
    """Explain what a detection makes of fields; the engine must agree."""

    def make(
        detection: Mapping[str, Any],
        fields: dict[str, Any],
        *,
        kind: Kind = ANY,
        logsource: Mapping[str, str] | None = None,
        more: tuple[dict[str, Any], ...] = (),
    ) -> Explanation:
        whole = detection if "condition" in detection else {"sel": dict(detection), "condition": "sel"}
        path = tmp_path / "rule.yml"
        path.write_text(yaml.safe_dump(make_rule(whole, logsource), sort_keys=False, allow_unicode=True))
        for i, each in enumerate(more):
            (tmp_path / f"more{i}.yml").write_text(yaml.safe_dump(each))
        found = find(str(path), [tmp_path], {})
        explanation = explain(found.rule, found.condition, event(kind), fields)
        engine = found.rules.match_batch([event(kind)], lambda _: fields)
        assert explanation.matched is any(match.rule.id == found.rule.id for match in engine)
        return explanation

    return make


def said(explanation: Explanation) -> list[str]:
    return [gap.said for gap in explanation.gaps]


def test_a_match_names_the_value_that_met_each_selection(explained: Explained) -> None:
    detection = {
        "sel": {"Image|endswith": [r"\cmd.exe", r"\pwsh.exe"]},
        "filter": {"User": "root"},
        "condition": "sel and not filter",
    }
    found = explained(detection, {"Image": r"C:\PWSH.exe", "User": "anna"})
    assert found.matched and not found.gaps
    selection, negation = found.tree.parts
    (test,) = selection.parts
    assert (selection.text, test.text, test.by and (test.by.value, test.by.wanted)) == (
        "sel",
        "Image",
        (r"C:\PWSH.exe", r"endswith \pwsh.exe"),
    )
    assert (negation.kind, negation.met, negation.parts[0].met) == ("not", True, False)


@pytest.mark.parametrize("modifier", ["contains", "endswith", "startswith"])
def test_of_a_long_value_the_part_that_met_is_shown(explained: Explained, modifier: str) -> None:
    filler = "-" * 5_000
    value = {"contains": f"{filler}IEX{filler}", "endswith": f"iex{filler}IEX", "startswith": f"IEX{filler}"}[modifier]
    part = explained({f"a|{modifier}": "iex"}, {"a": value}).tree.parts[0]
    assert part.by is not None and "IEX" in part.by.value and len(part.by.value) <= MAX_TEXT


def test_what_a_non_match_lacks_is_named_with_value_and_wish(explained: Explained) -> None:
    found = explained({"Image|endswith": r"\cmd.exe", "User": "root"}, {"Image": r"C:\cmd.exe", "User": "anna"})
    assert said(found) == ['sel: User is "anna"; wanted: is root']


def test_a_field_that_the_event_lacks_is_named_with_the_fields_it_has(explained: Explained) -> None:
    found = explained({"CommandLine": "a"}, {"Commandline2": "a", "Image": "b"})
    assert said(found) == ["sel: no field CommandLine; wanted: is a"]
    assert found.names == ("Commandline2", "Image")


def test_an_exclusion_that_is_met_is_what_keeps_the_event_out(explained: Explained) -> None:
    detection = {
        "sel": {"a": 1},
        "filter_x": {"b": "x"},
        "filter_y": {"c": "y"},
        "condition": "sel and not 1 of filter_*",
    }
    found = explained(detection, {"a": 1, "b": "no", "c": "y"})
    assert said(found) == ['filter_y: c="y" (is y), which the rule excludes']


def test_of_alternatives_every_one_is_named_as_one_of_several(explained: Explained) -> None:
    detection = {"sel_a": {"a": 1}, "sel_b": {"b": 2}, "condition": "1 of sel_*"}
    found = explained(detection, {"a": 0})
    assert found.tree.text == "1 of sel_*"
    assert said(found) == ['sel_a: a is "0"; wanted: is 1', "sel_b: no field b; wanted: is 2"]
    assert all(gap.alternative for gap in found.gaps)


def test_of_all_only_what_fails_is_named(explained: Explained) -> None:
    detection = {"sel_a": {"a": 1}, "sel_b": {"b": 2}, "condition": "all of sel_*"}
    found = explained(detection, {"a": 1, "b": 3})
    assert said(found) == ['sel_b: b is "3"; wanted: is 2']
    assert not found.gaps[0].alternative


def test_of_a_list_of_words_that_must_all_be_there_the_missing_one_is_named(explained: Explained) -> None:
    found = explained({"CommandLine|contains|all": ["net", "user", "/add"]}, {"CommandLine": "net user guest"})
    assert said(found) == ['sel: CommandLine is "net user guest"; wanted: contains /add']


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, []), ({"a": None}, []), ({"a": "x"}, ['sel: a is "x"; wanted: null, or no such field'])],
)
def test_null(explained: Explained, fields: dict[str, Any], expected: list[str]) -> None:
    assert said(explained({"a": None}, fields)) == expected


def test_not_null(explained: Explained) -> None:
    found = explained({"sel": {"b": 1}, "none": {"a": None}, "condition": "sel and not none"}, {"b": 1})
    assert said(found) == ["none: a (null, or no such field), which the rule excludes"]


def test_exists(explained: Explained) -> None:
    wanted = explained({"a|exists": True}, {})
    assert said(wanted) == ["sel: a is null, or no such field; wanted: the field, with any value"]
    unwanted = explained({"a|exists": False}, {"a": ""})
    assert said(unwanted) == ['sel: a is ""; wanted: no such field, or null']
    assert not explained({"a|exists": True}, {"a": "x"}).gaps


def test_a_reference_shows_both_fields(explained: Explained) -> None:
    found = explained({"a|fieldref": "b"}, {"a": "x", "b": "y"})
    assert said(found) == ['sel: a is "x"; wanted: equals field b, which is "y"']
    lacking = explained({"a|fieldref": "b"}, {"a": "x"})
    assert said(lacking) == ['sel: a is "x"; wanted: equals field b, which the event lacks']


def test_keywords_name_the_value_that_holds_one_or_what_none_holds(explained: Explained) -> None:
    detection = {"keywords": ["password for root", "sudo"], "condition": "keywords"}
    met = explained(detection, {"x": "1", "message": "Accepted password for root from"})
    (test,) = met.tree.parts
    assert test.by is not None and test.by.value == "Accepted password for root from"
    missing = explained(detection, {"message": "nothing"})
    assert said(missing) == ["keywords: no value of any field contains password for root | sudo"]


def test_a_field_with_an_object_is_not_called_missing(explained: Explained) -> None:
    assert said(explained({"a": "x"}, {"a": {"b": "x"}})) == ["sel: a is without a text; wanted: is x"]


def test_a_filter_of_another_file_is_part_of_the_explanation(explained: Explained) -> None:
    sigma_filter = {
        "title": "Known good",
        "logsource": {"product": "windows"},
        "filter": {"rules": "any", "good": {"User": "svc"}, "condition": "not good"},
    }
    found = explained({"a": 1}, {"a": 1, "User": "svc"}, more=(sigma_filter,))
    assert not found.matched
    assert said(found) == ['filter good: User="svc" (is svc), which the rule excludes']


@pytest.mark.parametrize(
    ("kind", "met", "expected"),
    [
        (Kind("windows.sysmon", "process", "x", channel=SYSMON, code=1), True, "Sysmon as process_creation"),
        (Kind("windows.sysmon", "process", "x", channel=SYSMON, code=10), False, "event id 10; the rule wants channel"),
        (Kind("zeek.dns", "network", "x"), False, "the event is source zeek.dns; the rule wants channel"),
    ],
)
def test_a_log_source_that_rules_the_event_out_is_said_with_what_it_wants(
    explained: Explained, kind: Kind, met: bool, expected: str
) -> None:
    logsource = {"product": "windows", "category": "process_creation"}
    found = explained({"a": 1}, {"a": 1}, kind=kind, logsource=logsource)
    assert found.matched is found.source.met is met
    assert found.tree.met
    assert expected in found.source.said
    assert met or "event id 1; or channel Security, event id 4688" in found.source.said
    assert met or "The condition is met; the log source alone rules the event out." in lines(found)


def test_a_log_source_that_no_format_yields_is_said(explained: Explained) -> None:
    found = explained({"a": 1}, {"a": 1}, logsource={"product": "aws", "service": "cloudtrail"})
    assert not found.matched and found.source.said == "no format yields this log source"


def test_renamed_fields_are_read_as_the_route_has_them(explained: Explained) -> None:
    kind = Kind("windows.security", "process", "x", channel="Security", code=4688)
    logsource = {"product": "windows", "category": "process_creation"}
    found = explained(
        {"Image|endswith": r"\cmd.exe"}, {"NewProcessName": r"C:\cmd.exe"}, kind=kind, logsource=logsource
    )
    assert found.matched and found.source.said == "Security 4688 as process_creation"


def test_what_the_event_holds_cannot_disturb_the_screen_nor_flood_it(explained: Explained) -> None:
    found = explained(
        {"a|contains": [f"word{i}" for i in range(500)], "b": "x"},
        {"a": "\x1b[2J" + "y" * 100_000, "b": [str(i) for i in range(2_000)], "\x1bname": "z"},
    )
    text = "\n".join(lines(found))
    assert "\x1b" not in text and len(text) < 12_000
    first, second = found.tree.parts
    assert len(first.wanted) + first.more_wanted == 500
    assert len(second.values) + second.more_values == 2_000
    assert all(len(value) <= MAX_TEXT * 2 for value in first.values)


def test_a_rule_of_very_many_alternatives_stays_bounded_and_shows_the_one_that_is_met(explained: Explained) -> None:
    detection = {f"sel_{i:04}": {f"f{i}": 1} for i in range(400)} | {"condition": "1 of sel_*"}
    missing = explained(detection, {"x": 1})
    assert len(missing.gaps) == MAX_GAPS and missing.tree.more_parts == 400 - MAX_PARTS
    met = explained(detection, {"f399": 1})
    assert met.matched and met.tree.parts[0].text == "sel_0399"


# --------------------------------------------------------------------------------------------------- Against the engine

NAMES = ("a", "b", "c")
VALUES = st.sampled_from(["x", "y", "xy", "", 1, 0, None])
TESTS = st.one_of(
    st.tuples(st.sampled_from(["", "|contains", "|startswith", "|endswith"]), st.sampled_from(["x", "y", "XY", 1])),
    st.tuples(st.just("|cased"), st.sampled_from(["x", "XY"])),
    st.tuples(st.sampled_from(["|contains|all"]), st.lists(st.sampled_from(["x", "y"]), min_size=1, max_size=2)),
    st.tuples(st.just(""), st.lists(VALUES, min_size=1, max_size=3)),
    st.tuples(st.just(""), st.none()),
    st.tuples(st.just("|exists"), st.booleans()),
    st.tuples(st.sampled_from(["|fieldref", "|fieldref|contains"]), st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(["|gt", "|lte"]), st.integers(-1, 2)),
    st.tuples(st.just("|re"), st.sampled_from(["^x", "y$"])),
)  # fmt: skip
MAPS = st.dictionaries(st.sampled_from(NAMES), TESTS, min_size=1, max_size=2).map(
    lambda fields: {name + modifiers: value for name, (modifiers, value) in fields.items()}
)
SELECTIONS = st.one_of(
    MAPS, st.lists(MAPS, min_size=1, max_size=2), st.lists(st.sampled_from(["x", "y", "q"]), min_size=1)
)
CONDITIONS = st.recursive(
    st.sampled_from(["sel_a", "sel_b", "other", "1 of sel_*", "all of sel_*", "1 of them", "all of them"]),
    lambda inner: st.one_of(
        inner.map(lambda text: f"not ({text})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
    ),
    max_leaves=4,
)
EVENTS = st.dictionaries(st.sampled_from(["a", "B", "c", "d"]), st.one_of(VALUES, st.lists(VALUES, max_size=2)))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(sel_a=SELECTIONS, sel_b=SELECTIONS, other=SELECTIONS, condition=CONDITIONS, fields=EVENTS)
def test_any_explanation_agrees_with_the_engine(
    sel_a: Any, sel_b: Any, other: Any, condition: str, fields: dict[str, Any]
) -> None:
    rule = {
        "title": "Any",
        "id": "11111111-1111-4111-8111-111111111111",
        "logsource": {"product": "windows"},
        "detection": {"sel_a": sel_a, "sel_b": sel_b, "other": other, "condition": condition},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rule.yml"
        path.write_text(yaml.safe_dump(rule))
        rules = RuleSet.load(path)
        if rules.problems:
            with pytest.raises(NotFound):
                find(str(path), [], {})
            return
        found = find(str(path), [], {})
    explanation = explain(found.rule, found.condition, event(), fields)
    assert explanation.matched is bool(rules.match_batch([event()], lambda _: fields))
    # A match lacks nothing, and whatever does not match lacks something.
    assert bool(explanation.gaps) is not explanation.tree.met
    assert lines(explanation)
    _consistent(explanation.tree)


def _consistent(part: Part) -> None:
    """Each join is met as its parts say."""
    met = [inner.met for inner in part.parts]
    if part.kind in ("and", "selection"):
        assert part.met is all(met)
    elif part.kind == "or":
        assert part.met is any(met)
    elif part.kind == "not":
        assert part.met is not met[0]
    for inner in part.parts:
        _consistent(inner)


# -------------------------------------------------------------------------------------------------------------- Finding


class TestFinding:
    @pytest.fixture
    def folder(self, tmp_path: Path, make_rule: Callable[..., dict[str, Any]]) -> Path:
        rules = [
            make_rule(
                {"sel": {"a": 1}, "condition": "sel"}, id="11111111-1111-4111-8111-111111111111", title="It's one"
            ),
            make_rule({"sel": {"a": 2}, "condition": "sel"}, id="22222222-2222-4222-8222-222222222222", title="Two"),
            make_rule({"sel": {"a": 2}, "condition": "sel"}, id="33333333-3333-4333-8333-333333333333", title="Two"),
            make_rule({"sel": {"a|re": "("}, "condition": "sel"}, title="Broken one"),
        ]
        for i, each in enumerate(rules):
            (tmp_path / f"{i}.yml").write_text(yaml.safe_dump(each))
        return tmp_path

    @pytest.mark.parametrize("name", ["11111111-1111-4111-8111-111111111111", "IT'S ONE", "It's one"])
    def test_by_id_and_by_title_in_any_case(self, folder: Path, name: str) -> None:
        assert find(name, [folder], {}).rule.title == "It's one"

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("Two", "2 rules, name one by its id: 22222222"),
            ("Broken one", "not in force: "),
            ("It is one", "near: It's one"),
        ],
    )
    def test_what_cannot_be_told_is_said(self, folder: Path, name: str, reason: str) -> None:
        with pytest.raises(NotFound, match=reason):
            find(name, [folder], {})
