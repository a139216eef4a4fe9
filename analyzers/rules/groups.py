"""The rules of one kind of event that see its fields by the same names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

from analyzers.rules.compiled import Compiled
from analyzers.rules.literals import MAX_CACHED_LENGTH
from analyzers.rules.logsources import Route
from analyzers.rules.nodes import Evidence
from analyzers.rules.prefilter import Column, Index, Prefilter
from analyzers.rules.reasons import reason
from analyzers.rules.view import Spellings, View
from state.events import Fields

#: Stands for fields that an event lacks, which null is not: it hides other spellings, and ``exists`` asks for it.
_ABSENT = repeat(object())
#: A rule that an event meets: its place in the set, the rule, the reason.
Decided = tuple[int, Compiled, str]
#: No reason, but a sign that none was looked for yet.
UNDECIDED: Any = object()


class Group:
    """Rules that one kind of event concerns and that see its fields alike."""

    __slots__ = ("_budget", "_decided", "_inputs", "_places", "_rule_of", "aliases", "conditions", "prefilter", "rules")

    def __init__(self, routes: Sequence[tuple[Column, Route]], compiled: Sequence[Compiled], index: Index) -> None:
        """Prepare for some branches of the whole set, in order, with their routes, all of the same aliases."""
        places = list(dict.fromkeys(column.place for column, _ in routes))
        self.aliases = routes[0][1].aliases
        self.rules = tuple(compiled[place] for place in places)
        self.prefilter = Prefilter(index, [column for column, _ in routes], self.aliases)
        #: Of each branch, which of the rules it is of.
        numbers = {place: number for number, place in enumerate(places)}
        self._rule_of = [numbers[column.place] for column, _ in routes]
        #: What must hold of an event's fields for some of the branches, with the bits of those.
        self.conditions: list[tuple[Route, int]] = []
        self._places = tuple(places)
        for route in dict.fromkeys(route for _, route in routes):
            if route.holds is not None:
                bits = sum(1 << bit for bit, (_, other) in enumerate(routes) if other is route)
                self.conditions.append((route, bits))
        self._budget = index.budget
        #: Of each rule that was a candidate, the original fields that decide it, and what was decided by their values.
        self._inputs: dict[int, tuple[str, ...]] = {}
        self._decided: dict[tuple[Any, ...], str | None] = {}
        index.budget.join(self._decided)

    def respell(self, spellings: Spellings) -> None:
        """Learn by which names events have the fields that rules name."""
        self.prefilter.respell(spellings)
        self._inputs.clear()
        self._decided.clear()

    def allowed(self, candidates: int, fields: Fields) -> int:
        """Return the bits of those branches whose route holds for the event; only a route's ``needs`` are read."""
        for route, bits in self.conditions:
            if candidates & bits and route.holds is not None and not route.holds(fields):
                candidates &= ~bits
        return candidates

    def judge(self, candidates: int, fields: Fields, spellings: Spellings, met: list[Decided]) -> None:
        """Decide the rules of branches whose bits are set, and whose routes hold, by the fields that they name."""
        view: View | None = None
        for here in self._named(candidates):
            inputs = self._inputs.get(here)
            if inputs is None:
                inputs = self._inputs[here] = tuple(dict.fromkeys(self._names(self.rules[here], spellings)))
            # Values repeat, and so do the rules that they nearly meet.
            key: tuple[Any, ...] = (here, *map(fields.get, inputs, _ABSENT))
            if bool in map(type, key):  # True and 1 are one key to a dict and two texts to a rule
                key = (*key, *map(type, key))
            try:
                said = self._decided.get(key, UNDECIDED)
            except TypeError:  # a list or an object among the values
                key = ()
                said = UNDECIDED
            if said is UNDECIDED:
                view = view or View(fields, spellings, self.aliases)
                said = decide(self.rules[here], view)
                size = sum(len(value) for value in key if type(value) is str)
                if key and size <= MAX_CACHED_LENGTH:
                    self._budget.spend(size)
                    self._decided[key] = said
            if said is not None:
                met.append((self._places[here], self.rules[here], said))

    def judge_whole(self, fields: Fields, spellings: Spellings, met: list[Decided]) -> None:
        """Decide the rules of a group that reads every field."""
        view = View(fields, spellings, self.aliases)
        candidates = self.allowed(self.prefilter.candidates(fields, view), fields)
        for here in self._named(candidates):
            said = decide(self.rules[here], view)
            if said is not None:
                met.append((self._places[here], self.rules[here], said))

    def _named(self, candidates: int) -> Iterator[int]:
        """Yield each rule, by place in the group, that has a branch whose bit is set."""
        last = -1
        while candidates:
            low = candidates & -candidates
            candidates ^= low
            here = self._rule_of[low.bit_length() - 1]
            if here != last:  # the branches of a rule stand together
                last = here
                yield here

    def _names(self, compiled: Compiled, spellings: Spellings) -> Iterator[str]:
        for name in compiled.rule.fields:
            alias = self.aliases.get(name.casefold())
            if alias is not None:
                yield from alias.inputs
            else:
                yield name
                yield from spellings.others(name) or ()


def decide(compiled: Compiled, view: View) -> str | None:
    """Return why an event meets a rule, or None if it does not."""
    if not compiled.node.match(view):
        return None
    evidence: Evidence = []
    compiled.node.explain(view, evidence)
    return reason(evidence)
