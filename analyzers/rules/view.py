"""An event as rules see it: any spelling of a field name, any type of value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from state.events import Fields


class Alias(msgspec.Struct, frozen=True, eq=False):
    """A field that a rule asks for and the format has otherwise."""

    #: The original fields that it is computed from.
    inputs: tuple[str, ...]
    #: Computes it; None if the event has no such thing.
    read: Callable[[Fields], object]
    #: Whether it is the one input as it is.
    renames: bool = False
    #: Whether its texts are those of the inputs, unchanged.
    verbatim: bool = False


#: Aliases by case-folded field name.
Aliases = Mapping[str, Alias]

#: Field name spellings remembered before the memory starts anew.
MAX_SPELLINGS = 50_000
#: Different spellings of one field remembered before the memory starts anew.
MAX_VARIANTS = 64
#: Nesting of lists and objects inside one field's value that is searched.
MAX_NESTING = 16
#: Elements of one list, or values of one event, that are searched. Keeps a list of 300,000 elements from stalling the
#: stream; no log known to us comes near it.
MAX_VALUES = 4_096
#: Stands between the texts of ``View.joined``.
SEPARATOR = "\0"
#: Stands for all fields at once, where a field's name is expected.
ANY_FIELD = "\0"


def texts(value: object) -> tuple[str, ...]:
    """Return the texts that a field's value stands for: every element of a list, none for null.

    >>> texts(["a", [4624, 1.0], None, True])
    ('a', '4624', '1', 'true')
    """
    if isinstance(value, str):
        return (value,)
    if value is None:
        return ()
    if isinstance(value, bool):
        return ("true",) if value else ("false",)
    if isinstance(value, int):
        return (str(value),)
    if isinstance(value, float):
        return (str(int(value)) if value.is_integer() else repr(value),)
    if isinstance(value, list | tuple):
        found: list[str] = []
        _collect(value, found, 0, objects=False)
        return tuple(found)
    return ()


def _collect(value: object, found: list[str], depth: int, *, objects: bool) -> None:
    if depth > MAX_NESTING or len(found) >= MAX_VALUES:
        return
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, list | tuple):
        for element in value:
            _collect(element, found, depth + 1, objects=objects)
    elif isinstance(value, dict):
        if objects:
            for element in value.values():
                _collect(element, found, depth + 1, objects=objects)
    else:
        found.extend(texts(value))


def spelled(name: str, others: Sequence[str], fields: Fields) -> object:
    """Return a field's value by the rule's spelling, else by all others; None if the event has none."""
    value = fields.get(name)
    if value is not None or name in fields:
        return value
    found = [fields[other] for other in others if other in fields]
    return found[0] if len(found) == 1 else found or None


class Spellings:
    """The spellings of field names met so far, so that a look-up in any case costs a dict access and no scan."""

    __slots__ = ("_crowded", "_known", "_others", "_wanted", "version")

    def __init__(self, wanted: Iterable[str]) -> None:
        self._wanted: dict[str, list[str]] = {}
        for name in dict.fromkeys(wanted):
            self._wanted.setdefault(name.casefold(), []).append(name)
        self._known: dict[str, None] = {}
        self._others: dict[str, list[str]] = {}
        self._crowded = False
        #: Rises when another spelling is learned, or all are forgotten.
        self.version = 0

    def observe(self, names: Mapping[str, Any]) -> None:
        """Learn an event's field names; must be called before its fields are looked up."""
        if names.keys() <= self._known.keys():
            return
        if self._crowded or len(self._known) > MAX_SPELLINGS:
            self._known.clear()
            self._others.clear()
            self._crowded = False
            self.version += 1
        for name in names:
            if name not in self._known:
                self._known[name] = None
                for wanted in self._wanted.get(name.casefold(), ()):
                    if wanted != name:
                        others = self._others.setdefault(wanted, [])
                        others.append(name)
                        self.version += 1
                        self._crowded = self._crowded or len(others) > MAX_VARIANTS

    def others(self, name: str) -> list[str] | None:
        """Return the other spellings met of a name that was wanted."""
        return self._others.get(name)


class View:
    """One event's fields, looked up by the rule's spelling, converted and case-folded once."""

    __slots__ = ("_aliases", "_all", "_folded", "_joined", "_plain", "_spellings", "fields")

    def __init__(self, fields: Fields, spellings: Spellings, aliases: Aliases) -> None:
        self.fields = fields
        self._spellings = spellings
        self._aliases = aliases
        self._plain: dict[str, tuple[str, ...]] = {}
        self._folded: dict[str, tuple[str, ...]] = {}
        self._all: tuple[str, ...] | None = None
        self._joined: str | None = None

    def value(self, name: str) -> object:
        """Return a field's original value, or None; the exact spelling is preferred, else all others count."""
        fields = self.fields
        if self._aliases and (alias := self._aliases.get(name.casefold())) is not None:
            return alias.read(fields)
        value = fields.get(name)
        if value is not None:
            return value
        others = self._spellings.others(name)
        return spelled(name, others, fields) if others is not None else None

    def plain(self, name: str) -> tuple[str, ...]:
        """Return a field's texts; empty if the event has no such field or it is null."""
        found = self._plain.get(name)
        if found is None:
            if name == ANY_FIELD:
                return (self.joined(),)
            value = self.value(name)
            found = self._plain[name] = (value,) if type(value) is str else texts(value)
        return found

    def folded(self, name: str) -> tuple[str, ...]:
        """Return a field's texts, case-folded."""
        found = self._folded.get(name)
        if found is None:
            found = self._folded[name] = tuple([text.casefold() for text in self.plain(name)])
        return found

    def all(self) -> tuple[str, ...]:
        """Return the texts of every field, for keywords."""
        if self._all is None:
            found: list[str] = []
            for value in self.fields.values():
                if type(value) is str:
                    found.append(value)
                else:
                    _collect(value, found, 1, objects=True)
            self._all = tuple(found[:MAX_VALUES])
        return self._all

    def joined(self) -> str:
        """Return the texts of every field, case-folded, as one text with SEPARATOR between them."""
        if self._joined is None:
            self._joined = SEPARATOR.join(self.all()).casefold()
        return self._joined

    def exists(self, name: str) -> bool:
        """Return whether the event has the field with a value other than null; an empty text is a value."""
        return self.value(name) is not None

    def has(self, name: str) -> bool:
        """Return whether the event has the field at all, null or not."""
        if self._aliases and (alias := self._aliases.get(name.casefold())) is not None:
            return alias.read(self.fields) is not None
        fields = self.fields
        return name in fields or any(other in fields for other in self._spellings.others(name) or ())
