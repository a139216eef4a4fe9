"""Which of many cheap tests a text satisfies: a dict for whole texts, Hyperscan for all others in one scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import hyperscan

from analyzers.rules.patterns import Atom

#: Longest text that is remembered, characters.
MAX_CACHED_LENGTH = 1_024
#: What an entry of a cache takes beside its text, bytes.
ENTRY = 200
#: So few literals are looked for one by one; a scan costs more.
FEW = 3


class Budget:
    """Bounds what caches take together: when it is spent, all begin anew.

    >>> budget, cache = Budget(1000), {"a": 1}
    >>> budget.join(cache); budget.spend(1000); cache
    {}
    """

    __slots__ = ("_caches", "_left", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit
        self._caches: list[dict[Any, Any]] = []

    def join(self, cache: dict[Any, Any]) -> None:
        """Have a cache cleared with the others."""
        self._caches.append(cache)

    def spend(self, size: int) -> None:
        """Count an entry whose text has so many characters."""
        self._left -= size + ENTRY
        if self._left < 0:
            self.clear()

    def clear(self) -> None:
        """Have all begin anew."""
        self._left = self._limit
        for cache in self._caches:
            cache.clear()


class FieldAtoms:
    """The atoms of one field, numbered, and the texts met lately with those they satisfy.

    >>> atoms = FieldAtoms({Atom("suffix", "cmd.exe"): 7, Atom("exact", "a"): 9}, Budget(10_000))
    >>> atoms.of("C:\\CMD.EXE"), atoms.of("A"), atoms.of("b")
    ((7,), (9,), ())
    """

    __slots__ = ("_always", "_budget", "_exact", "_found", "_parts", "_scan")

    def __init__(self, atoms: Mapping[Atom, int], budget: Budget) -> None:
        exact = {atom: number for atom, number in atoms.items() if atom.op == "exact"}
        others = {atom: number for atom, number in atoms.items() if atom.op != "exact"}
        self._exact = {atom.literal: (number,) for atom, number in exact.items()}
        # Hyperscan takes no empty literal, and ends one at a NUL.
        parts = {atom: number for atom, number in others.items() if atom.literal and "\0" not in atom.literal}
        self._parts = list(parts.items())
        #: Atoms that count as satisfied by any text.
        self._always = tuple(number for atom, number in others.items() if atom not in parts)
        self._scan = Scanner(atom.literal for atom, _ in self._parts)
        self._found: dict[str, tuple[int, ...]] = {}
        self._budget = budget
        budget.join(self._found)

    def of(self, text: str) -> tuple[int, ...]:
        """Return the numbers of the atoms that the text satisfies in any case."""
        found = self._found.get(text)
        if found is None:
            found = self._find(text.casefold())
            if len(text) <= MAX_CACHED_LENGTH:
                self._budget.spend(len(text))
                self._found[text] = found
        return found

    def _find(self, folded: str) -> tuple[int, ...]:
        found = self._always + self._exact.get(folded, ())
        if not self._parts:
            return found
        hits: list[int] = []
        for place in self._scan.of(folded):
            atom, number = self._parts[place]
            # The scan tells that the literal is somewhere; where it must stand is tested here.
            if (
                atom.op == "contains"
                or (atom.op == "suffix" and folded.endswith(atom.literal))
                or (atom.op == "prefix" and folded.startswith(atom.literal))
            ):
                hits.append(number)
        return found + tuple(hits) if hits else found


class Scanner:
    """Finds which of many literals a text contains, as written.

    >>> sorted(Scanner(["ab", "b", "c", "x"]).of("abc"))
    [0, 1, 2]
    """

    __slots__ = ("_database", "_literals")

    def __init__(self, literals: Iterable[str]) -> None:
        #: UTF-8: a text is part of another exactly if its bytes are.
        self._literals = [literal.encode("utf-8", "surrogatepass") for literal in literals]
        #: Built when first needed: most fields of most rule sets are never met.
        self._database: hyperscan.Database | None = None

    def of(self, text: str) -> list[int]:
        """Return the places of the literals that the text contains, in no particular order."""
        return self.of_bytes(text.encode("utf-8", "surrogatepass"))

    def of_bytes(self, data: bytes) -> list[int]:
        """Return the places of the literals that the bytes contain, in no particular order."""
        if len(self._literals) <= FEW:
            return [place for place, literal in enumerate(self._literals) if literal in data]
        if self._database is None:
            self._database = hyperscan.Database()
            self._database.compile(
                expressions=self._literals,
                ids=list(range(len(self._literals))),
                elements=len(self._literals),
                flags=hyperscan.HS_FLAG_SINGLEMATCH,
                literal=True,
            )
        hits: list[int] = []
        if not data:  # which Hyperscan refuses
            return hits
        self._database.scan(data, match_event_handler=note, context=hits)
        return hits


def note(place: int, start: int, end: int, flags: int, hits: Any) -> None:
    """Note a pattern that Hyperscan found."""
    hits.append(place)
