"""Tests on one text: what a Sigma value means after its modifiers."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal

import msgspec
import re2  # type: ignore[import-untyped]
from sigma.types import CompareOperators, SigmaString, SpecialChars, TimestampPart

from analyzers.rules.rule import Unsupported

Op = Literal["exact", "prefix", "suffix", "contains"]


class Atom(msgspec.Struct, frozen=True):
    """A cheap test on a case-folded text."""

    op: Op
    literal: str


class Test(msgspec.Struct, frozen=True, eq=False):
    """One value of a rule as a test on one text of an event."""

    ok: Callable[[str], bool]
    #: Whether ``ok`` expects the case-folded text.
    folded: bool
    #: How people read it: ``endswith \\cmd.exe``.
    shown: str
    #: True of the case-folded text whenever ``ok`` is true; None if there is no such test. Lets a prefilter skip.
    necessary: Atom | None = None


def wildcard(value: SigmaString, *, cased: bool = False, keyword: bool = False) -> Test:
    """Return the test for a Sigma string with wildcards; a keyword may stand anywhere in the text.

    Comparison folds case by Unicode (``str.casefold``), which folds letter by letter, so that a part of a text stays
    a part of the folded text.
    """
    parts: list[str | SpecialChars] = []
    for part in value.s:
        if isinstance(part, str):
            if part:
                parts.append(part if cased else part.casefold())
        elif isinstance(part, SpecialChars):
            if part is SpecialChars.WILDCARD_MULTI and parts and parts[-1] is SpecialChars.WILDCARD_MULTI:
                continue
            parts.append(part)
        else:
            raise Unsupported(f"placeholder %{part.name}% has no value in the settings")
    many = SpecialChars.WILDCARD_MULTI
    if keyword:
        parts = [many, *(p for i, p in enumerate(parts) if not (p is many and i in (0, len(parts) - 1))), many]
    shown = "".join(p if isinstance(p, str) else "*" if p is many else "?" for p in parts)
    literals = [p for p in parts if isinstance(p, str)]
    head = bool(parts) and parts[0] is many
    tail = len(parts) > 1 and parts[-1] is many
    inner = parts[head : len(parts) - tail]
    if len(inner) <= 1 and all(isinstance(p, str) for p in inner):
        literal = literals[0] if literals else ""
        op: Op = "contains" if head and tail else "suffix" if head else "prefix" if tail else "exact"
        ok = _simple(op, literal)
        necessary = Atom(op, literal if not cased else literal.casefold())
        return Test(ok, not cased, f"{_SHOWN[op]} {literal}", necessary)
    longest = max(literals, key=len, default="")
    test = _pieces(parts) if SpecialChars.WILDCARD_SINGLE not in parts else _single(parts)
    return Test(test, not cased, f"like {shown}", Atom("contains", longest.casefold()))


_SHOWN: dict[Op, str] = {"exact": "is", "prefix": "startswith", "suffix": "endswith", "contains": "contains"}


def _simple(op: Op, literal: str) -> Callable[[str], bool]:
    if op == "exact":
        return literal.__eq__
    if op == "prefix":
        return lambda text: text.startswith(literal)
    if op == "suffix":
        return lambda text: text.endswith(literal)
    return lambda text: literal in text


def _pieces(parts: Sequence[str | SpecialChars]) -> Callable[[str], bool]:
    """Match ``a*b*c``: each piece as early as possible, which is exact for ``*`` and never backtracks."""
    literals = tuple(p for p in parts if isinstance(p, str))
    first = literals[0] if isinstance(parts[0], str) else ""
    last = literals[-1] if isinstance(parts[-1], str) else ""
    middle = literals[1 if first else 0 : len(literals) - (1 if last else 0)]

    def ok(text: str) -> bool:
        if not text.startswith(first):
            return False
        at = len(first)
        for piece in middle:
            found = text.find(piece, at)
            if found < 0:
                return False
            at = found + len(piece)
        return len(text) - len(last) >= at and text.endswith(last)

    return ok


def _single(parts: Sequence[str | SpecialChars]) -> Callable[[str], bool]:
    """Match a pattern with ``?`` by RE2, in linear time."""
    many = SpecialChars.WILDCARD_MULTI
    body = "".join(re2.escape(p) if isinstance(p, str) else ".*" if p is many else "." for p in parts)
    pattern = re2.compile(rf"(?s)\A{body}\z")
    return lambda text: pattern.search(utf8(text)) is not None


def utf8(text: str) -> bytes:
    """Return a text as UTF-8; a lone surrogate, which JSON can smuggle in, becomes a question mark."""
    return text.encode("utf-8", "replace")


def number(value: float) -> str:
    """Return a rule's number as the text that an event's equal number has."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def equals(literal: str, shown: str) -> Test:
    """Return the test for a number or boolean, which an event may hold as itself or as text."""
    return Test(literal.__eq__, True, f"is {shown}", Atom("exact", literal))


_COMPARISONS: dict[CompareOperators, tuple[str, Callable[[float, float], bool]]] = {
    CompareOperators.LT: ("<", operator.lt),
    CompareOperators.LTE: ("<=", operator.le),
    CompareOperators.GT: (">", operator.gt),
    CompareOperators.GTE: (">=", operator.ge),
    CompareOperators.NEQ: ("!=", operator.ne),
}


def compare(op: CompareOperators, bound: float) -> Test:
    """Return the test for a numeric comparison; a text that is no number meets none."""
    sign, holds = _COMPARISONS[op]

    def ok(text: str) -> bool:
        value = _as_number(text)
        return value is not None and holds(value, bound)

    return Test(ok, False, f"{sign} {number(bound)}")


#: Decimal notation, ASCII digits. What else Python reads as a number (``1_0``, ``inf``, other scripts' digits) is none.
_NUMBER = re.compile(
    r"\s*[+-]?(?:([0-9]+)|[0-9]+\.[0-9]*(?:[eE][+-]?[0-9]+)?|(?:\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*"
)


def _as_number(text: str) -> float | None:
    found = _NUMBER.fullmatch(text) if len(text) <= 64 else None
    if found is None:
        return None
    # Whole numbers stay exact: a float cannot tell 2**53 from 2**53 + 1.
    return int(text) if found[1] else float(text)


def cidr(network: IPv4Network | IPv6Network) -> Test:
    """Return the test for an address inside a network; IPv4 written as IPv6 (``::ffff:10.0.0.1``) counts as IPv4."""

    def ok(text: str) -> bool:
        address = _address(text)
        if address is None:
            return False
        if address.version == network.version and address in network:
            return True
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return mapped is not None and network.version == 4 and mapped in network

    return Test(ok, False, f"in {network}")


@lru_cache(maxsize=8192)
def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    return _parse_address(text.strip()) if len(text) <= 64 else None


def time_part(part: TimestampPart, bound: int, op: CompareOperators | None = None) -> Test:
    """Return the test for one part of a time: ISO 8601 (UTC unless it says otherwise), or an epoch in s to ns.

    The part equals ``bound``, or compares with it by ``op``.
    """
    read: dict[TimestampPart, Callable[[datetime], int]] = {
        TimestampPart.MINUTE: lambda t: t.minute,
        TimestampPart.HOUR: lambda t: t.hour,
        TimestampPart.DAY: lambda t: t.day,
        TimestampPart.WEEK: lambda t: t.isocalendar().week,
        TimestampPart.MONTH: lambda t: t.month,
        TimestampPart.YEAR: lambda t: t.year,
    }
    get = read[part]
    sign, holds = _COMPARISONS[op] if op is not None else ("is", operator.eq)

    def ok(text: str) -> bool:
        moment = _moment(text)
        return moment is not None and holds(get(moment), bound)

    return Test(ok, False, f"{part.name.lower()} {sign} {bound}")


#: A date, alone or with a time after it. Python's parser takes any letter between the two, and weeks.
_STAMP = re.compile(r"(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})(?:[Tt ][0-9:.,]+(?:[Zz]|[+-][0-9:]+)?)?")


def _moment(text: str) -> datetime | None:
    text = text.strip()
    try:
        value = _as_number(text)
        # Eight digits are a date (20201018), not the year 1970.
        if value is not None and not (len(text) == 8 and text.isdigit()):
            for unit in (1, 1e3, 1e6, 1e9):
                if value / unit < 1e11:
                    return datetime.fromtimestamp(value / unit, UTC)
            return None
        if not _STAMP.fullmatch(text):
            return None
        moment = datetime.fromisoformat(text.upper())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None
