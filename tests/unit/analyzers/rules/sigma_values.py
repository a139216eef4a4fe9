"""What a Sigma value becomes by its modifiers, step by step: the part of the reference that reads rules."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Placeholders = Mapping[str, Sequence[str]]

DASHES = "-/–—―"
ENCODINGS = {"wide": "utf-16-le", "utf16le": "utf-16-le", "utf16be": "utf-16-be", "utf16": "utf-16-le"}
COMPARISONS = ("lt", "lte", "gt", "gte")
PARTS = ("minute", "hour", "day", "week", "month", "year")
FLAGS = {"i": "i", "ignorecase": "i", "m": "m", "multiline": "m", "s": "s", "dotall": "s"}

#: Every modifier of the specification, and pySigma's longer names of the regex flags.
MODIFIERS = frozenset(
    ["all", "startswith", "endswith", "contains", "exists", "cased", "neq", "windash", "re", "base64", "base64offset",
     "expand", "fieldref", "cidr", *ENCODINGS, *COMPARISONS, *PARTS, *FLAGS]
)  # fmt: skip


@dataclass(frozen=True)
class Many:
    """The wildcard ``*``."""


@dataclass(frozen=True)
class One:
    """The wildcard ``?``."""


@dataclass(frozen=True)
class Named:
    """A placeholder."""

    name: str


MANY, ONE = Many(), One()
Token = str | Many | One | Named


@dataclass(frozen=True)
class Value:
    """A rule's value on its way through the modifiers."""

    #: text, regex, cidr, compare, part, field, exists, null or literal (a number or a boolean)
    kind: str
    tokens: tuple[Token, ...] = ()
    plain: Any = None
    #: Regex flags, or the sign of a comparison.
    flags: str = ""
    part: str = ""
    cased: bool = False
    #: Whether the text's letters stand for bytes, as after ``wide``.
    encoded: bool = False
    at_start: bool = False
    at_end: bool = False


def tokens(value: str) -> list[Token]:
    """Split a Sigma text into letters and wildcards; a backslash takes a wildcard's or a backslash's meaning away."""
    found: list[Token] = []
    i = 0
    while i < len(value):
        if value[i] == "\\" and value[i + 1 : i + 2] in ("*", "?", "\\") and i + 1 < len(value):
            found.append(value[i + 1])
            i += 2
            continue
        found.append(MANY if value[i] == "*" else ONE if value[i] == "?" else value[i])
        i += 1
    return found


def modified(value: Any, modifiers: Sequence[str], placeholders: Placeholders) -> list[Value]:
    """Apply the modifiers in the given order; several values are alternatives."""
    if "re" in modifiers:
        values = [Value("regex", plain=str(value))]
    elif isinstance(value, str):
        values = [Value("text", tokens=tuple(tokens(value)))]
    elif value is None:
        values = [Value("null")]
    else:
        values = [Value("literal", plain=value)]
    for modifier in modifiers:
        values = [after for each in values for after in applied(modifier, each, placeholders)]
    return [after for each in values for after in filled(each, placeholders)]


def applied(modifier: str, value: Value, placeholders: Placeholders) -> list[Value]:
    text = value.tokens
    if modifier in ("all", "neq", "re"):
        return [value]
    if modifier in ("contains", "startswith", "endswith"):
        start, end = modifier != "endswith", modifier != "startswith"
        if value.kind == "text":
            return [replace(value, tokens=((MANY,) if end else ()) + text + ((MANY,) if start else ()))]
        return [replace(value, at_start=value.at_start or start, at_end=value.at_end or end)]
    if modifier == "cased":
        return [replace(value, cased=True)]
    if modifier in FLAGS:
        return [replace(value, flags=value.flags + FLAGS[modifier])]
    if modifier == "expand":
        return [replace(value, tokens=tuple(with_placeholders(text)), part="expand")]
    if modifier == "windash":
        return [replace(value, tokens=each) for each in dashed(text)]
    if modifier in ENCODINGS:
        mark = "\u00ff\u00fe" if modifier == "utf16" else ""
        return [
            replace(
                each,
                tokens=tuple(mark) + tuple(c for token in each.tokens for c in widened(token, ENCODINGS[modifier])),
                encoded=True,
            )
            for each in filled(value, placeholders)
        ]
    if modifier in ("base64", "base64offset"):
        offsets = (0, 1, 2) if modifier == "base64offset" else (0,)
        return [
            replace(each, tokens=tuple(base64_of(each, offset, modifier)), encoded=False)
            for each in filled(value, placeholders)
            for offset in offsets
        ]
    if modifier == "cidr":
        return [Value("cidr", plain="".join(map(str, text)))]
    if modifier in COMPARISONS:
        return [replace(value, kind="compare", flags=modifier)]
    if modifier in PARTS:
        return [replace(value, kind="part", part=modifier, flags="eq")]
    if modifier == "fieldref":
        return [
            replace(each, kind="field", plain="".join(map(str, each.tokens))) for each in filled(value, placeholders)
        ]
    if modifier == "exists":
        return [replace(value, kind="exists")]
    raise AssertionError(f"unknown modifier {modifier}")


def with_placeholders(text: Sequence[Token]) -> list[Token]:
    """Replace ``%name%`` by a placeholder; wildcards inside, and a name with a backslash, make it none."""
    found: list[Token] = []
    i = 0
    while i < len(text):
        end = i + 1
        while end < len(text) and isinstance(text[end], str) and text[end] != "%":
            end += 1
        name = "".join(str(token) for token in text[i + 1 : end])
        if text[i] == "%" and end < len(text) and text[end] == "%" and name and "\\" not in name:
            found.append(Named(name))
            i = end + 1
        else:
            found.append(text[i])
            i += 1
    return found


def filled(value: Value, placeholders: Placeholders) -> list[Value]:
    """Put every value in a placeholder's place; the values may hold wildcards."""
    for i, token in enumerate(value.tokens):
        if isinstance(token, Named):
            return [
                after
                for text in placeholders[token.name]
                for after in filled(
                    replace(value, tokens=value.tokens[:i] + tuple(tokens(text)) + value.tokens[i + 1 :]), placeholders
                )
            ]
    return [value]


def is_word(token: Token | None) -> bool:
    return isinstance(token, str) and (token.isalnum() or token == "_")


def dashed(text: tuple[Token, ...]) -> list[tuple[Token, ...]]:
    """Write each dash that begins a parameter in all ways: one before a word, and not inside one."""
    found: list[tuple[Token, ...]] = [()]
    for i, token in enumerate(text):
        before, after = text[i - 1] if i else None, text[i + 1] if i + 1 < len(text) else None
        starts = isinstance(token, str) and token in DASHES and not is_word(before) and is_word(after)
        found = [(*head, each) for head in found for each in (DASHES if starts else (token,))]
    return found


def widened(token: Token, encoding: str) -> Sequence[Token]:
    return [chr(byte) for byte in token.encode(encoding)] if isinstance(token, str) else [token]


def base64_of(value: Value, offset: int, modifier: str) -> str:
    text = "".join(map(str, value.tokens))
    data = text.encode("latin-1" if value.encoded else "utf-8")
    if modifier == "base64":
        return base64.b64encode(data).decode()
    # A letter of base64 is six bits. Kept are those that hold no bit of the bytes before and after.
    shifted = base64.b64encode(b"\0" * offset + data + b"\0" * 3).decode()
    first = -(-8 * offset // 6)
    last = 8 * (offset + len(data)) // 6
    return shifted[first:last]
