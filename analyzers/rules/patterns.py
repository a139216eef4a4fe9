"""Tests on one text: what a Sigma value means after its modifiers.

A test is plain data, so that compiled rules can be kept on disk; the function that runs is built when first asked for.
"""

from __future__ import annotations

import operator
import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Annotated, Literal, Self

import msgspec
import re2  # type: ignore[import-untyped]

Op = Literal["exact", "prefix", "suffix", "contains"]
#: Part of a text with wildcards: a literal, so many characters of any sort (``?``), or any number of them (``*``).
Part = str | Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None


class Atom(msgspec.Struct, frozen=True):
    """A cheap test: on a case-folded text, or of a pattern (``regexes.sought``) on the text as it is."""

    op: Op | Literal["regex"]
    literal: str

    @property
    def exact(self) -> bool:
        """Return whether it is tested as it stands; otherwise any text counts as passing (``literals``)."""
        return self.op != "regex" and bool(self.literal) and "\0" not in self.literal


class Test(msgspec.Struct, frozen=True, kw_only=True, dict=True, omit_defaults=True):
    """One value of a rule as a test on one text of an event."""

    #: Whether ``ok`` expects the case-folded text.
    folded: bool = False

    @property
    @abstractmethod
    def ok(self) -> Callable[[str], bool]:
        """Return what says of a text whether it passes. Raises Unsupported, or another error, if that cannot be run."""

    @property
    @abstractmethod
    def shown(self) -> str:
        """Return how people read the test: ``endswith \\cmd.exe``."""

    @property
    def necessary(self) -> Atom | None:
        """Return what is true of the case-folded text whenever ``ok`` is, so that a prefilter can skip; or None."""
        return None

    @property
    def sought(self) -> Atom | None:
        """Return what a prefilter looks for in one field: as ``necessary``, but it may be a pattern."""
        return self.necessary

    def checked(self) -> Self:
        """Return the test if it can be run, which is tried; raises as ``ok``."""
        self.ok("")
        return self


class Text(Test, frozen=True, dict=True, omit_defaults=True, tag="text"):
    """The text is, begins with, ends with or contains a literal, which is case-folded if the text is."""

    op: Op
    literal: str

    @cached_property
    def ok(self) -> Callable[[str], bool]:
        """Return the comparison."""
        return _simple(self.op, self.literal)

    @property
    def shown(self) -> str:
        """Return the modifier and the literal."""
        return f"{_SHOWN[self.op]} {self.literal}"

    @cached_property
    def necessary(self) -> Atom:
        """Return the test itself, in any case."""
        return Atom(self.op, self.literal if self.folded else self.literal.casefold())


_SHOWN: dict[Op, str] = {"exact": "is", "prefix": "startswith", "suffix": "endswith", "contains": "contains"}


class Like(Test, frozen=True, dict=True, omit_defaults=True, tag="like"):
    """The text is a sequence of literals and wildcards."""

    parts: tuple[Part, ...]

    @cached_property
    def ok(self) -> Callable[[str], bool]:
        """Return a match that never backtracks."""
        return _single(self.parts) if any(isinstance(part, int) for part in self.parts) else _pieces(self.parts)

    @property
    def shown(self) -> str:
        """Return the parts as Sigma writes them."""
        return "like " + "".join("*" if p is None else p if isinstance(p, str) else "?" * p for p in self.parts)

    @cached_property
    def necessary(self) -> Atom:
        """Return the longest literal, in any case."""
        return Atom("contains", max((p for p in self.parts if isinstance(p, str)), key=len, default="").casefold())


def wildcard(parts: Sequence[Part], *, cased: bool = False, keyword: bool = False) -> Text | Like:
    """Return the test for a text with wildcards; a keyword may stand anywhere in the text.

    Comparison folds case by Unicode (``str.casefold``), which folds letter by letter, so that a part of a text stays
    a part of the folded text.
    """
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else ""
        if isinstance(part, str):
            if part:
                joined.append(part if cased else part.casefold())
        elif part is not None and isinstance(last, int):
            joined[-1] = last + part
        elif part is not None or last is not None:
            joined.append(part)
    if keyword:
        ends = (0, len(joined) - 1)
        joined = [None, *(part for i, part in enumerate(joined) if part is not None or i not in ends), None]
    head = bool(joined) and joined[0] is None
    tail = len(joined) > 1 and joined[-1] is None
    inner = joined[head : len(joined) - tail]
    if len(inner) > 1 or any(not isinstance(part, str) for part in inner):
        return Like(tuple(joined), folded=not cased)
    op: Op = "contains" if head and tail else "suffix" if head else "prefix" if tail else "exact"
    return Text(op, "".join(part for part in inner if isinstance(part, str)), folded=not cased)


def _simple(op: Op, literal: str) -> Callable[[str], bool]:
    if op == "exact":
        return literal.__eq__
    if op == "prefix":
        return lambda text: text.startswith(literal)
    if op == "suffix":
        return lambda text: text.endswith(literal)
    return lambda text: literal in text


def _pieces(parts: Sequence[Part]) -> Callable[[str], bool]:
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


def _single(parts: Sequence[Part]) -> Callable[[str], bool]:
    """Match a pattern with ``?`` by RE2, in linear time."""
    body = "".join(re2.escape(p) if isinstance(p, str) else ".*" if p is None else "." * p for p in parts)
    pattern = re2.compile(rf"(?s)\A{body}\z")
    return lambda text: pattern.search(utf8(text)) is not None


def utf8(text: str) -> bytes:
    """Return a text as UTF-8; a lone surrogate, which JSON can smuggle in, becomes a question mark."""
    return text.encode("utf-8", "replace")


def number(value: float) -> str:
    """Return a rule's number as the text that an event's equal number has."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def equals(literal: str) -> Text:
    """Return the test for a number or boolean, which an event may hold as itself or as text."""
    return Text("exact", literal, folded=True)


Sign = Literal["<", "<=", ">", ">=", "!="]
_COMPARISONS: dict[Sign, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "!=": operator.ne,
}


class Compare(Test, frozen=True, dict=True, omit_defaults=True, tag="compare"):
    """The text is a number that compares so; a text that is no number meets none."""

    sign: Sign
    #: The number in decimal digits: it may be larger than what fits in 64 bits.
    bound: Annotated[str, msgspec.Meta(max_length=400)]

    @cached_property
    def ok(self) -> Callable[[str], bool]:
        """Return the numeric comparison."""
        holds, bound = _COMPARISONS[self.sign], _number(self.bound)

        def ok(text: str) -> bool:
            value = _as_number(text)
            return value is not None and holds(value, bound)

        return ok

    @property
    def shown(self) -> str:
        """Return the sign and the number."""
        return f"{self.sign} {number(_number(self.bound))}"


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


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


class Cidr(Test, frozen=True, dict=True, omit_defaults=True, tag="cidr"):
    """The text is an address inside a network; IPv4 written as IPv6 (``::ffff:10.0.0.1``) counts as IPv4."""

    network: str

    @cached_property
    def ok(self) -> Callable[[str], bool]:
        """Return the look-up."""
        network = ip_network(self.network)

        def ok(text: str) -> bool:
            address = _address(text)
            if address is None:
                return False
            if address.version == network.version and address in network:
                return True
            mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
            return mapped is not None and network.version == 4 and mapped in network

        return ok

    @property
    def shown(self) -> str:
        """Return the network."""
        return f"in {self.network}"


@lru_cache(maxsize=8192)
def _parse_address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    return _parse_address(text.strip()) if len(text) <= 64 else None


Unit = Literal["minute", "hour", "day", "week", "month", "year"]
_UNITS: dict[Unit, Callable[[datetime], int]] = {
    "minute": lambda t: t.minute,
    "hour": lambda t: t.hour,
    "day": lambda t: t.day,
    "week": lambda t: t.isocalendar().week,
    "month": lambda t: t.month,
    "year": lambda t: t.year,
}


class TimePart(Test, frozen=True, dict=True, omit_defaults=True, tag="time"):
    """The text is a time of which one part is so: ISO 8601 (UTC unless it says otherwise), or an epoch in s to ns."""

    unit: Unit
    expected: int
    #: How the part compares with what is expected; equal if it does not say.
    sign: Sign | None = None

    @cached_property
    def ok(self) -> Callable[[str], bool]:
        """Return what reads the time."""
        get, expected = _UNITS[self.unit], self.expected
        holds = _COMPARISONS[self.sign] if self.sign is not None else operator.eq

        def ok(text: str) -> bool:
            moment = _moment(text)
            return moment is not None and bool(holds(get(moment), expected))

        return ok

    @property
    def shown(self) -> str:
        """Return the part and its value."""
        return f"{self.unit} {self.sign or 'is'} {self.expected}"


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
