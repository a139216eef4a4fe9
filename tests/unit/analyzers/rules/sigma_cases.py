"""Random Sigma rules, and events built to nearly match them.

Every item of a rule is made together with witnesses: values of an event that meet it, or nearly do. An event takes the
witnesses of one rule and then has some of them spoilt: another case, a letter more or less, another type, a list, null,
nothing, or the field's name spelled otherwise. So both answers are common for every modifier.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.unit.analyzers.rules.sigma_items import (
    FIELDS,
    ITEMS,
    LETTERS,
    Witness,
    encoded_item,
    regex_item,
    text,
    texts_item,
)


@dataclass
class Case:
    """A rule's detection and the witnesses that its events are made of."""

    detection: dict[str, Any]
    witnesses: list[Witness]
    modifiers: frozenset[str]


# --------------------------------------------------------------------------------------------------------------- rules


def mapping(rng: random.Random, witnesses: list[Witness]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(rng.choice([1, 1, 2, 3])):
        item = rng.choice(ITEMS)(rng, rng.choice(FIELDS))
        if item.key not in found:
            found[item.key] = item.value
            witnesses += item.witnesses
    return found


def keywords(rng: random.Random, witnesses: list[Witness]) -> Any:
    """Keywords: a text, a list, ``|all``, and those modifiers that need no field."""
    item = rng.choice([texts_item, texts_item, regex_item, encoded_item])(rng, "")
    values = item.value if isinstance(item.value, list) else [item.value]
    values = [each for each in values if each is not None and each != ""] or ["whoami"]
    witnesses += [(rng.choice(FIELDS), w if rng.random() < 0.7 else {"x": [w]}) for _, w in item.witnesses]
    if item.key:
        return {item.key: values}
    return values[0] if len(values) == 1 and rng.random() < 0.3 else values


def search(rng: random.Random, witnesses: list[Witness]) -> Any:
    kind = rng.randint(0, 9)
    if kind < 3:
        return keywords(rng, witnesses)
    if kind < 8:
        return mapping(rng, witnesses)
    return [mapping(rng, witnesses) for _ in range(rng.randint(1, 3))]


NAMES = ["selection", "selection_img", "filter", "filter_main_1", "_hidden", "s1", "notes", "1x"]


def condition(rng: random.Random, names: list[str], depth: int = 2) -> str:
    kind = rng.randint(0, 9)
    if depth == 0 or kind < 4:
        pattern = rng.choice(["them", "them", "sel*", "*", "*_*", rng.choice(names)])
        chosen = [n for n in names if not n.startswith("_")] if pattern in ("them", "*") else [
            n for n in names if not n.startswith("_") and (pattern == n or (pattern == "sel*" and n.startswith("sel"))
                                                           or (pattern == "*_*" and "_" in n))]  # fmt: skip
        if chosen and rng.random() < 0.35:
            return f"{rng.choice(['1', 'any', 'all'])} of {pattern}"
        return rng.choice(names)
    if kind < 6:
        inner = condition(rng, names, depth - 1)
        return f"not {inner}" if " " not in inner or " of " in inner else f"not ({inner})"
    parts = [condition(rng, names, depth - 1) for _ in range(rng.choice([2, 2, 3]))]
    joined = f" {rng.choice(['and', 'and', 'or'])} ".join(parts)
    return f"({joined})" if rng.random() < 0.5 else joined


def case(rng: random.Random) -> Case:
    """Return a rule's detection with what its events are made of; most rules ask for one item alone."""
    witnesses: list[Witness] = []
    if rng.random() < 0.6:
        item = rng.choice(ITEMS)(rng, rng.choice(FIELDS))
        whole: Any = {item.key: item.value} if rng.random() < 0.8 else keywords(rng, witnesses)
        negation = "not " if rng.random() < 0.1 else ""
        detection = {"selection": whole, "condition": f"{negation}selection"}
        return Case(detection, witnesses + item.witnesses, frozenset(modifiers_of(whole)))
    names = rng.sample(NAMES, rng.choice([1, 2, 2, 3]))
    if all(name.startswith("_") for name in names):
        names.append("selection")
    searches = {name: search(rng, witnesses) for name in names}
    if rng.random() < 0.4:
        conditions: Any = names[0]
    else:
        conditions = condition(rng, names)
        if rng.random() < 0.1:
            conditions = [conditions, condition(rng, names)]
    modifiers = frozenset(m for s in searches.values() for m in modifiers_of(s))
    return Case({**searches, "condition": conditions}, witnesses, modifiers)


def modifiers_of(search: Any) -> list[str]:
    if isinstance(search, list):
        return [m for each in search for m in modifiers_of(each)]
    if isinstance(search, dict):
        return [m for key in search for m in (key.split("|")[1:] or ["plain"])]
    return ["keyword"]


# -------------------------------------------------------------------------------------------------------------- events


def spoilt(rng: random.Random, value: Any) -> Any:
    """Return a value that is nearly the given one."""
    kind = rng.randint(0, 9)
    if kind == 0:
        return rng.choice([None, [], "", {}, True, 0])
    if kind < 3:
        return [value] if kind == 1 else [text(rng), value, rng.choice([None, 1, ["deep", value]])]
    if not isinstance(value, str):
        if isinstance(value, bool | int | float):
            return rng.choice(
                [str(value), str(value).lower(), float(value) if abs(value) < 2**53 else value, f"{value}0", -value]
            )
        return value
    if kind < 6:
        return rng.choice([value.upper(), value.lower(), value.swapcase(), value.casefold()])
    if kind == 6:
        return value[1:] if rng.random() < 0.5 else value[:-1]
    if kind == 7:
        return text(rng, 2) + value + text(rng, 2)
    if kind == 8 and value.isdecimal() and value.isascii():
        return int(value)
    at = rng.randint(0, len(value))
    return value[:at] + rng.choice(LETTERS) + value[at + 1 :]


def respelled(rng: random.Random, name: str) -> str:
    return rng.choice([name.upper(), name.lower(), name.swapcase(), name.casefold(), name])


def event(rng: random.Random, cases: Sequence[Case]) -> dict[str, Any]:
    """Return an event's own fields, made of one rule's witnesses and some of another's."""
    found: dict[str, Any] = {}
    for share, each in ((0.8, rng.choice(cases)), (0.2, rng.choice(cases))):
        for name, value in rng.sample(each.witnesses, len(each.witnesses)):
            if name in found or rng.random() > share:
                continue
            name = name or rng.choice(FIELDS)
            spelled = respelled(rng, name) if rng.random() < 0.15 else name
            found[spelled] = spoilt(rng, value) if rng.random() < 0.4 else value
    return found


def line(rng: random.Random, fields: dict[str, Any]) -> bytes:
    """Return the event as a line of JSON, in one of the ways in which JSON can be written."""
    separators = rng.choice([(",", ":"), (", ", ": ")])
    names = rng.sample(list(fields), len(fields))
    whole = {name: fields[name] for name in names}
    written = json.dumps(whole, ensure_ascii=rng.random() < 0.5, separators=separators)
    for name in names:
        if rng.random() < 0.02:  # a name may be written by escapes
            place = rng.randrange(len(name)) if name.isascii() and name.isalnum() else 0
            escaped = f"{name[:place]}\\u{ord(name[place]):04x}{name[place + 1 :]}" if place else name
            written = written.replace(f'"{name}"{separators[1]}', f'"{escaped}"{separators[1]}', 1)
    return written.encode()
