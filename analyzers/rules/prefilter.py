"""Skips rules that an event cannot meet, many at a time.

Each rule has necessary clauses: sets of cheap tests on case-folded texts, one of which holds in every event that meets
the rule (``nodes.Node.clauses``). Up to LAYERS clauses a rule are kept, each a bit in its own layer; a text of a field
maps to the bits of the clauses it satisfies, remembered by text because values repeat. A rule stays a candidate if
some field satisfied its clause in every layer; its full condition decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analyzers.rules.nodes import Clause, weight
from analyzers.rules.patterns import Atom
from analyzers.rules.view import View

#: Clauses a rule that are checked.
LAYERS = 3
#: Texts remembered a field, and the longest text that is.
MAX_CACHED = 2_048
MAX_CACHED_LENGTH = 1_024


class _FieldBits:
    """The clauses that a text of one field satisfies."""

    __slots__ = ("_cache", "_contains", "_ends", "_exact", "_present", "_starts")

    def __init__(self) -> None:
        self._exact: dict[str, int] = {}
        self._starts: dict[int, dict[str, int]] = {}
        self._ends: dict[int, dict[str, int]] = {}
        self._contains: dict[str, int] = {}
        #: Clauses that any value satisfies.
        self._present = 0
        self._cache: dict[str, int] = {}

    def add(self, atom: Atom, bit: int) -> None:
        literal = atom.literal
        if atom.op == "exact":
            self._exact[literal] = self._exact.get(literal, 0) | bit
        elif not literal:
            self._present |= bit
        elif atom.op == "contains":
            self._contains[literal] = self._contains.get(literal, 0) | bit
        else:
            ends = (self._starts if atom.op == "prefix" else self._ends).setdefault(len(literal), {})
            ends[literal] = ends.get(literal, 0) | bit

    def of(self, text: str) -> int:
        bits = self._cache.get(text)
        if bits is not None:
            return bits
        folded = text.casefold()
        bits = self._present | self._exact.get(folded, 0)
        for length, literals in self._starts.items():
            bits |= literals.get(folded[:length], 0)
        for length, literals in self._ends.items():
            bits |= literals.get(folded[-length:], 0)
        for literal, bit in self._contains.items():
            if literal in folded:
                bits |= bit
        if len(text) <= MAX_CACHED_LENGTH:
            if len(self._cache) >= MAX_CACHED:
                self._cache.clear()
            self._cache[text] = bits
        return bits


class Prefilter:
    """Names the rules, by place in the given sequence, that an event may meet."""

    __slots__ = ("_always", "_count", "_every", "_fields")

    def __init__(self, clauses: Sequence[Sequence[Clause]]) -> None:
        self._count = count = len(clauses)
        self._every = (1 << count) - 1
        self._always = 0
        fields: dict[str, _FieldBits] = {}
        for place, all_clauses in enumerate(clauses):
            best = sorted(all_clauses, key=weight, reverse=True)[:LAYERS]
            for layer in range(LAYERS):
                bit = 1 << (layer * count + place)
                if layer >= len(best):
                    self._always |= bit
                    continue
                for name, atom in best[layer]:
                    fields.setdefault(name, _FieldBits()).add(atom, bit)
        self._fields = list(fields.items())

    def candidates(self, view: View) -> Iterator[int]:
        """Yield the places of the rules that the event may meet."""
        bits = self._always
        for name, field in self._fields:
            for text in view.plain(name):
                bits |= field.of(text)
        left = bits & self._every
        for _ in range(LAYERS - 1):
            bits >>= self._count
            left &= bits
        while left:
            low = left & -left
            yield low.bit_length() - 1
            left ^= low
