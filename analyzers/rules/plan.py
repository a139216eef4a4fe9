"""What the rules of a set have to do with one kind of event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from analyzers.rules.compiled import Compiled
from analyzers.rules.groups import Decided, Group
from analyzers.rules.keywords import Keywords
from analyzers.rules.logsources import Route
from analyzers.rules.nodes import And, Keyword, Node, Not, Or
from analyzers.rules.prefilter import Column, Index
from analyzers.rules.screen import Branches, Screen
from analyzers.rules.shortcut import Message, Shortcut, Undecoded
from analyzers.rules.view import Spellings
from state.events import Fields

E = TypeVar("E", bound=Message)


class Plan:
    """All rules that one kind of event concerns: those decided by named fields, and those that read every field."""

    __slots__ = (
        "_branches",
        "_compiled",
        "_groups",
        "_index",
        "_keywords",
        "_spellings",
        "_version",
        "_whole",
        "screens",
    )

    def __init__(self, branches: Branches, compiled: Sequence[Compiled], index: Index, spellings: Spellings) -> None:
        """Prepare for some branches, in order, with their routes."""
        self._branches = branches
        self._compiled = compiled
        self._index = index
        self._groups, self._whole = self._grouped(branches, index)
        self._keywords = Keywords([each for group in self._whole for each in group.rules])
        self._spellings = spellings
        #: Those known, by format.
        self.screens: dict[str, Screen[Plan] | None] = {}
        self._version = -1

    @property
    def rules(self) -> tuple[Compiled, ...]:
        """Return the rules, by place within each group."""
        return tuple(each for group in (*self._groups, *self._whole) for each in group.rules)

    def screen(self, format: str, undecoded: Undecoded) -> Screen[Plan] | None:
        """Return what names the plan that must decide a message of the format; None if nothing can."""
        found = None
        if undecoded.verbatim(format):
            found = Screen(
                self._branches,
                (self, self._shortcut(format, undecoded)),
                lambda branches: (part := self._part(branches), part._shortcut(format, undecoded)),
            )
        self.screens[format] = found
        return found

    def decide(self, event: E, decode: Callable[[E], Fields], undecoded: Undecoded | None) -> list[Decided]:
        """Return the rules that an event meets, by place."""
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

    def _part(self, branches: Branches) -> Plan:
        """Return the plan for some branches, with an index of its own: texts are searched for what these need."""
        index = Index(((column.place, column.branch) for column, _ in branches), self._index.budget.part())
        own = [(column, route) for column, (_, route) in zip(index.columns, branches, strict=True)]
        return Plan(own, self._compiled, index, self._spellings)

    def _shortcut(self, format: str, undecoded: Undecoded) -> Shortcut | None:
        return Shortcut.of(self._groups, self._keywords, undecoded, format, self._index.budget)

    def _grouped(self, branches: Branches, index: Index) -> tuple[list[Group], list[Group]]:
        """Return the rules that read named fields, by how they see them, and those that read all fields."""
        alike: dict[tuple[bool, int], list[tuple[Column, Route]]] = {}
        for column, route in branches:
            seen = (_reads_all(self._compiled[column.place].node), id(route.aliases) if route.aliases else 0)
            alike.setdefault(seen, []).append((column, route))
        groups = {seen: Group(some, self._compiled, index) for seen, some in alike.items()}
        return (
            [group for (reads_all, _), group in groups.items() if not reads_all],
            [group for (reads_all, _), group in groups.items() if reads_all],
        )


def _reads_all(node: Node) -> bool:
    """Return whether a condition has keywords, which may stand in any field."""
    if isinstance(node, And | Or):
        return any(_reads_all(part) for part in node.parts)
    return _reads_all(node.part) if isinstance(node, Not) else isinstance(node, Keyword)


def _place(decided: Decided) -> int:
    return decided[0]
