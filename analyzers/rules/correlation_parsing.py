"""From a correlation document to what it says: what needs pySigma. References are looked up later, over all files."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal, cast

import msgspec
from sigma.correlations import SigmaCorrelationCondition, SigmaCorrelationRule
from sigma.exceptions import SigmaError

from analyzers.rules.correlation import MAX_WINDOW, SCALE, Comparison, Drawn, Type
from analyzers.rules.rule import Rule, Unsupported

#: Longest window, seconds.
MAX_TIMESPAN = 31 * 86_400
#: Rules that one correlation refers to; in an order, fields that it groups by, and characters of a field's name.
MAX_SOURCES = 64
MAX_ORDERED = 16
MAX_GROUP_BY = 8
MAX_NAME = 256
#: Largest number in a condition.
MAX_NUMBER = 10**12
_OPS: Final[tuple[Literal["gt", "gte", "lt", "lte", "eq", "neq"], ...]] = ("gt", "gte", "lt", "lte", "eq", "neq")
_TEMPORAL = ("temporal", "temporal_ordered")


def draw(document: Mapping[Any, Any], describe: Any) -> Drawn:
    """Return what a correlation document says; ``describe`` makes a Rule of what pySigma read.

    Raises Unsupported or SigmaError with the reason why it cannot be in force.
    """
    raw = document.get("correlation")
    written = dict(raw) if isinstance(raw, dict) else {}
    if isinstance(written.get("condition"), str):
        raise Unsupported("correlation: extended conditions (a text) are not supported")
    conditions = written.get("condition")
    tests: tuple[Comparison, ...] = ()
    if isinstance(conditions, dict):
        tests = _tests(conditions)
        # pySigma takes one comparison; a range has two.
        written["condition"] = {name: value for name, value in conditions.items() if name not in _OPS}
        written["condition"][tests[0].op] = conditions[tests[0].op]
    rule = SigmaCorrelationRule.from_dict({**document, "correlation": written}, collect_errors=True)
    if rule.errors:
        raise rule.errors[0]
    kind = cast("Type", rule.type.name.lower())
    refs = _refs(rule, kind)
    fields, percentile = _field(rule, kind)
    described: Rule = describe(rule)
    drawn = Drawn(
        rule=described,
        type=kind,
        refs=refs,
        group_by=tuple(dict.fromkeys(_name(name) for name in rule.group_by or ())),
        aliases=_aliases(rule),
        timespan=rule.timespan.seconds * 1_000_000,
        span=rule.timespan.spec,
        tests=_counted(kind, tests, len(refs)),
        fields=fields,
        percentile=percentile,
        generate=rule.generate,
    )
    if rule.timespan.seconds > MAX_TIMESPAN:
        raise Unsupported(f"correlation: a timespan is at most {MAX_TIMESPAN // 86_400} days")
    if len(drawn.group_by) > MAX_GROUP_BY:
        raise Unsupported(f"correlation: at most {MAX_GROUP_BY} fields to group by")
    return drawn


def _refs(rule: SigmaCorrelationRule, kind: Type) -> tuple[str, ...]:
    refs = [each.reference for each in rule.rules or ()]
    if not refs or not all(isinstance(each, str) and 0 < len(each) <= MAX_NAME for each in refs):
        raise Unsupported("correlation: rules are named by id or name")
    if kind != "temporal_ordered":
        refs = list(dict.fromkeys(refs))
    most = MAX_ORDERED if kind == "temporal_ordered" else MAX_SOURCES
    if len(refs) > most:
        raise Unsupported(f"correlation: {kind} refers to at most {most} rules")
    return tuple(refs)


def _tests(conditions: Mapping[Any, Any]) -> tuple[Comparison, ...]:
    rest = {name: value for name, value in conditions.items() if name not in _OPS}
    tests = []
    for op in _OPS:
        if op not in conditions:
            continue
        read = SigmaCorrelationCondition.from_dict({**rest, op: conditions[op]})
        if abs(read.count) > MAX_NUMBER:
            raise Unsupported(f"correlation: {op}: a number of at most {MAX_NUMBER:,}")
        tests.append(Comparison(op, round(Decimal(str(read.count)) * SCALE)))
    if not tests:
        raise Unsupported("correlation: the condition compares nothing")
    if len(tests) > 1 and not ({test.op for test in tests} <= {"gt", "gte", "lt", "lte"} and len(tests) == 2):
        raise Unsupported("correlation: a range is one of gt and gte with one of lt and lte")
    if len(tests) == 2 and ({test.op[0] for test in tests} != {"g", "l"}):
        raise Unsupported("correlation: a range is one of gt and gte with one of lt and lte")
    return tuple(tests)


def _counted(kind: Type, tests: tuple[Comparison, ...], refs: int) -> tuple[Comparison, ...]:
    """Return what the condition asks for, in the simplest form; refuse what cannot be met or counted."""
    if kind in _TEMPORAL:
        tests = tests or (Comparison("gte", refs * SCALE),)
        test = tests[0]
        if len(tests) > 1 or test.op not in ("gt", "gte", "eq") or (test.op == "eq" and test.number != refs * SCALE):
            raise Unsupported(f"correlation: {kind} asks for a least number of its rules (gte, gt), or for all")
        if test.op == "eq":
            test = Comparison("gte", test.number)
        if test.number > refs * SCALE or (test.op == "gt" and test.number >= refs * SCALE):
            raise Unsupported(f"correlation: {kind} asks for more rules than it names")
        return (test,)
    if not tests:
        raise Unsupported("correlation: a condition is needed")
    if kind in ("event_count", "value_count") and any(test.number > MAX_WINDOW * SCALE for test in tests):
        raise Unsupported(f"correlation: {kind} counts to {MAX_WINDOW:,}")
    return tests


def _field(rule: SigmaCorrelationRule, kind: Type) -> tuple[tuple[str, ...], int]:
    condition = rule.condition
    if kind in _TEMPORAL or not isinstance(condition, SigmaCorrelationCondition):
        return (), 50
    named = condition.fieldref
    fields = tuple(_name(name) for name in (named if isinstance(named, list) else [named])) if named else ()
    if kind == "event_count":
        return (), 50
    if len(fields) > (MAX_GROUP_BY if kind == "value_count" else 1) or not fields:
        raise Unsupported(f"correlation: {kind} needs one field")
    if kind != "value_percentile":
        return fields, 50
    if condition.percentile is None or not 1 <= condition.percentile <= 100:
        raise Unsupported("correlation: value_percentile needs percentile, 1 to 100, in its condition")
    return fields, condition.percentile


def _aliases(rule: SigmaCorrelationRule) -> dict[str, dict[str, str]]:
    if len(rule.aliases) > MAX_SOURCES:
        raise Unsupported(f"correlation: at most {MAX_SOURCES} aliases")
    return {
        _name(alias.alias): {_name(ref.reference): _name(field) for ref, field in alias.mapping.items()}
        for alias in rule.aliases
    }


def _name(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        raise Unsupported(f"correlation: a name is a text of 1 to {MAX_NAME} characters")
    return name


def hash_of(document: Mapping[Any, Any]) -> bytes:
    """Return what stands for a correlation without an id. Raises what JSON has no word for as TypeError."""
    return msgspec.json.encode([document.get("title"), document.get("correlation")], order="sorted", enc_hook=str)


__all__ = ["SigmaError", "draw", "hash_of"]
