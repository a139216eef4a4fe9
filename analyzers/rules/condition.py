"""From pySigma's parsed condition to our nodes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.rule import SigmaDetections
from sigma.types import (
    CompareOperators,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
    SpecialChars,
    TimestampPart,
)

from analyzers.rules import patterns
from analyzers.rules.bounds import check_conditions
from analyzers.rules.modifiers import filled
from analyzers.rules.nodes import And, AnyNode, AnyTest, Exists, Field, FieldReference, Keyword, Not, Null, Or
from analyzers.rules.patterns import Cidr, Compare, Part, Sign, TimePart, Unit
from analyzers.rules.policy import Policy
from analyzers.rules.regexes import regex
from analyzers.rules.rule import Placeholders, Unsupported

#: Wildcards of one value. The states of a search grow with every ``?`` after a ``*``.
MAX_MANY = 1_000
MAX_ONE = 64

_SIGNS: dict[CompareOperators, Sign] = {
    CompareOperators.LT: "<",
    CompareOperators.LTE: "<=",
    CompareOperators.GT: ">",
    CompareOperators.GTE: ">=",
    CompareOperators.NEQ: "!=",
}
_UNITS: dict[TimestampPart, Unit] = {
    TimestampPart.MINUTE: "minute",
    TimestampPart.HOUR: "hour",
    TimestampPart.DAY: "day",
    TimestampPart.WEEK: "week",
    TimestampPart.MONTH: "month",
    TimestampPart.YEAR: "year",
}


def compile_detections(detections: SigmaDetections, placeholders: Placeholders) -> AnyNode:
    """Return a rule's condition; several conditions are alternatives. Raises Unsupported or a SigmaError."""
    check_conditions(detections)
    compiled = [_node(condition.parse(), placeholders) for condition in detections.parsed_condition]
    return compiled[0] if len(compiled) == 1 else Or(tuple(compiled))


def compile_part(condition: Any, placeholders: Placeholders) -> AnyNode:
    """Return one part of a condition that pySigma has parsed and resolved. Raises Unsupported or a SigmaError."""
    return _node(condition, placeholders)


def _node(condition: Any, placeholders: Placeholders) -> AnyNode:
    if isinstance(condition, ConditionAND):
        return And(tuple(_node(part, placeholders) for part in condition.args))
    if isinstance(condition, ConditionOR):
        return _either([_node(part, placeholders) for part in condition.args])
    if isinstance(condition, ConditionNOT):
        return Not(_node(condition.args[0], placeholders))
    if isinstance(condition, ConditionFieldEqualsValueExpression):
        return _field(condition.field, condition.value, placeholders)
    if isinstance(condition, ConditionValueExpression):
        return _keyword(condition.value, placeholders)
    raise Unsupported("condition is empty" if condition is None else f"unknown condition {type(condition).__name__}")


def _either(parts: list[AnyNode]) -> AnyNode:
    """Join alternatives; neighbours on the same field, and keywords, become one node."""
    if all(isinstance(part, Keyword) for part in parts):
        return Keyword(tuple(test for part in parts if isinstance(part, Keyword) for test in part.tests))
    joined: list[AnyNode] = []
    for _, run in groupby(parts, key=lambda part: ("f", part.name) if isinstance(part, Field) else ("", id(part))):
        same = list(run)
        fields = [part for part in same if isinstance(part, Field)]
        joined.append(Field(fields[0].name, tuple(t for f in fields for t in f.tests)) if len(fields) > 1 else same[0])
    return joined[0] if len(joined) == 1 else Or(tuple(joined))


def _field(name: str, value: SigmaType, placeholders: Placeholders) -> AnyNode:
    if isinstance(value, SigmaExpansion):
        return _either([_field(name, each, placeholders) for each in value.values])
    if isinstance(value, SigmaNull):
        return Null(name)
    if isinstance(value, SigmaExists):
        return Exists(name, value.exists)
    if isinstance(value, SigmaFieldReference):
        return FieldReference(name, value.field, bool(value.starts_with), bool(value.ends_with))
    return Field(name, tuple(_test(each) for each in _expanded(value, placeholders)))


def _keyword(value: SigmaType, placeholders: Placeholders) -> AnyNode:
    if isinstance(value, SigmaExpansion):
        return Or(tuple(_keyword(each, placeholders) for each in value.values))
    if isinstance(value, SigmaNumber) and not isinstance(value, SigmaTimestampPart):
        value = SigmaString.from_str(patterns.number(value.number))
    elif isinstance(value, SigmaBool):
        value = SigmaString.from_str(str(value.boolean).lower())
    if not isinstance(value, SigmaString | SigmaRegularExpression):
        raise Unsupported(f"{type(value).__name__} needs a field")
    return Keyword(tuple(_test(each, keyword=True) for each in _expanded(value, placeholders)))


def _test(value: SigmaType, *, keyword: bool = False) -> AnyTest:
    """Return the test of a value; what cannot be run is refused now and not when an event comes."""
    if isinstance(value, SigmaString):
        return patterns.wildcard(_parts(value), cased=isinstance(value, SigmaCasedString), keyword=keyword).checked()
    if isinstance(value, SigmaTimestampPart):
        return _part_of_time(value)
    if isinstance(value, SigmaNumber):
        return patterns.equals(patterns.number(value.number))
    if isinstance(value, SigmaBool):
        return patterns.equals("true" if value.boolean else "false")
    if isinstance(value, SigmaRegularExpression):
        flags = re.NOFLAG
        for flag in value.flags:
            flags |= value.sigma_to_python_flags[flag]
        return regex(str(value.regexp), flags)
    if isinstance(value, SigmaCIDRExpression):
        return Cidr(str(value.network)).checked()
    if isinstance(value, SigmaCompareExpression):
        if isinstance(value.number, SigmaTimestampPart):
            return _part_of_time(value.number, _SIGNS[value.op])
        return Compare(_SIGNS[value.op], str(value.number.number)).checked()
    raise Unsupported(f"values of type {type(value).__name__} are not supported")


def _part_of_time(value: SigmaTimestampPart, sign: Sign | None = None) -> TimePart:
    # Parts of a time are from 0 to 9999; what is beyond need not be told apart.
    return TimePart(_UNITS[value.timestamp_part], min(max(int(value.number), -1), 10_000), sign).checked()


def _parts(value: SigmaString) -> list[Part]:
    """Return a text as literals and wildcards."""
    parts: list[Part] = []
    if value.s.count(SpecialChars.WILDCARD_MULTI) > MAX_MANY or value.s.count(SpecialChars.WILDCARD_SINGLE) > MAX_ONE:
        raise Unsupported(f"one value has more than {MAX_MANY} wildcards * or {MAX_ONE} wildcards ?")
    for part in value.s:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, SpecialChars):
            parts.append(None if part is SpecialChars.WILDCARD_MULTI else 1)
        else:
            raise Unsupported(f"placeholder %{part.name}% has no value in the settings")
    return parts


def _expanded(value: SigmaType, placeholders: Placeholders) -> Sequence[SigmaType]:
    """Replace the placeholders of the ``expand`` modifier by their values, which may hold wildcards."""
    if not isinstance(value, SigmaString | SigmaRegularExpression) or not value.contains_placeholder():
        return [value]

    if isinstance(value, SigmaString):
        return filled(value, placeholders)
    return [SigmaRegularExpression(str(each), value.flags, Policy()) for each in filled(value.regexp, placeholders)]


def fields_of(detections: SigmaDetections) -> tuple[str, ...]:
    """Return the names of the fields that detections read, those referred to among them."""
    names: dict[str, None] = {}

    def walk(item: Any) -> None:
        for inner in getattr(item, "detection_items", ()):
            walk(inner)
        if getattr(item, "field", None):
            names[item.field] = None
        for value in getattr(item, "value", None) or ():
            for each in value.values if isinstance(value, SigmaExpansion) else (value,):
                if isinstance(each, SigmaFieldReference):
                    names[each.field] = None

    for detection in detections.detections.values():
        walk(detection)
    return tuple(names)
