"""The rules of one kind of event that see its fields by the same names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

from analyzers.rules.compiled import Compiled
from analyzers.rules.literals import MAX_CACHED_LENGTH
from analyzers.rules.logsources import Route
from analyzers.rules.nodes import Evidence
from analyzers.rules.prefilter import Index, Prefilter
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

    __slots__ = ("_budget", "_decided", "_inputs", "_places", "aliases", "conditions", "prefilter", "rules")

    def __init__(self, routes: Mapping[int, Route], compiled: Sequence[Compiled], index: Index) -> None:
        """Prepare for some rules of the whole set, by place with their routes, all of the same aliases."""
        places = sorted(routes)
        self.aliases = routes[places[0]].aliases
        self.rules = tuple(compiled[place] for place in places)
        self.prefilter = Prefilter(index, places, self.aliases)
        #: What must hold of an event's fields for some of the rules, with the bits of those.
        self.conditions: list[tuple[Route, int]] = []
        self._places = tuple(places)
        for route in dict.fromkeys(routes.values()):
            if route.holds is not None:
                bits = sum(1 << here for here, place in enumerate(places) if routes[place] is route)
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
        """Return the bits of those rules whose route holds for the event; only a route's ``needs`` are read."""
        for route, bits in self.conditions:
            if candidates & bits and route.holds is not None and not route.holds(fields):
                candidates &= ~bits
        return candidates

    def judge(self, candidates: int, fields: Fields, spellings: Spellings, met: list[Decided]) -> None:
        """Decide the rules whose bits are set, of an event that their routes hold for, by the fields that they name."""
        view: View | None = None
        while candidates:
            low = candidates & -candidates
            candidates ^= low
            here = low.bit_length() - 1
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
        for here in range(candidates.bit_length()):
            if candidates >> here & 1 and (said := decide(self.rules[here], view)) is not None:
                met.append((self._places[here], self.rules[here], said))

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
