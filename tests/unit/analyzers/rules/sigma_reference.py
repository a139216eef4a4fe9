"""Sigma's detections, read from the specification as slowly and plainly as can be: what the engine is compared with.

After the Sigma specification 2.1: sigma-rules-specification.md (detection) and sigma-appendix-modifiers.md. It reads
the YAML's plain values, knows neither pySigma nor the engine, and asks every rule of every event. Where the
specification is silent, the choices are those that ARCHITECTURE.md lists under Rules.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.unit.analyzers.rules import sigma_regex
from tests.unit.analyzers.rules.sigma_values import MANY, ONE, Placeholders, Token, Value, modified, tokens

Event = Mapping[str, Any]


def rule_met(detection: Mapping[str, Any], event: Event, placeholders: Placeholders) -> bool:
    """Return whether an event meets a rule's ``detection``."""
    conditions = detection["condition"]
    named = {name: each for name, each in detection.items() if name != "condition"}

    def met(name: str) -> bool:
        return search_met(named[name], event, placeholders)

    return any(
        Condition(condition, list(named), met).result()
        for condition in (conditions if isinstance(conditions, list) else [conditions])
    )


# ----------------------------------------------------------------------------------------------------------- condition


class Condition:
    """Evaluate a condition by recursive descent: ``or`` binds least, then ``and``, then ``not``."""

    def __init__(self, text: str, names: list[str], met: Any) -> None:
        self.words = re.findall(r"[()]|[^\s()]+", text)
        self.names, self.met = names, met

    def result(self) -> bool:
        found = self.either()
        assert not self.words, f"left over: {self.words}"
        return found

    def next_is(self, *words: str) -> bool:
        if self.words[: len(words)] == list(words):
            del self.words[: len(words)]
            return True
        return False

    def either(self) -> bool:
        found = self.both()
        while self.next_is("or"):
            found = self.both() or found  # both sides are read, whatever the first says
        return found

    def both(self) -> bool:
        found = self.negation()
        while self.next_is("and"):
            found = self.negation() and found
        return found

    def negation(self) -> bool:
        if self.next_is("not"):
            return not self.negation()
        if self.next_is("("):
            found = self.either()
            assert self.next_is(")")
            return found
        if self.next_is("1", "of") or self.next_is("any", "of"):
            return any(self.met(name) for name in self.chosen())
        if self.next_is("all", "of"):
            return all(self.met(name) for name in self.chosen())
        return bool(self.met(self.words.pop(0)))

    def chosen(self) -> list[str]:
        pattern = self.words.pop(0)
        if pattern == "them":
            pattern = "*"
        found = [name for name in self.names if like(tokens(pattern), name)]
        # Names with a leading underscore are meant only by patterns that begin with one.
        return [name for name in found if not name.startswith("_") or pattern.startswith("_")]


# ------------------------------------------------------------------------------------------------------------ searches


def search_met(search: Any, event: Event, placeholders: Placeholders) -> bool:
    """Return whether an event meets a search identifier: a map, a keyword, or a list of either."""
    if isinstance(search, list):
        return any(search_met(each, event, placeholders) for each in search)
    if isinstance(search, dict):
        return all(item_met(key, wanted, event, placeholders) for key, wanted in search.items())
    return item_met("", search, event, placeholders)


def item_met(key: str, wanted: Any, event: Event, placeholders: Placeholders) -> bool:
    """Return whether an event meets ``field|modifiers: values``; without a field its values are keywords."""
    name, *modifiers = key.split("|")
    results: list[bool] = []
    for value in wanted if isinstance(wanted, list) else [wanted]:
        alternatives = modified(value, modifiers, placeholders)
        results.append(any(value_met(name, each, event) for each in alternatives))
    if not results:
        results = [value_met(name, Value("null"), event)]
    met = all(results) if "all" in modifiers else any(results)
    return not met if "neq" in modifiers else met


# ------------------------------------------------------------------------------------------------------------- matching


def value_met(name: str, value: Value, event: Event) -> bool:
    """Return whether an event's field, or any of its values where there is no name, meets a value."""
    if not name:
        return keyword_met(value, event)
    if value.kind == "null":
        return field_of(event, name)[1] is None
    if value.kind == "exists":
        return field_of(event, name)[0] is value.plain
    found = written(field_of(event, name)[1])
    if value.kind == "field":
        return any(
            refers(text.casefold(), other.casefold(), value)
            for text in found
            for other in written(field_of(event, value.plain)[1])
        )
    return any(text_met(value, text) for text in found)


def keyword_met(value: Value, event: Event) -> bool:
    if value.kind == "literal":
        value = Value("text", tokens=tuple(written(value.plain)[0]))
    if value.kind == "text":
        value = replace(value, tokens=(MANY, *value.tokens, MANY))
    return any(text_met(value, text) for field in event.values() for text in written(field, objects=True))


def field_of(event: Event, name: str) -> tuple[bool, Any]:
    """Return whether the event has a field, and its value: as spelled, else in any case."""
    if name in event:
        return True, event[name]
    others = [value for key, value in event.items() if key.casefold() == name.casefold()]
    return bool(others), others[0] if len(others) == 1 else others or None


def written(value: Any, *, objects: bool = False) -> list[str]:
    """Return the texts that an event's value stands for: any element of a list counts."""
    if isinstance(value, list):
        return [text for each in value for text in written(each, objects=objects)]
    if isinstance(value, dict):
        return written(list(value.values()), objects=True) if objects else []
    if value is None:
        return []
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, float) and value == int(value):
        return [str(int(value))]
    return [str(value)]


def text_met(value: Value, text: str) -> bool:
    if value.kind == "text":
        pattern = list(value.tokens)
        if value.cased:
            return like(pattern, text)
        return like([t.casefold() if isinstance(t, str) else t for t in pattern], text.casefold())
    if value.kind == "literal":
        return text.casefold() == written(value.plain)[0]
    if value.kind == "regex":
        if value.at_start != value.at_end:
            return anchored(value, text)
        return sigma_regex.search(value.plain, value.flags, text)
    if value.kind == "cidr":
        return in_network(text, value.plain)
    if value.kind == "part":
        found = part_of(text, value.part)
        return found is not None and compared(found, value.flags, value.plain)
    number = number_of(text)
    if value.part:
        number = part_of(text, value.part)
    return number is not None and compared(number, value.flags, value.plain)


def anchored(value: Value, text: str) -> bool:
    """Match a regular expression with ``startswith`` or ``endswith``."""
    ends = sigma_regex.Parser(value.plain, value.flags).parse()
    if value.at_start:
        return bool(ends(text, 0))
    return any({len(text), len(text) - text.endswith("\n")} & ends(text, at) for at in range(len(text) + 1))


def like(pattern: Sequence[Token], text: str) -> bool:
    """Match letter by letter, trying every way."""
    reached = {0}
    for token in pattern:
        if token == MANY:
            reached = {j for i in reached for j in range(i, len(text) + 1)}
        elif token == ONE:
            reached = {i + 1 for i in reached if i < len(text)}
        else:
            assert isinstance(token, str)
            reached = {i + len(token) for i in reached if text.startswith(token, i)}
    return len(text) in reached


def refers(text: str, other: str, value: Value) -> bool:
    if value.at_start and value.at_end:
        return other in text
    if value.at_start:
        return text.startswith(other)
    if value.at_end:
        return text.endswith(other)
    return text == other


def number_of(text: str) -> int | float | None:
    if re.fullmatch(r"\s*[+-]?[0-9]+\s*", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", text, re.ASCII):
        return float(text)
    return None


def compared(number: float, sign: str, bound: float) -> bool:
    return {
        "eq": number == bound,
        "lt": number < bound,
        "lte": number <= bound,
        "gt": number > bound,
        "gte": number >= bound,
    }[sign]


def in_network(text: str, network: str) -> bool:
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return False
    forms = [address, address.ipv4_mapped] if isinstance(address, ipaddress.IPv6Address) else [address]
    parsed = ipaddress.ip_network(network)
    return any(form is not None and form.version == parsed.version and form in parsed for form in forms)


def part_of(text: str, part: str) -> int | None:
    """Return a part of a time, in UTC: ISO 8601, or a number of seconds to nanoseconds since 1970."""
    moment: datetime | None = None
    number = number_of(text)
    date = r"(?:(\d{4})-(\d\d)-(\d\d)|(\d{4})(\d\d)(\d\d))"
    time = r"[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?([Zz]|[+-]\d\d(?::?\d\d)?)?"
    stamp = re.fullmatch(f"{date}(?:{time})?", text.strip(), re.ASCII)
    if number is not None and not re.fullmatch("[0-9]{8}", text.strip()):
        unit = next((unit for unit in (1, 1e3, 1e6, 1e9) if number / unit < 1e11), None)
        try:
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number / unit) if unit else None
        except OverflowError:
            return None
    elif stamp:
        parts = stamp.groups()
        year, month, day = (int(part) for part in (parts[:3] if parts[0] else parts[3:6]))
        hour, minute, second = (int(part or 0) for part in parts[6:9])
        try:
            moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            return None
        zone = parts[9]
        if zone and zone not in "Zz":
            away = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:].lstrip(":") or 0))
            moment += away if zone[0] == "-" else -away
    if moment is None:
        return None
    return moment.isocalendar().week if part == "week" else int(getattr(moment, part))
