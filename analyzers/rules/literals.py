"""Which of many cheap tests a text satisfies: a dict for whole texts, Hyperscan for all others in one scan."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakSet

import hyperscan

from analyzers.rules.patterns import Atom, Test

#: Longest text that is remembered, characters.
MAX_CACHED_LENGTH = 1_024
#: What an entry of a cache takes beside its text, bytes.
ENTRY = 200
#: So few literals are looked for one by one; a scan costs more.
FEW = 3
#: Characters of ASCII that only some engines count as spaces.
_ODD = re.compile("[\\x0b\\x1c-\\x1f]")


class Budget:
    """Bounds what caches take together: when it is spent, all begin anew.

    >>> budget, cache = Budget(1000), {"a": 1}
    >>> budget.join(cache); budget.spend(1000); cache
    {}
    """

    __slots__ = ("__weakref__", "_caches", "_left", "_limit", "_parts", "_whole")

    def __init__(self, limit: int, whole: Budget | None = None) -> None:
        self._limit = self._left = limit
        self._caches: list[dict[Any, Any]] = []
        self._whole = whole
        self._parts: WeakSet[Budget] = WeakSet()

    def part(self) -> Budget:
        """Return a budget that spends of this one; when nobody has it any more, its caches are not kept for this."""
        part = Budget(0, self)
        self._parts.add(part)
        return part

    def join(self, cache: dict[Any, Any]) -> None:
        """Have a cache cleared with the others."""
        self._caches.append(cache)

    def spend(self, size: int) -> None:
        """Count an entry whose text has so many characters."""
        if self._whole is not None:
            self._whole.spend(size)
            return
        self._left -= size + ENTRY
        if self._left < 0:
            self.clear()

    def clear(self) -> None:
        """Have all begin anew."""
        self._left = self._limit
        for cache in self._caches:
            cache.clear()
        for part in tuple(self._parts):
            part.clear()

    def close(self) -> None:
        """Forget the caches themselves."""
        self.clear()
        self._caches.clear()


class FieldAtoms:
    r"""The atoms of one field, numbered, and the texts met lately with those they satisfy.

    >>> atoms = FieldAtoms({Atom("suffix", "cmd.exe"): 7, Atom("exact", "a"): 9}, Budget(10_000))
    >>> atoms.of(r"C:\CMD.EXE"), atoms.of("A"), atoms.of("b")
    ((7,), (9,), ())
    """

    __slots__ = ("_always", "_budget", "_exact", "_found", "_longest", "_parts", "_patterns", "_scan")

    def __init__(self, atoms: Mapping[Atom, int], budget: Budget) -> None:
        exact = {atom: number for atom, number in atoms.items() if atom.op == "exact"}
        others = {atom: number for atom, number in atoms.items() if atom.op != "exact"}
        self._exact = {atom.literal: (number,) for atom, number in exact.items()}
        #: Longest text that can be one of these: folding never makes a text shorter.
        self._longest = max(map(len, self._exact), default=0)
        # Hyperscan takes no empty literal, and ends one at a NUL.
        parts = {atom: number for atom, number in others.items() if atom.exact}
        self._parts = list(parts.items())
        #: Atoms that count as satisfied by any text.
        self._always = tuple(number for atom, number in others.items() if atom not in parts and atom.op != "regex")
        self._patterns = PatternScanner((number, atom.literal) for atom, number in others.items() if atom.op == "regex")
        self._scan = Scanner(atom.literal for atom, _ in self._parts)
        self._found: dict[str, tuple[int, ...]] = {}
        self._budget = budget
        budget.join(self._found)

    @property
    def contained(self) -> list[tuple[str, int]]:
        """Return the literals of ASCII that may stand anywhere in a text, with their atoms' numbers."""
        return [
            (atom.literal, number) for atom, number in self._parts if atom.op == "contains" and atom.literal.isascii()
        ]

    @property
    def ready(self) -> bool:
        """Return whether what searches texts was compiled, which is done when first needed."""
        return self._scan.ready or self._patterns.ready

    def prepare(self) -> None:
        """Compile what searches texts now."""
        self._find("-")

    def of(self, text: str) -> tuple[int, ...]:
        """Return the numbers of the atoms that the text satisfies in any case."""
        if len(text) > MAX_CACHED_LENGTH:
            return self._find(text)
        found = self._found.get(text)
        if found is None:
            found = self._found[text] = self._find(text)
            self._budget.spend(len(text))
        return found

    def _find(self, text: str) -> tuple[int, ...]:
        # The scan folds the case of ASCII by itself, which spares most texts a copy.
        folded = text if text.isascii() else text.casefold()
        found = self._always
        if self._exact and len(text) <= self._longest:
            found += self._exact.get(text.casefold(), ())
        if self._patterns.some:
            found += self._patterns.of(text)
        if not self._parts:
            return found
        hits: list[int] = []
        for place in self._scan.of(folded):
            atom, number = self._parts[place]
            # The scan tells that the literal is somewhere; where it must stand is tested here.
            length = len(atom.literal)
            if (
                atom.op == "contains"
                or (atom.op == "suffix" and folded[-length:].casefold() == atom.literal)
                or (atom.op == "prefix" and folded[:length].casefold() == atom.literal)
            ):
                hits.append(number)
        return found + tuple(hits) if hits else found


class Shortlist:
    """Of many tests, those that a text may pass: one scan instead of a search for each.

    >>> from analyzers.rules.patterns import Text
    >>> [test.literal for test in Shortlist([Text("contains", f"w{i}", folded=True) for i in range(9)]).of("w3-w7")]
    ['w3', 'w7']
    """

    __slots__ = ("_always", "_exact", "_scan", "_scanned", "_tests")

    def __init__(self, tests: Sequence[Test]) -> None:
        self._tests = tests
        self._exact: dict[str, list[int]] = {}
        self._always: list[int] = []
        self._scanned: list[int] = []
        literals: list[str] = []
        for place, test in enumerate(tests):
            atom = test.necessary
            if atom is None or not atom.exact:
                self._always.append(place)
            elif atom.op == "exact":
                self._exact.setdefault(atom.literal, []).append(place)
            else:
                self._scanned.append(place)
                literals.append(atom.literal)
        self._scan = Scanner(literals)

    def of(self, folded: str) -> list[Test]:
        """Return the tests whose necessary literal a case-folded text holds, and those that have none, in order."""
        places = self._always + self._exact.get(folded, [])
        if self._scanned:
            places += [self._scanned[hit] for hit in self._scan.of(folded)]
        return [self._tests[place] for place in sorted(places)]


class Scanner:
    """Finds which of many case-folded literals a text contains; the case of ASCII does not matter.

    >>> sorted(Scanner(["ab", "b", "c", "x"]).of("aBc"))
    [0, 1, 2]
    """

    __slots__ = ("_database", "_literals")

    def __init__(self, literals: Iterable[str]) -> None:
        #: UTF-8: a text is part of another exactly if its bytes are.
        self._literals = [literal.encode("utf-8", "surrogatepass") for literal in literals]
        #: Built when first needed: most fields of most rule sets are never met.
        self._database: hyperscan.Database | None = None

    @property
    def ready(self) -> bool:
        """Return whether the literals are compiled."""
        return self._database is not None

    def of(self, text: str) -> list[int]:
        """Return the places of the literals that the text contains, in no particular order."""
        data = text.encode("utf-8", "surrogatepass")
        if len(self._literals) <= FEW:
            data = data.lower()
            return [place for place, literal in enumerate(self._literals) if literal in data]
        if self._database is None:
            self._database = hyperscan.Database()
            self._database.compile(
                expressions=self._literals,
                ids=list(range(len(self._literals))),
                elements=len(self._literals),
                flags=hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_CASELESS,
                literal=True,
            )
        hits: list[int] = []
        if not data:  # which Hyperscan refuses
            return hits
        self._database.scan(data, match_event_handler=note, context=hits)
        return hits


class PatternScanner:
    """Tells which of many patterns a text may match, by one search; never that it matches none that it does.

    >>> PatternScanner([(7, "0:a{3}"), (8, f"{int(re.IGNORECASE)}:b$")]).of("xaaaB")
    (7, 8)
    """

    __slots__ = ("_all", "_always", "_compiled", "_database", "_patterns", "some")

    def __init__(self, patterns: Iterable[tuple[int, str]]) -> None:
        """Prepare for numbered patterns, each as its flags, a colon, and itself."""
        self._patterns = list(patterns)
        self._all = tuple(number for number, _ in self._patterns)
        #: Whether there is any pattern.
        self.some = bool(self._patterns)
        self._always: tuple[int, ...] = ()
        self._compiled = False
        self._database: hyperscan.Database | None = None

    @property
    def ready(self) -> bool:
        """Return whether the patterns are compiled."""
        return self._compiled

    def of(self, text: str) -> tuple[int, ...]:
        """Return the numbers of the patterns that the text may match."""
        # What counts as a space, a letter, or the same letter, differs beyond these.
        if not text or not text.isascii() or _ODD.search(text):
            return self._all
        if not self._compiled:
            self._compile()
        if self._database is None:
            return self._all
        hits: list[int] = []
        self._database.scan(text.encode(), match_event_handler=note, context=hits)
        return (*self._always, *hits)

    def _compile(self) -> None:
        """Compile all patterns; those that Hyperscan refuses count as matched by every text."""
        good = [each for each in self._patterns if _compiled([each]) is not None]
        self._database = _compiled(good) if good else None
        self._always = tuple(number for number in self._all if number not in dict(good))
        self._compiled = True


def _compiled(patterns: Sequence[tuple[int, str]]) -> hyperscan.Database | None:
    flags: list[int] = []
    for _, flagged in patterns:
        given = int(flagged.partition(":")[0])
        own = hyperscan.HS_FLAG_PREFILTER | hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
        own |= hyperscan.HS_FLAG_CASELESS if given & re.IGNORECASE else 0
        own |= hyperscan.HS_FLAG_MULTILINE if given & re.MULTILINE else 0
        flags.append(own | (hyperscan.HS_FLAG_DOTALL if given & re.DOTALL else 0))
    database = hyperscan.Database()
    try:
        database.compile(
            expressions=[flagged.partition(":")[2].encode() for _, flagged in patterns],
            ids=[number for number, _ in patterns],
            elements=len(patterns),
            flags=flags,
        )
    except hyperscan.error:
        return None
    return database


def note(place: int, start: int, end: int, flags: int, hits: Any) -> None:
    """Note a pattern that Hyperscan found."""
    hits.append(place)
