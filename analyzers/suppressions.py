"""Which signals are not wanted as alerts: suppressions as the control topic tells them, by event time. Pure."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from state.alerts import Level
from state.control import LATEST, Refusal, Suppression, refuse

#: Suppressions that are kept, past ones among them; further ones are refused.
MAX_SUPPRESSIONS = 10_000
#: Kinds of signals that are of one event, and are checked together with it.
OF_EVENTS = frozenset(("rule", "text"))
#: Kinds whose rule is a metric and a direction (``failed_logins:peak``); the metric alone names both directions.
_OF_METRICS = frozenset(("threshold", "anomaly"))
#: From this level on a suppression must name the rule: whoever silences a host has not thought of its worst.
NAMED_FROM = Level.high
#: Elements of a list that are compared.
MAX_ELEMENTS = 1_000

#: What gives the fields of the event; it is called only where rule and entity fit.
Fields = Callable[[], Mapping[str, Any]]
_Parts = tuple[str, ...]


class _Entry(msgspec.Struct, frozen=True):
    offset: int
    id: str
    since: int
    until: int
    #: Name of a field, and its value cut at the stars, case-folded.
    fields: tuple[tuple[str, _Parts], ...]

    def meets(self, fields: Fields | None) -> bool:
        """Say whether the event has the fields; what is of no event has none."""
        if not self.fields:
            return True
        if fields is None:
            return False
        found = fields()
        return all(any(_meets(text, parts) for text in _texts(found, name)) for name, parts in self.fields)


class Suppressions:
    """All suppressions ever told, and when each ended. The same however often one is told.

    >>> told = Suppression(version=1, id="c-" + "0" * 20, author="ann", reason="scanner", written_at=2 * 10**15,
    ...                    from_time=10**15, rule="r1", entity=None, until_time=None, fields={"User": "svc-*"})
    >>> known = Suppressions()
    >>> known.add(told, 0)
    >>> known.find("rule", "r1", "web-1", Level.high, 10**15, lambda: {"user": "SVC-backup"}) == told.id
    True
    >>> known.find("rule", "r1", "web-1", Level.high, 10**15, lambda: {"user": "alice"})
    ''
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        #: When those that were removed end, µs.
        self._ends: dict[str, int] = {}
        #: By rule and entity, case-folded; empty: any. In the order of offsets.
        self._places: dict[tuple[str, str], list[_Entry]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, message: Suppression, offset: int) -> Refusal | None:
        """Take in a suppression, or the end of one; say why not, if it cannot be."""
        if message.removes is not None:
            if message.removes not in self._entries:
                return refuse("unknown_suppression", f"there is no suppression {message.removes}")
            end = self._ends.get(message.removes, LATEST)
            self._ends[message.removes] = min(end, message.from_time)
            return None
        if message.id in self._entries:
            return None
        if len(self._entries) >= MAX_SUPPRESSIONS:
            return refuse("too_many", f"there are {MAX_SUPPRESSIONS:,} suppressions; no more are kept")
        until = LATEST if message.until_time is None else message.until_time
        fields = tuple((name, tuple(value.casefold().split("*"))) for name, value in sorted(message.fields.items()))
        entry = _Entry(offset, message.id, message.from_time, until, fields)
        self._entries[message.id] = entry
        place = ((message.rule or "").casefold(), (message.entity or "").casefold())
        insort(self._places.setdefault(place, []), entry, key=lambda entry: entry.offset)
        return None

    def find(
        self, kind: str, rule: str, entity: str, level: Level | None, time: int, fields: Fields | None = None
    ) -> str:
        """Return the id of the suppression that a signal meets, of several the one told first; empty: none.

        Args:
            kind: the signal's kind.
            rule: its rule or metric.
            entity: whom it is about.
            level: how severe it is; ``None``: not known. From ``NAMED_FROM`` on only what names the rule is met.
            time: its event time, µs.
            fields: gives the fields of its event; ``None``: it is of none.
        """
        if not self._entries:
            return ""
        rule, entity = rule.casefold(), entity.casefold()
        names = {rule, rule.partition(":")[0]} if kind in _OF_METRICS else {rule}
        places = [(name, whom) for name in names if name for whom in (entity, "")]
        if level is None or level < NAMED_FROM:
            places.append(("", entity))
        best: _Entry | None = None
        for place in places:
            for entry in self._places.get(place, ()):
                if best is not None and entry.offset >= best.offset:
                    break
                until = min(entry.until, self._ends.get(entry.id, LATEST))
                if entry.since <= time < until and entry.meets(fields):
                    best = entry
        return "" if best is None else best.id

    def copy(self) -> Suppressions:
        """Return suppressions of its own that are the same."""
        other = Suppressions()
        other._entries, other._ends = dict(self._entries), dict(self._ends)
        other._places = {place: list(entries) for place, entries in self._places.items()}
        return other


def _texts(fields: Mapping[str, Any], name: str) -> list[str]:
    """Return the values of a field as case-folded text; the name is sought as it is spelt, then in any case."""
    value = fields.get(name)
    if value is None:
        folded = name.casefold()
        value = next((fields[key] for key in fields if key.casefold() == folded), None)
    values = value[:MAX_ELEMENTS] if isinstance(value, list | tuple) else [value]
    return [_text(value).casefold() for value in values if isinstance(value, str | int | float)]


def _text(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _meets(text: str, parts: _Parts) -> bool:
    """Say whether a text is made of the parts with anything between them. In time linear in its length."""
    if len(parts) == 1:
        return text == parts[0]
    first, *middle, last = parts
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
