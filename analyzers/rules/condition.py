"""From pySigma's parsed condition to our nodes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.rule import SigmaRule
from sigma.types import (
    Placeholder,
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
)

from analyzers.rules import patterns
from analyzers.rules.nodes import And, Exists, Field, FieldReference, Keyword, Node, Not, Null, Or
from analyzers.rules.patterns import Test
from analyzers.rules.regexes import regex
from analyzers.rules.rule import Unsupported

#: Values by placeholder name, for the ``expand`` modifier.
Placeholders = Mapping[str, Sequence[str]]
#: Longest condition, characters.
MAX_CONDITION = 20_000


def compile_rule(rule: SigmaRule, placeholders: Placeholders) -> Node:
    """Return the rule's condition; several conditions are alternatives. Raises Unsupported or a SigmaError."""
    compiled: list[Node] = []
    for condition in rule.detection.parsed_condition:
        if not isinstance(condition.condition, str):
            raise Unsupported("condition is not a text")
        if len(condition.condition) > MAX_CONDITION:
            raise Unsupported(f"condition is longer than {MAX_CONDITION} characters")
        compiled.append(_node(condition.parse(), placeholders))
    return compiled[0] if len(compiled) == 1 else Or(compiled)


def compile_part(condition: Any, placeholders: Placeholders) -> Node:
    """Return one part of a condition that pySigma has parsed and resolved. Raises Unsupported or a SigmaError."""
    return _node(condition, placeholders)


def _node(condition: Any, placeholders: Placeholders) -> Node:
    if isinstance(condition, ConditionAND):
        return And([_node(part, placeholders) for part in condition.args])
    if isinstance(condition, ConditionOR):
        return _either([_node(part, placeholders) for part in condition.args])
    if isinstance(condition, ConditionNOT):
        return Not(_node(condition.args[0], placeholders))
    if isinstance(condition, ConditionFieldEqualsValueExpression):
        return _field(condition.field, condition.value, placeholders)
    if isinstance(condition, ConditionValueExpression):
        return _keyword(condition.value, placeholders)
    raise Unsupported("condition is empty" if condition is None else f"unknown condition {type(condition).__name__}")


def _either(parts: list[Node]) -> Node:
    """Join alternatives; neighbours on the same field, and keywords, become one node."""
    if all(isinstance(part, Keyword) for part in parts):
        return Keyword([test for part in parts if isinstance(part, Keyword) for test in part.tests])
    joined: list[Node] = []
    for _, run in groupby(parts, key=lambda part: ("f", part.name) if isinstance(part, Field) else ("", id(part))):
        same = list(run)
        fields = [part for part in same if isinstance(part, Field)]
        joined.append(Field(fields[0].name, [t for f in fields for t in f.tests]) if len(fields) > 1 else same[0])
    return joined[0] if len(joined) == 1 else Or(joined)


def _field(name: str, value: SigmaType, placeholders: Placeholders) -> Node:
    if isinstance(value, SigmaExpansion):
        return _either([_field(name, each, placeholders) for each in value.values])
    if isinstance(value, SigmaNull):
        return Null(name)
    if isinstance(value, SigmaExists):
        return Exists(name, value.exists)
    if isinstance(value, SigmaFieldReference):
        return FieldReference(name, value.field, starts=value.starts_with, ends=value.ends_with)
    return Field(name, [_test(each) for each in _expanded(value, placeholders)])


def _keyword(value: SigmaType, placeholders: Placeholders) -> Node:
    if isinstance(value, SigmaExpansion):
        return Or([_keyword(each, placeholders) for each in value.values])
    if isinstance(value, SigmaNumber) and not isinstance(value, SigmaTimestampPart):
        value = SigmaString.from_str(patterns.number(value.number))
    elif isinstance(value, SigmaBool):
        value = SigmaString.from_str(str(value.boolean).lower())
    if not isinstance(value, SigmaString | SigmaRegularExpression):
        raise Unsupported(f"{type(value).__name__} needs a field")
    return Keyword([_test(each, keyword=True) for each in _expanded(value, placeholders)])


def _test(value: SigmaType, *, keyword: bool = False) -> Test:
    if isinstance(value, SigmaString):
        return patterns.wildcard(value, cased=isinstance(value, SigmaCasedString), keyword=keyword)
    if isinstance(value, SigmaTimestampPart):
        return patterns.time_part(value.timestamp_part, int(value.number))
    if isinstance(value, SigmaNumber):
        literal = patterns.number(value.number)
        return patterns.equals(literal, literal)
    if isinstance(value, SigmaBool):
        literal = "true" if value.boolean else "false"
        return patterns.equals(literal, literal)
    if isinstance(value, SigmaRegularExpression):
        flags = re.NOFLAG
        for flag in value.flags:
            flags |= value.sigma_to_python_flags[flag]
        return regex(str(value.regexp), flags)
    if isinstance(value, SigmaCIDRExpression):
        return patterns.cidr(value.network)
    if isinstance(value, SigmaCompareExpression):
        return patterns.compare(value.op, value.number.number)
    raise Unsupported(f"values of type {type(value).__name__} are not supported")


def _expanded(value: SigmaType, placeholders: Placeholders) -> Sequence[SigmaType]:
    """Replace the placeholders of the ``expand`` modifier by their values, which may hold wildcards."""
    if not isinstance(value, SigmaString | SigmaRegularExpression) or not value.contains_placeholder():
        return [value]

    def values(placeholder: Placeholder) -> Iterator[SigmaString]:
        found = placeholders.get(placeholder.name)
        if not found:
            raise Unsupported(f"placeholder %{placeholder.name}% has no value in the settings")
        for text in found:
            yield SigmaString(text)

    return value.replace_placeholders(values)


def fields_of(rule: SigmaRule) -> tuple[str, ...]:
    """Return the names of the fields that the rule's detections read, those referred to among them."""
    names: dict[str, None] = {}

    def walk(item: Any) -> None:
        for inner in getattr(item, "detection_items", ()):
            walk(inner)
        if getattr(item, "field", None):
            names[item.field] = None
        for value in getattr(item, "value", None) or ():
            if isinstance(value, SigmaFieldReference):
                names[value.field] = None

    for detection in rule.detection.detections.values():
        walk(detection)
    return tuple(names)
