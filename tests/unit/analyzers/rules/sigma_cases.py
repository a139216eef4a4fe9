"""Random Sigma rules, and events built to nearly match them.

Every item of a rule is made together with witnesses: values of an event that meet it, or nearly do. An event takes the
witnesses of one rule and then has some of them spoilt: another case, a letter more or less, another type, a list, null,
nothing, or the field's name spelled otherwise. So both answers are common for every modifier.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Witness = tuple[str, Any]

#: Values of the ``expand`` modifier's placeholders.
PLACEHOLDERS = {"admins": ["root", "Adm_*", "ü?x"], "one": ["only"], "hosts": ["a\\*b", "dc-1", "-srv"]}
FIELDS = [
    "CommandLine",
    "commandline",
    "Image",
    "User",
    "A",
    "B",
    "with.dots",
    "Größe",
    "EventID",
    "Missing",
    "Message",
]
LETTERS = ["a", "A", "b", "C", "x", "0", "1", " ", "-", "/", "\\", ".", "_", "%", "ß", "İ", "σ", "Σ", "é", "\n", "k"]
WORDS = [
    "cmd.exe",
    "-enc",
    "whoami",
    "C:\\Windows\\",
    "ÜBER",
    "Straße",
    "4624",
    "10.0.0.1",
    "root",
    "ΛΟΓΟΣ",
    "1",
    "true",
]


@dataclass
class Item:
    """One ``field|modifiers: value`` with witnesses for its field and others."""

    key: str
    value: Any
    witnesses: list[Witness] = field(default_factory=list)


@dataclass
class Case:
    """A rule's detection and the witnesses that its events are made of."""

    detection: dict[str, Any]
    witnesses: list[Witness]
    modifiers: frozenset[str]


# -------------------------------------------------------------------------------------------------------------- values


def text(rng: random.Random, longest: int = 5) -> str:
    """Return a text of letters that differ in case, length when folded, and meaning to Sigma."""
    if rng.random() < 0.4:
        return rng.choice(WORDS)
    return "".join(rng.choice(LETTERS) for _ in range(rng.randint(0, longest)))


def pattern(rng: random.Random) -> tuple[str, str]:
    """Return a Sigma text with wildcards and escapes, and a text that it matches."""
    value, witness = "", ""
    for _ in range(rng.randint(1, 4)):
        kind = rng.randint(0, 9)
        if kind < 5:
            part = text(rng, 3)
            value += part
            witness += part
        elif kind < 7:
            value += "*"
            witness += text(rng, 3)
        elif kind == 7:
            value += "?"
            witness += rng.choice("aZ?é\n")
        else:
            part = rng.choice(["*", "?", "\\"])
            value += "\\" + part
            witness += part
    return value, witness


def plain(rng: random.Random) -> str:
    """Return a text without wildcards and backslashes, at least one letter."""
    return (
        rng.choice(WORDS).replace("\\", "")
        if rng.random() < 0.5
        else "".join(rng.choice(["a", "B", "é", "ß", "-", "1", "x"]) for _ in range(rng.randint(1, 6)))
    )


def around(rng: random.Random, witness: str, *, before: bool, after: bool) -> str:
    return (text(rng, 2) if before else "") + witness + (text(rng, 2) if after else "")


# --------------------------------------------------------------------------------------------------------------- items
# Each takes a field's name and returns an item.


def texts_item(rng: random.Random, name: str) -> Item:
    """Texts with every order of the string modifiers that go together."""
    modifiers: list[str] = []
    place = rng.choice(["", "", "contains", "startswith", "endswith"])
    expands = rng.random() < 0.15
    windash = rng.random() < 0.2
    modifiers += [place] if place else []
    modifiers += ["cased"] if rng.random() < 0.25 else []
    modifiers += ["windash"] if windash else []
    modifiers += ["expand"] if expands else []
    rng.shuffle(modifiers)
    modifiers += [m for m, odds in (("all", 0.25), ("neq", 0.08)) if rng.random() < odds]
    values, witnesses = [], []
    for _ in range(rng.choice([1, 1, 2, 3])):
        value, witness = pattern(rng)
        if windash:
            value, witness = f" -{value}"[:12], f" {rng.choice('-/–—―')}{witness}"[:12]
        if expands:
            placeholder = rng.choice(list(PLACEHOLDERS))
            value, witness = f"{value.replace('%', '')}%{placeholder}%", witness + rng.choice(PLACEHOLDERS[placeholder])
        values.append(value)
        witnesses.append(
            around(rng, witness, before=place in ("contains", "endswith"), after=place in ("contains", "startswith"))
        )
    if "all" in modifiers and rng.random() < 0.7:
        witnesses = ["".join(witnesses), witnesses]  # type: ignore[list-item]
    if not modifiers and rng.random() < 0.2:
        extra = rng.choice([None, 7, True, 0.5, ""])
        values.append(extra)
        witnesses.append(extra)
    return Item("|".join([name, *modifiers]), listed(rng, values), [(name, w) for w in witnesses])


def plain_item(rng: random.Random, name: str) -> Item:
    """Numbers, booleans, null and the empty text, which an event may spell as another type."""
    values = [rng.choice([4624, 1, 0, -3, 1.5, 2.0, 1e20, True, False, None, "", "1", "true", "4688"])
              for _ in range(rng.choice([1, 1, 2]))]  # fmt: skip
    key = name + (rng.choice(["|neq", "|all"]) if rng.random() < 0.2 else "")
    return Item(key, listed(rng, values), [(name, v) for v in values])


def regex_item(rng: random.Random, name: str) -> Item:
    values, witnesses = [], []
    flags = "".join(f for f in "ims" if rng.random() < 0.3)
    spelled = {"i": ["i", "ignorecase"], "m": ["m", "multiline"], "s": ["s", "dotall"]}
    place = rng.choice(["contains", "startswith", "endswith"]) if rng.random() < 0.25 else ""
    for _ in range(rng.choice([1, 1, 2])):
        value, witness = alternatives(rng, 2)
        if rng.random() < 0.3:
            value = "^" + value if "|" not in value else f"^(?:{value})"
        if rng.random() < 0.3:
            value += "$" if "|" not in value else ""
            witness += rng.choice(["", "", "\n", "\nx"])
        values.append(value)
        witnesses.append(around(rng, witness, before=rng.random() < 0.4, after=rng.random() < 0.4))
    modifiers = ["re", *(rng.choice(spelled[f]) for f in flags)] + ([place] if place else [])
    modifiers += ["all"] if rng.random() < 0.1 else []
    return Item("|".join([name, *modifiers]), listed(rng, values), [(name, w) for w in witnesses])


def alternatives(rng: random.Random, depth: int) -> tuple[str, str]:
    branches = [sequence(rng, depth) for _ in range(rng.choice([1, 1, 1, 2]))]
    return "|".join(b[0] for b in branches), rng.choice(branches)[1]


def sequence(rng: random.Random, depth: int) -> tuple[str, str]:
    value, witness = "", ""
    for _ in range(rng.randint(1, 3)):
        part, said = single(rng, depth)
        times = rng.choice(["", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,2}?", "+?", "{2,}"])
        turns = {"": 1, "*": rng.randint(0, 2), "?": rng.randint(0, 1), "{0,2}?": rng.randint(0, 2)}.get(times, 2)
        value += part + times
        witness += said * turns
    return value, witness


def single(rng: random.Random, depth: int) -> tuple[str, str]:
    kind = rng.randint(0, 9)
    if kind < 4 or (kind > 7 and not depth):
        letters = rng.choice(["abc", "whoami", "-", "x", "Straße", "k", "Σ", "é", "cmd"])
        return (letters, letters) if len(letters) == 1 else (f"(?:{letters})", letters)
    if kind == 4:
        return ".", rng.choice("aÉ\n")
    if kind == 5:
        return rng.choice(
            [(r"\d", "7"), (r"\w", "_"), (r"\s", " "), (r"\W", "-"), (r"\.", "."), (r"\\", "\\"), (r"\S", "é")]
        )
    if kind == 6:
        return rng.choice(
            [("[a-f0-9]", "c"), ("[^a-z]", "-"), (r"[\w.-]", "-"), ("[ΑΣ]", "σ"), (r"[^\s/]", "A"), ("[k-z]", "K")]
        )
    if kind == 7:
        return rng.choice([("c[Mm]d", "cMd"), ("powershell", "PowerShell"), (r"\bx", " x")][:2])
    value, witness = alternatives(rng, depth - 1)
    return f"({value})", witness


def encoded_item(rng: random.Random, name: str) -> Item:
    """Base64 of a text as UTF-8 or UTF-16, whole or anywhere in a longer one; UTF-16 alone for ASCII."""
    wide = rng.choice(["", "", "wide", "utf16le", "utf16be", "utf16"])
    codec = {"": "utf-8", "utf16be": "utf-16-be"}.get(wide, "utf-16-le")
    modifiers = [wide] if wide else []
    values, witnesses = [], []
    base = rng.choice(["base64", "base64offset"])
    alone = wide in ("wide", "utf16le", "utf16be") and rng.random() < 0.3
    modifiers += [] if alone else [base]
    modifiers += rng.choice(
        [[], ["contains"], ["contains"], ["startswith"], ["endswith"], ["cased"], ["contains", "cased"]]
    )
    modifiers = ["cased", *modifiers] if "cased" not in modifiers and rng.random() < 0.1 else modifiers
    expands = not alone and rng.random() < 0.15
    modifiers = ["expand", *modifiers] if expands else modifiers
    for _ in range(rng.choice([1, 1, 2])):
        value = "%one%" if expands else "ping -n"[: rng.randint(1, 7)] if alone else plain(rng)
        said = ("only" if expands else value).encode(codec)
        said = b"\xff\xfe" + said if wide == "utf16" else said
        values.append(value)
        if alone:
            witnesses.append(said.decode("latin-1"))
            continue
        padding = b"xy" * 2
        cut = rng.randint(0, 3)
        whole = base64.b64encode(said if base == "base64" else padding[:cut] + said + padding[: rng.randint(0, 3)])
        witnesses.append(around(rng, whole.decode(), before="contains" in modifiers, after="contains" in modifiers))
    return Item("|".join([name, *modifiers]), listed(rng, values), [(name, w) for w in witnesses])


def network_item(rng: random.Random, name: str) -> Item:
    networks = [
        "10.0.0.0/8",
        "192.168.4.0/22",
        "10.0.0.1/32",
        "0.0.0.0/0",
        "fe80::/10",
        "::/0",
        "2001:db8::/33",
        "::ffff:10.0.0.0/104",
    ]
    values = [rng.choice(networks) for _ in range(rng.choice([1, 1, 2]))]
    parsed = [ipaddress.ip_network(each) for each in values]
    witnesses: list[Any] = []
    for network in parsed:
        last = min(network.num_addresses - 1, 2**20)
        address = network.network_address + rng.choice([0, 1, last])
        witnesses += [str(address), str(address).upper(), int(address) % 2**31, f"{address} ", f"{address}/8"]
    witnesses += ["::ffff:10.0.0.1", "10.256.0.1", "11.0.0.0", "10.0.0.1:80", "010.0.0.1", "fe80::1%eth0"]
    return Item(
        f"{name}|cidr{rng.choice(['', '', '|all', '|neq'])}", listed(rng, values), [(name, w) for w in witnesses]
    )


def compared_item(rng: random.Random, name: str) -> Item:
    bound = rng.choice([0, 5, -2, 4624, 1.5, 2**53])
    witnesses: list[Any] = [bound, str(bound), bound + 1, bound - 1, float(bound), f"{bound}.0", f" {bound} "]
    witnesses += ["0x5", "five", "", True, 2**53 + 1, "inf", "nan", "1_0", "٥", "5e0", "+5", "1e400"]
    key = f"{name}|{rng.choice(['lt', 'lte', 'gt', 'gte'])}{rng.choice(['', '', '|neq'])}"
    return Item(key, listed(rng, [bound]), [(name, w) for w in witnesses])


def moment_item(rng: random.Random, name: str) -> Item:
    part, value = rng.choice(
        [
            ("minute", 56),
            ("hour", 10),
            ("day", 18),
            ("week", 42),
            ("month", 10),
            ("year", 2020),
            ("hour", 0),
            ("week", 53),
        ]
    )
    sign = rng.choice(["", "", "", "|gte", "|lt", "|gt", "|lte", "|neq"])
    witnesses: list[Any] = ["2020-10-18T10:56:18.955Z", "2020-10-18 06:56:18-04:00", "2020-10-18 10:56:18", "10:56"]
    witnesses += [1603018578, 1603018578955, 1603018578955123, "1603018578955123000", "20201018", "2020-10-18", 0, -1]
    witnesses += ["2021-01-01T00:00:00", "2020-10-17T23:59:59", "2020-13-01T00:00:00", "2020-10-18T10:56:00+00:00"]
    return Item(f"{name}|{part}{sign}", value, [(name, w) for w in witnesses])


def reference_item(rng: random.Random, name: str) -> Item:
    other = rng.choice(FIELDS)
    place = rng.choice(["", "|startswith", "|endswith", "|contains"])
    said = text(rng)
    before, after = place in ("|contains", "|endswith"), place in ("|contains", "|startswith")
    key = f"{name}|fieldref{place}{rng.choice(['', '', '|neq'])}"
    return Item(key, other, [(name, around(rng, said, before=before, after=after)), (other, said), (name, said)])


def exists_item(rng: random.Random, name: str) -> Item:
    return Item(f"{name}|exists", rng.random() < 0.6, [(name, rng.choice(["", None, "x", 0, [], False]))])


ITEMS: list[Callable[[random.Random, str], Item]] = [
    texts_item, texts_item, texts_item, texts_item, plain_item, plain_item, regex_item, regex_item, encoded_item,
    encoded_item, network_item, compared_item, moment_item, moment_item, reference_item, exists_item,
]  # fmt: skip


def listed(rng: random.Random, values: Sequence[Any]) -> Any:
    """Return one value as itself or as a list of one."""
    return values[0] if len(values) == 1 and rng.random() < 0.8 else list(values)


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
    return json.dumps(whole, ensure_ascii=rng.random() < 0.5, separators=separators).encode()
