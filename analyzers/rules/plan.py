"""What the rules of a set have to do with one kind of event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from analyzers.rules.compiled import Compiled
from analyzers.rules.groups import Decided, Group
from analyzers.rules.keywords import Keywords
from analyzers.rules.literals import Budget
from analyzers.rules.shortcut import Message, Shortcut, Undecoded
from analyzers.rules.view import Spellings
from state.events import Fields

E = TypeVar("E", bound=Message)


class Plan:
    """All rules that one kind of event concerns: those decided by named fields, and those that read every field."""

    __slots__ = ("_budget", "_groups", "_keywords", "_shortcuts", "_spellings", "_version", "_whole")

    def __init__(self, groups: Sequence[Group], whole: Sequence[Group], spellings: Spellings, budget: Budget) -> None:
        self._groups = tuple(groups)
        self._whole = tuple(whole)
        self._keywords = Keywords([each for group in whole for each in group.rules])
        self._spellings = spellings
        self._budget = budget
        #: By format; None where an event must be decoded whole.
        self._shortcuts: dict[str, Shortcut | None] = {}
        self._version = -1

    @property
    def rules(self) -> tuple[Compiled, ...]:
        """Return the rules, by place within each group."""
        return tuple(each for group in (*self._groups, *self._whole) for each in group.rules)

    def decide(self, event: E, decode: Callable[[E], Fields], undecoded: Undecoded | None) -> list[Decided]:
        """Return the rules that an event meets, by place."""
        if undecoded is not None:
            try:
                shortcut = self._shortcuts[event.format]
            except KeyError:
                shortcut = Shortcut.of(self._groups, self._keywords, undecoded, event.format, self._budget)
                self._shortcuts[event.format] = shortcut
            if shortcut is not None and shortcut.skips(event):
                return []
        fields = decode(event)
        spellings = self._spellings
        spellings.observe(fields)
        if self._version != spellings.version:
            self._version = spellings.version
            for group in (*self._groups, *self._whole):
                group.respell(spellings)
        met: list[Decided] = []
        for group in self._groups:
            candidates = group.prefilter.candidates(fields, None)
            if candidates and (candidates := group.allowed(candidates, fields)):
                group.judge(candidates, fields, spellings, met)
        if self._whole:
            raw = event.raw if undecoded is not None and undecoded.verbatim(event.format) else b""
            if not (raw and self._keywords.missing(raw)):
                for group in self._whole:
                    group.judge_whole(fields, spellings, met)
        if len(met) > 1:
            met.sort(key=_place)
        return met


def _place(decided: Decided) -> int:
    return decided[0]
