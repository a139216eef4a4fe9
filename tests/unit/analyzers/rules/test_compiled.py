"""A compiled rule is data: written and read again, it decides as before, and nothing is built that is not needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from analyzers.rules import RuleSet
from analyzers.rules.compiled import Compiled
from analyzers.rules.loading import load
from analyzers.rules.nodes import Field
from analyzers.rules.patterns import Like, Text
from analyzers.rules.regexes import Regex
from analyzers.rules.rule import Unsupported
from state.events import Event, Kind

Make = Callable[..., dict[str, Any]]

#: A detection, an event that meets it and one that does not.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "exact": ({"A": "Straße"}, {"A": "STRASSE"}, {"A": "strass"}),
    "prefix": ({"A|startswith": "x"}, {"A": "Xy"}, {"A": "yx"}),
    "suffix": ({"A|endswith": "x"}, {"A": "yX"}, {"A": "xy"}),
    "contains": ({"A|contains|all": ["x", "y"]}, {"A": "aXbY"}, {"A": "x"}),
    "cased": ({"A|cased": "aB*c"}, {"A": "aB-c"}, {"A": "ab-c"}),
    "many": ({"A": "a*b*c"}, {"A": "a.b.c"}, {"A": "a.c.b"}),
    "single": ({"A": "a??c*e"}, {"A": "axyc\nde"}, {"A": "axcde"}),
    "number": ({"A": 4624}, {"A": "4624"}, {"A": 4625}),
    "boolean": ({"A": True}, {"A": True}, {"A": False}),
    "regex": ({"A|re|i": "^fo+$"}, {"A": "FOO"}, {"A": "fo o"}),
    "look_around": ({"A|re": "^(?!x)y"}, {"A": "y"}, {"A": "xy"}),
    "cidr": ({"A|cidr": "10.0.0.0/8"}, {"A": "::ffff:10.1.1.1"}, {"A": "11.0.0.1"}),
    "less": ({"A|lt": 2.5}, {"A": 2}, {"A": "3"}),
    "huge": ({"A|gte": 2**70}, {"A": str(2**70)}, {"A": str(2**70 - 1)}),
    "not_equal": ({"A|neq": 5}, {"A": 6}, {"A": 5}),
    "hour": ({"A|hour": 3}, {"A": "2024-01-01T03:10:00Z"}, {"A": "2024-01-01T04:10:00Z"}),
    "no_hour": ({"A|hour": [10**30, 4]}, {"A": "2024-01-01T04:10:00Z"}, {"A": "2024-01-01T03:10:00Z"}),
    "null": ({"A": None}, {"B": 1}, {"A": "x"}),
    "exists": ({"A|exists": False}, {}, {"A": "x"}),
    "reference": ({"A|fieldref|endswith": "B"}, {"A": "xy", "B": "Y"}, {"A": "xy", "B": "x"}),
    "base64": ({"A|base64offset|contains": "foo"}, {"A": "Zm9v"}, {"A": "foo"}),
    "wide": ({"A|utf16|base64offset|contains": "foo"}, {"A": "//5mAG8Abw"}, {"A": "foo"}),
}


def write(folder: Path, rule: dict[str, Any]) -> Path:
    path = folder / "rule.yml"
    path.write_text(yaml.safe_dump(rule))
    return path


def again(compiled: list[Compiled]) -> RuleSet:
    return RuleSet.of(msgspec.msgpack.decode(msgspec.msgpack.encode(compiled), type=list[Compiled]), [])


def meets(rules: RuleSet, fields: dict[str, Any]) -> bool:
    kind = Kind("windows.sysmon", "process", "process-created", "unknown", "Microsoft-Windows-Sysmon/Operational", 1)
    event = Event("t-0", 0, 0, "h", kind, b"", "json")
    found = bool(rules.match_batch([event], lambda event: fields))
    assert rules.failures == 0
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_rule_read_again_decides_as_before(name: str, tmp_path: Path, make_rule: Make) -> None:
    selection, met, missed = CASES[name]
    for condition in ("sel", "not sel", "1 of them and not (sel and not sel)"):
        compiled = load([write(tmp_path, make_rule({"sel": selection, "condition": condition}))], {}).compiled
        rules = again(compiled)
        assert meets(rules, met) is (condition != "not sel")
        assert meets(rules, missed) is (condition == "not sel")


def test_keywords_read_again_decide_as_before(tmp_path: Path, make_rule: Make) -> None:
    compiled = load([write(tmp_path, make_rule({"k": ["needle", "hay*stack"], "condition": "k"}))], {}).compiled
    rules = again(compiled)
    assert meets(rules, {"x": "a NEEDLE"}) and meets(rules, {"x": "hay in stacks"})
    assert not meets(rules, {"x": "stack hay"})


def test_reading_builds_no_regular_expression(tmp_path: Path, make_rule: Make) -> None:
    compiled = load([write(tmp_path, make_rule({"sel": {"A|re": "a+b"}, "condition": "sel"}))], {}).compiled
    (read,) = msgspec.msgpack.decode(msgspec.msgpack.encode(compiled), type=list[Compiled])
    assert read.node == compiled[0].node
    assert isinstance(read.node, Field)
    (test,) = read.node.tests
    assert "ok" not in vars(test)
    assert test.ok("xaab") and "ok" in vars(test)


def test_a_pattern_that_could_hang_is_refused_also_when_it_was_not_compiled_by_us() -> None:
    with pytest.raises(Unsupported, match="quadratic"):
        msgspec.msgpack.decode(msgspec.msgpack.encode(Regex(r"(?!x)(a+)+$")), type=Regex).ok("a")


@pytest.mark.parametrize(
    "data",
    [
        {"type": "text", "op": "like", "literal": "x"},
        {"type": "like", "parts": ["a", 0]},
        {"type": "eval", "code": "1"},
    ],
)
def test_what_no_compiler_writes_is_not_read(data: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(data), type=Text | Like | Regex)
