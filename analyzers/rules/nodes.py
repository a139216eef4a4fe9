"""A rule's condition, compiled: a tree whose nodes answer for one event.

Nodes are plain data, so that compiled rules can be kept on disk and read again without parsing a rule.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cached_property

import msgspec

from analyzers.rules.literals import Shortlist
from analyzers.rules.patterns import Atom, Cidr, Compare, Like, Test, Text, TimePart
from analyzers.rules.regexes import Regex
from analyzers.rules.view import ANY_FIELD, View

#: Any test, as it is read from disk.
AnyTest = Text | Like | Regex | Cidr | Compare | TimePart

#: Alternatives in one necessary clause; a larger clause is not worth a prefilter's memory.
MAX_CLAUSE = 5_000
#: How telling a pattern is, as many letters.
PATTERN_WEIGHT = 15
#: Ways to meet a condition that are told apart.
MAX_BRANCHES = 16
#: From so many tests on, one scan says which of them a text may pass.
MANY = 64

#: Alternatives on (field, atom), one of which holds in every event that meets the node.
Clause = tuple[tuple[str, Atom], ...]
#: A text that is in a field of every event that meets the node, and whether in just that case; else it is case-folded.
Spelled = tuple[str, str, bool]
#: What met the rule: field, how the rule puts it, the value.
Evidence = list[tuple[str, str, str]]


class Branch(msgspec.Struct, frozen=True, gc=False):
    """One way to meet a condition: every clause holds, and nothing that excludes it does."""

    clauses: tuple[Clause, ...]
    excluding: Clause
    #: What every event that meets it holds besides.
    spelled: tuple[Spelled, ...] = ()


class Node(msgspec.Struct, frozen=True, gc=False):
    """A part of a condition."""

    @abstractmethod
    def match(self, view: View) -> bool:
        """Return whether the event meets this part."""

    def explain(self, view: View, found: Evidence) -> None:
        """Append the fields and values that met this part; called only where ``match`` is true."""
        return None

    def clauses(self) -> list[Clause]:
        """Return clauses that each hold in every event that meets this part; none where that cannot be said."""
        return []

    def branches(self) -> list[Branch]:
        """Return ways to meet this part, one of which is that of every event that does."""
        return [Branch(tuple(self.clauses()), self.excluding(), self.spelled())]

    def spelled(self) -> tuple[Spelled, ...]:
        """Return texts that are in certain fields of every event that meets this part; not all of them."""
        return ()

    def sufficient(self) -> Clause:
        """Return alternatives of which each alone means that an event meets this part; not all of them."""
        return ()

    def excluding(self) -> Clause:
        """Return alternatives of which each alone means that an event does not meet this part; not all of them."""
        return ()


class And(Node, frozen=True, gc=False, tag="and"):
    """All parts."""

    parts: tuple[AnyNode, ...]

    def match(self, view: View) -> bool:
        """Return whether every part is met."""
        for part in self.parts:  # noqa: SIM110 - takes half the time of all()
            if not part.match(view):
                return False
        return True

    def explain(self, view: View, found: Evidence) -> None:
        """Explain every part."""
        for part in self.parts:
            part.explain(view, found)

    def clauses(self) -> list[Clause]:
        """Return the clauses of all parts."""
        return [clause for part in self.parts for clause in part.clauses()]

    def branches(self) -> list[Branch]:
        """Return every combination of the parts' branches, as long as they are not too many."""
        found = [Branch((), ())]
        for part in self.parts:
            ways = part.branches()
            if len(found) * len(ways) > MAX_BRANCHES:
                ways = [Branch(tuple(part.clauses()), part.excluding(), part.spelled())]
            found = [
                Branch(one.clauses + way.clauses, one.excluding + way.excluding, one.spelled + way.spelled)
                for one in found
                for way in ways
            ]
        return found

    def spelled(self) -> tuple[Spelled, ...]:
        """Return the texts of all parts."""
        return tuple(each for part in self.parts for each in part.spelled())

    def sufficient(self) -> Clause:
        """Return what suffices for the one part; more parts take more than one test."""
        return self.parts[0].sufficient() if len(self.parts) == 1 else ()

    def excluding(self) -> Clause:
        """Return what excludes any part."""
        return tuple(dict.fromkeys(each for part in self.parts for each in part.excluding()))


class Or(Node, frozen=True, gc=False, tag="or"):
    """At least one part."""

    parts: tuple[AnyNode, ...]

    def match(self, view: View) -> bool:
        """Return whether some part is met."""
        for part in self.parts:  # noqa: SIM110 - as above
            if part.match(view):
                return True
        return False

    def explain(self, view: View, found: Evidence) -> None:
        """Explain the first part that is met."""
        for part in self.parts:
            if part.match(view):
                part.explain(view, found)
                return

    def clauses(self) -> list[Clause]:
        """Return one clause: the most telling one of each part, joined."""
        joined: list[tuple[str, Atom]] = []
        for part in self.parts:
            clauses = part.clauses()
            if not clauses:
                return []
            best: Clause = max(clauses, key=weight)
            joined.extend(best)
        return [tuple(dict.fromkeys(joined))] if len(joined) <= MAX_CLAUSE else []

    def branches(self) -> list[Branch]:
        """Return the branches of all parts, or one if they are too many."""
        found = [branch for part in self.parts for branch in part.branches()]
        return found if len(found) <= MAX_BRANCHES else super().branches()

    def sufficient(self) -> Clause:
        """Return what suffices for any part."""
        return tuple(dict.fromkeys(each for part in self.parts for each in part.sufficient()))


class Not(Node, frozen=True, gc=False, tag="not"):
    """The part is not met; a field that the event lacks meets nothing, so its negation holds."""

    part: AnyNode

    def match(self, view: View) -> bool:
        """Return whether the part is not met."""
        return not self.part.match(view)

    def excluding(self) -> Clause:
        """Return what suffices for the part."""
        return self.part.sufficient()


class Quick(msgspec.Struct, frozen=True, gc=False):
    """Tests by what decides them at the speed of C, and all others."""

    exact: frozenset[str]
    prefixes: tuple[str, ...]
    suffixes: tuple[str, ...]
    contained: tuple[str, ...]
    others: tuple[AnyTest, ...]

    @classmethod
    def of(cls, tests: tuple[AnyTest, ...]) -> Quick:
        """Sort the tests."""
        plain = [test for test in tests if isinstance(test, Text) and test.folded]
        by = {op: tuple(t.literal for t in plain if t.op == op) for op in ("exact", "prefix", "suffix", "contains")}
        others = tuple(test for test in tests if not (isinstance(test, Text) and test.folded))
        return cls(frozenset(by["exact"]), by["prefix"], by["suffix"], by["contains"], others)


class Field(Node, frozen=True, gc=True, dict=True, tag="field"):
    """One of a field's values passes one of the tests."""

    name: str
    tests: tuple[AnyTest, ...]

    @cached_property
    def _shortlist(self) -> Shortlist:
        return Shortlist(self.tests)

    @cached_property
    def _quick(self) -> Quick:
        return Quick.of(self.tests)

    def match(self, view: View) -> bool:
        """Return whether a value passes a test."""
        if len(self.tests) > MANY:
            return self._first(view) is not None
        quick = self._quick
        for text in view.folded(self.name):
            if (
                text in quick.exact
                or (quick.prefixes and text.startswith(quick.prefixes))
                or (quick.suffixes and text.endswith(quick.suffixes))
            ):
                return True
            for literal in quick.contained:
                if literal in text:
                    return True
        for test in quick.others:
            ok = test.ok
            for text in view.folded(self.name) if test.folded else view.plain(self.name):
                if ok(text):
                    return True
        return False

    def explain(self, view: View, found: Evidence) -> None:
        """Append the first value that passes, as the event wrote it."""
        first = self._first(view)
        if first is not None:
            found.append((self.name, first[0].shown, first[1]))

    def _first(self, view: View) -> tuple[Test, str] | None:
        plain = view.plain(self.name)
        if not plain:
            return None
        folded = view.folded(self.name)
        if len(self.tests) > MANY:
            for i, text in enumerate(folded):
                for test in self._shortlist.of(text):
                    if test.ok(text if test.folded else plain[i]):
                        return test, plain[i]
            return None
        for test in self.tests:
            ok = test.ok
            for i, text in enumerate(folded if test.folded else plain):
                if ok(text):
                    return test, plain[i]
        return None

    def clauses(self) -> list[Clause]:
        """Return the tests as one clause, if each has a cheap necessary test."""
        atoms = [test.sought for test in self.tests]
        if len(atoms) > MAX_CLAUSE or any(atom is None for atom in atoms):
            return []
        return [tuple((self.name, atom) for atom in atoms if atom is not None)]

    def spelled(self) -> tuple[Spelled, ...]:
        """Return the texts of the one test, if it is a pattern; of several tests it is not known which is met."""
        if len(self.tests) != 1 or not isinstance(self.tests[0], Regex):
            return ()
        return tuple((self.name, text, cased) for text, cased in self.tests[0].texts)

    def sufficient(self) -> Clause:
        """Return the tests that are nothing but cheap."""
        return tuple((self.name, test.necessary) for test in self.tests if isinstance(test, Text) and test.folded)


class Keyword(Node, frozen=True, gc=True, dict=True, tag="keyword"):
    """Some value of any field passes one of the tests."""

    tests: tuple[AnyTest, ...]

    @cached_property
    def _shortlist(self) -> Shortlist:
        return Shortlist(self.tests)

    def match(self, view: View) -> bool:
        """Return whether any value of the event passes a test."""
        return self._first(view) is not None

    def explain(self, view: View, found: Evidence) -> None:
        """Append the first value that passes."""
        first = self._first(view)
        if first is not None:
            found.append(("any field", first[0].shown, first[1]))

    def clauses(self) -> list[Clause]:
        """Return the tests as one clause on all fields at once, if each has a cheap necessary test."""
        atoms = [test.necessary for test in self.tests]
        if len(atoms) > MAX_CLAUSE or any(atom is None or atom.op != "contains" for atom in atoms):
            return []
        return [tuple((ANY_FIELD, atom) for atom in atoms if atom is not None)]

    def _first(self, view: View) -> tuple[Test, str] | None:
        joined = view.joined()
        for test in self._shortlist.of(joined) if len(self.tests) > MANY else self.tests:
            atom = test.necessary
            # What some value must contain, the joined values contain.
            if atom is not None and atom.literal not in joined:
                continue
            for text in view.all():
                if test.ok(text.casefold() if test.folded else text):
                    return test, text
        return None


class Null(Node, frozen=True, gc=False, tag="null"):
    """The event lacks the field, or it is null."""

    name: str

    def match(self, view: View) -> bool:
        """Return whether the field has no value."""
        return not view.exists(self.name)

    def explain(self, view: View, found: Evidence) -> None:
        """Say that the field is missing."""
        found.append((self.name, "is null", ""))


class Exists(Node, frozen=True, gc=False, tag="exists"):
    """The event has the field, or lacks it, whatever its value: the specification counts null as present."""

    name: str
    expected: bool

    def match(self, view: View) -> bool:
        """Return whether the field's presence is as expected."""
        return view.has(self.name) is self.expected

    def explain(self, view: View, found: Evidence) -> None:
        """Say that the field exists or not."""
        found.append((self.name, "exists" if self.expected else "does not exist", " ".join(view.plain(self.name))))


class FieldReference(Node, frozen=True, gc=False, tag="fieldref"):
    """A value of the field equals, begins with, ends with or contains a value of another field, in any case."""

    name: str
    other: str
    starts: bool
    ends: bool

    def match(self, view: View) -> bool:
        """Return whether any pair of values agrees; a missing field agrees with nothing."""
        return any(self._agree(a, b) for a in view.folded(self.name) for b in view.folded(self.other))

    def _agree(self, text: str, other: str) -> bool:
        if self.starts and self.ends:
            return other in text
        if self.starts:
            return text.startswith(other)
        if self.ends:
            return text.endswith(other)
        return text == other

    def explain(self, view: View, found: Evidence) -> None:
        """Append the field and what it is compared with."""
        how = "contains" if self.starts and self.ends else "startswith" if self.starts else "endswith"
        how = how if self.starts or self.ends else "equals"
        found.append((self.name, f"{how} field {self.other}", " ".join(view.plain(self.name))))


class Constant(Node, frozen=True, gc=False, tag="constant"):
    """Always, or never."""

    value: bool

    def match(self, view: View) -> bool:
        """Return the constant."""
        return self.value


#: Any node, as it is read from disk.
AnyNode = And | Or | Not | Field | Keyword | Null | Exists | FieldReference | Constant


def weight(clause: Clause) -> float:
    """Return how telling a clause is: the rarest guess of its commonest alternative, less for many alternatives."""
    if not clause:
        return 0.0
    bonus = {"exact": 3, "prefix": 0, "suffix": 1, "contains": 0}
    rarest = min(
        PATTERN_WEIGHT if atom.op == "regex" else len(atom.literal) + bonus[atom.op] if atom.literal else 0
        for _, atom in clause
    )
    return float(rarest - math.sqrt(len(clause)) / 4)
