"""Tells of a raw message that it meets no rule of a plan, from the few of its fields that the prefilter asks for.

Decoding some fields into a tuple costs half of decoding all into a dict. A field that the tuple lacks may still be in
the message under another spelling, so the names that are missing are looked for in the raw bytes, in any case and with
escapes, by the same scan that looks for keywords. Where anything is found, or a rule stays a candidate, the whole
message is decoded and decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from analyzers.rules.groups import Group
from analyzers.rules.keywords import Keywords, Scan
from analyzers.rules.literals import MAX_CACHED_LENGTH, Budget
from analyzers.rules.view import texts
from state.events import Kind

UNSET = msgspec.UNSET
#: Sets of missing names for which one shortcut keeps what looks for them.
MAX_SCANS = 256
#: After so many events of unknown values it is asked whether remembering pays; if not, so many go without.
MISSES, REST = 2_000, 50_000
#: Names that JSON writes as they are, but for case and escapes, and that no alphabet folds to otherwise.
_PLAIN = re.compile(r"[\w.@ -]+", re.ASCII)


class Message(Protocol):
    """What rules must know of an event, besides its fields."""

    @property
    def id(self) -> str:
        """The event's id."""

    @property
    def kind(self) -> Kind:
        """What sort of event it is."""

    @property
    def raw(self) -> bytes:
        """The message as it was read."""

    @property
    def format(self) -> str:
        """The name of its format."""


#: The values of an event's fields, by place of their names; UNSET for what it lacks under just that name.
Projector = Callable[[Message], tuple[object, ...]]


class Undecoded(Protocol):
    """What can be told of a message without decoding it whole."""

    def verbatim(self, format: str) -> bool:
        """Return whether all names and texts of a format's fields stand in its messages as JSON strings."""

    def project(self, format: str, names: tuple[str, ...]) -> Projector | None:
        """Return what decodes just the named fields of a format, or None if it must be decoded whole."""


class Shortcut:
    """Tells that an event of one kind and format meets no rule of a plan."""

    __slots__ = (
        "_budget",
        "_clean",
        "_groups",
        "_hits",
        "_keywords",
        "_misses",
        "_names",
        "_project",
        "_rest",
        "_scans",
    )

    def __init__(
        self, groups: Sequence[Group], keywords: Keywords, names: Sequence[str], project: Projector, budget: Budget
    ) -> None:
        self._keywords = keywords
        self._names = tuple(names)
        self._project = project
        places = {name: place for place, name in enumerate(names)}
        self._groups = [_Values(group, places) for group in groups]
        #: What looks for keywords and missing names, in messages of ASCII and in others, by the bits of the names.
        self._scans: dict[int, tuple[Scan, Scan]] = {}
        #: Values of which no rule is a candidate, with the bits of the names that are missing.
        self._clean: dict[tuple[object, ...], int] = {}
        self._budget = budget
        budget.join(self._clean)
        #: How often values were found there, and not; how many events to come go without.
        self._hits = self._misses = self._rest = 0

    @classmethod
    def of(
        cls, groups: Sequence[Group], keywords: Keywords, undecoded: Undecoded, format: str, budget: Budget
    ) -> Shortcut | None:
        """Return the shortcut for a format, or None if there is none."""
        if not undecoded.verbatim(format) or keywords.anywhere:
            return None
        plain: dict[str, None] = {}
        exact: dict[str, None] = {}
        for group in groups:
            for name, alias, _ in group.prefilter.entries():
                if alias is None:
                    plain[name] = None
                else:
                    exact.update(dict.fromkeys(alias.inputs))
            for route, _ in group.conditions:
                exact.update(dict.fromkeys(route.needs))
        if len({name.casefold() for name in plain}) < len(plain) or not all(map(_PLAIN.fullmatch, plain)):
            return None
        names = tuple(plain | exact)
        project = undecoded.project(format, names) if names else _nothing
        return None if project is None else cls(groups, keywords, names, project, budget)

    def skips(self, message: Message) -> bool:
        """Return whether the message meets no rule; if not, only its fields can tell."""
        absent: int | None = None
        try:
            values = self._project(message)
            if self._rest:
                self._rest -= 1
            else:
                absent = self._clean.get(values)
        except Exception:
            return False  # decoding it whole says what is wrong; or lists among the values, which is rare
        if absent is None:
            absent = 0
            for group in self._groups:
                candidates, missed = group.candidates(values)
                if candidates:
                    return False
                absent |= missed
            if not self._rest:
                self._remember(values, absent)
        else:
            self._hits += 1
        scans = self._scans.get(absent)
        if scans is None:
            scans = self._scans_of(absent)
        return scans[message.raw.isascii()](message.raw)

    def _remember(self, values: tuple[object, ...], absent: int) -> None:
        """Have the next event of the same values known at once, where such events are not rare."""
        self._misses += 1
        if self._misses >= MISSES:
            if self._hits * 2 < self._misses:
                self._rest = REST
            self._hits = self._misses = 0
        size = 0
        for value in values:
            if type(value) is str:
                size += len(value)
            elif value is not UNSET and value is not None:
                return  # True and 1 are one key to a dict and two texts to a rule
        if size <= MAX_CACHED_LENGTH:
            self._budget.spend(size)
            self._clean[values] = absent

    def _scans_of(self, absent: int) -> tuple[Scan, Scan]:
        if len(self._scans) >= MAX_SCANS:
            self._scans.clear()
        names = [name for place, name in enumerate(self._names) if absent >> place & 1]
        self._scans[absent] = found = self._keywords.scans(names)
        return found


class _Values:
    """A group's prefilter over projected values."""

    __slots__ = ("_bits", "_group", "_memories", "_needs", "_pick", "_prefilter", "_read", "_tables")

    def __init__(self, group: Group, places: Mapping[str, int]) -> None:
        self._group = group
        self._prefilter = group.prefilter
        plain = [(places[name], table) for name, alias, table in self._prefilter.entries() if alias is None]
        self._tables = tuple(table for _, table in plain)
        self._memories = tuple(table.bits for table in self._tables)
        self._bits = tuple(1 << place for place, _ in plain)
        chosen = [place for place, _ in plain]
        #: The places of the plain fields; None if they are the first.
        self._pick = None if chosen == list(range(len(chosen))) else chosen
        self._read = [
            (alias.read, tuple((name, places[name]) for name in alias.inputs), table)
            for _, alias, table in self._prefilter.entries()
            if alias is not None
        ]
        self._needs = tuple((name, places[name]) for route, _ in group.conditions for name in route.needs)

    def candidates(self, values: Sequence[object]) -> tuple[int, int]:
        """Return the bits of the rules that an event may meet, and those of the names that it lacks."""
        met = self._prefilter.always
        absent = 0
        picked: Sequence[object] = values if self._pick is None else [values[place] for place in self._pick]
        for value, bits_of, table, bit in zip(picked, self._memories, self._tables, self._bits, strict=False):
            if type(value) is str:
                # To hash a long text takes as long as a look into it; no such is remembered.
                if len(value) <= MAX_CACHED_LENGTH:
                    bits = bits_of.get(value)
                    met |= table.find(value) if bits is None else bits
                elif not table.excludes(value):
                    met |= table.find(value)
            elif value is UNSET:
                absent |= bit
            elif value is not None:
                for text in texts(value):
                    met |= table.find(text)
        for read, inputs, table in self._read:
            for text in texts(read(_fields(inputs, values))):
                met |= table.find(text)
        left = self._prefilter.left(met)
        if left and self._needs:
            left = self._group.allowed(left, _fields(self._needs, values))
        return left, absent


def _nothing(message: Message) -> tuple[object, ...]:
    return ()


def _fields(inputs: Sequence[tuple[str, int]], values: Sequence[object]) -> dict[str, Any]:
    return {name: values[place] for name, place in inputs if values[place] is not UNSET}
