"""What the rules of a set have to do with one kind of event."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any, Protocol, TypeVar

from analyzers.rules.compiled import Compiled
from analyzers.rules.keywords import Keywords
from analyzers.rules.literals import MAX_CACHED_LENGTH
from analyzers.rules.logsources import Route
from analyzers.rules.nodes import Evidence
from analyzers.rules.prefilter import Index, Prefilter
from analyzers.rules.reasons import reason
from analyzers.rules.view import Spellings, View
from state.events import Fields, Kind

#: Stands for fields that an event lacks, which null is not: it hides other spellings, and ``exists`` asks for it.
_ABSENT = repeat(object())
#: A rule that an event meets: its place in the set, the rule, the reason.
Decided = tuple[int, Compiled, str]
#: No reason, but a sign that none was looked for yet.
UNDECIDED: Any = object()


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


E = TypeVar("E", bound=Message)


class Group:
    """Rules that one kind of event concerns and that see its fields alike."""

    __slots__ = ("_budget", "_decided", "_inputs", "_places", "prefilter", "route", "rules")

    def __init__(self, route: Route, places: Sequence[int], compiled: Sequence[Compiled], index: Index) -> None:
        """Prepare for the rules at the places, ascending, of the whole set."""
        self.route = route
        self.rules = tuple(compiled[place] for place in places)
        self.prefilter = Prefilter(index, places, route.aliases)
        self._places = tuple(places)
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

    def judge(self, candidates: int, fields: Fields, spellings: Spellings, met: list[Decided]) -> None:
        """Decide the rules whose bits are set, of an event that the route holds for, by the fields that they name."""
        route = self.route
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
                view = view or View(fields, spellings, route.aliases)
                said = decide(self.rules[here], view)
                size = sum(len(value) for value in key if type(value) is str)
                if key and size <= MAX_CACHED_LENGTH:
                    self._budget.spend(size)
                    self._decided[key] = said
            if said is not None:
                met.append((self._places[here], self.rules[here], said))

    def judge_whole(self, fields: Fields, spellings: Spellings, met: list[Decided]) -> None:
        """Decide the rules of a group that reads every field."""
        route = self.route
        if route.holds is not None and not route.holds(fields):
            return
        view = View(fields, spellings, route.aliases)
        candidates = self.prefilter.candidates(fields, view)
        for here in range(candidates.bit_length()):
            if candidates >> here & 1 and (said := decide(self.rules[here], view)) is not None:
                met.append((self._places[here], self.rules[here], said))

    def _names(self, compiled: Compiled, spellings: Spellings) -> Iterator[str]:
        for name in compiled.rule.fields:
            alias = self.route.aliases.get(name.casefold())
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


class Plan:
    """All rules that one kind of event concerns: those decided by named fields, and those that read every field."""

    __slots__ = ("_groups", "_keywords", "_spellings", "_version", "_whole")

    def __init__(self, groups: Sequence[Group], whole: Sequence[Group], spellings: Spellings) -> None:
        self._groups = tuple(groups)
        self._whole = tuple(whole)
        self._keywords = Keywords([each for group in whole for each in group.rules]) if whole else None
        self._spellings = spellings
        self._version = -1

    @property
    def rules(self) -> tuple[Compiled, ...]:
        """Return the rules, by place within each group."""
        return tuple(each for group in (*self._groups, *self._whole) for each in group.rules)

    def decide(self, event: E, decode: Callable[[E], Fields], verbatim: bool) -> list[Decided]:
        """Return the rules that an event meets, by place.

        ``verbatim`` tells that every text of the event's fields stands in its raw message as a JSON string.
        """
        whole = self._keywords is not None and not (verbatim and self._keywords.missing(event.raw))
        if not self._groups and not whole:
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
            holds = group.route.holds
            if holds is not None and not holds(fields):
                continue
            if candidates := group.prefilter.candidates(fields, None):
                group.judge(candidates, fields, spellings, met)
        if whole:
            for group in self._whole:
                group.judge_whole(fields, spellings, met)
        if len(met) > 1:
            met.sort(key=_place)
        return met


def _place(decided: Decided) -> int:
    return decided[0]
