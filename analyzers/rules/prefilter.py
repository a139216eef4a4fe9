"""Skips rules that an event cannot meet, many at a time.

Each rule has necessary clauses: sets of cheap tests on case-folded texts, one of which holds in every event that meets
the rule (``nodes.Node.clauses``). Up to LAYERS clauses a rule are kept. The atoms of all rules are numbered once, by
field (``Index``); a text of a field maps to the atoms that it satisfies, whatever the event. Of the rules that concern
one kind of event, each clause is a bit in its own layer, and each atom the bits of the clauses that it satisfies
(``Prefilter``). A rule stays a candidate if some field satisfied its clause in every layer, and none satisfied a test
that excludes the rule (a filter of its own on that field); its condition decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from analyzers.rules.literals import MAX_CACHED_LENGTH, Budget, FieldAtoms
from analyzers.rules.nodes import Clause, weight
from analyzers.rules.patterns import Atom
from analyzers.rules.view import ANY_FIELD, Alias, Aliases, Spellings, View, spelled, texts
from state.events import Fields

#: Clauses a rule that are checked.
LAYERS = 4
#: Tests a rule of which each excludes it.
MAX_EXCLUDING = 256
#: Bytes, about, that all texts remembered may take, of all fields and kinds.
MAX_REMEMBERED = 64_000_000


class Index:
    """The atoms of a set of rules."""

    def __init__(self, clauses: Sequence[Sequence[Clause]], excluding: Sequence[Clause]) -> None:
        """Number the atoms of each rule's most telling clauses, and of what excludes it; both by the rule's place."""
        numbers: dict[str, dict[Atom, int]] = {}
        count = 0

        def numbered(clause: Iterable[tuple[str, Atom]]) -> tuple[tuple[str, int], ...]:
            nonlocal count
            found: list[tuple[str, int]] = []
            for name, atom in clause:
                atoms = numbers.setdefault(name, {})
                if atom not in atoms:
                    atoms[atom] = count
                    count += 1
                found.append((name, atoms[atom]))
            return tuple(found)

        layers: list[tuple[tuple[tuple[str, int], ...], ...]] = []
        for all_clauses in clauses:
            chosen = sorted(all_clauses, key=weight, reverse=True)[:LAYERS]
            layers.append(tuple(numbered(clause) for clause in chosen))
        #: Of each rule, by place, its clauses as alternatives of (field, atom number).
        self.layers: tuple[tuple[tuple[tuple[str, int], ...], ...], ...] = tuple(layers)
        #: Of each rule, by place, the (field, atom number) that each exclude it. An atom is exact, unless any text
        #: counts for it.
        self.excluding = tuple(
            numbered(each for each in alternatives[:MAX_EXCLUDING] if each[1].exact) for alternatives in excluding
        )
        self.budget = Budget(MAX_REMEMBERED)
        #: The atoms of each field.
        self.fields: dict[str, FieldAtoms] = {name: FieldAtoms(atoms, self.budget) for name, atoms in numbers.items()}


class Prefilter:
    """Names the rules, as bits by place in the given sequence, that an event may meet."""

    __slots__ = (
        "_aliases",
        "_count",
        "_every",
        "_memories",
        "_names",
        "_plain",
        "_read",
        "_tables",
        "always",
    )

    def __init__(self, index: Index, places: Sequence[int], aliases: Aliases) -> None:
        """Prepare for some rules of the index, named by their places in it, which see fields through the aliases."""
        self._aliases = aliases
        #: Bits of clauses that count as satisfied by any event.
        self.always = 0
        self._count = count = len(places)
        self._every = (1 << count) - 1
        fields: dict[str, dict[int, int]] = {}
        for here, place in enumerate(places):
            clauses = index.layers[place]
            for layer in range(LAYERS):
                bit = 1 << (layer * count + here)
                if layer >= len(clauses):
                    self.always |= bit
                    continue
                for name, atom in clauses[layer]:
                    bits = fields.setdefault(name, {})
                    bits[atom] = bits.get(atom, 0) | bit
        for here, place in enumerate(places):
            for name, atom in index.excluding[place]:
                if name in fields:  # another field to read would cost more than it spares
                    fields[name][atom] = fields[name].get(atom, 0) | 1 << (LAYERS * count + here)
        self._tables = [(name, Table(index.fields[name], bits, index.budget)) for name, bits in fields.items()]
        #: Fields looked up by name, side by side with what tells their bits; and those that take more than that.
        self._names: tuple[str, ...] = ()
        self._memories: tuple[dict[str, int], ...] = ()
        self._plain: tuple[Table, ...] = ()
        self._read: list[tuple[Callable[[Fields], object], Table]] = []

    def respell(self, spellings: Spellings) -> None:
        """Learn by which names events have the fields that rules name."""
        plain: list[tuple[str, Table]] = []
        self._read = []
        for name, table in self._tables:
            alias = self._aliases.get(name.casefold())
            if name == ANY_FIELD:
                continue
            if alias is not None:
                if alias.renames:
                    plain.append((alias.inputs[0], table))
                else:
                    self._read.append((alias.read, table))
            elif others := spellings.others(name):
                self._read.append((partial(spelled, name, tuple(others)), table))
            else:
                plain.append((name, table))
        self._names = tuple(name for name, _ in plain)
        self._plain = tuple(table for _, table in plain)
        self._memories = tuple(table.bits for _, table in plain)

    def candidates(self, fields: Fields, view: View | None) -> int:
        """Return the bits of the rules that the event may meet; ``view`` is needed where rules have keywords.

        ``respell`` must have been called since the event's field names were observed.
        """
        met = self.always
        for value, bits_of, table in zip(map(fields.get, self._names), self._memories, self._plain, strict=True):
            if value is None:
                continue
            if type(value) is str:
                bits = bits_of.get(value)
                met |= table.find(value) if bits is None else bits
            else:
                for text in texts(value):
                    met |= table.find(text)
        for read, table in self._read:
            for text in texts(read(fields)):
                met |= table.find(text)
        if view is not None:
            for name, table in self._tables:
                if name == ANY_FIELD:
                    met |= table.find(view.joined())
        return self.left(met)

    def entries(self) -> Iterator[tuple[str, Alias | None, Table]]:
        """Yield each field that is asked for, by name, with its alias and what tells the bits of its texts."""
        for name, table in self._tables:
            yield name, self._aliases.get(name.casefold()), table

    def left(self, met: int) -> int:
        """Return the bits of the rules whose clauses are satisfied in every layer, and that nothing excludes."""
        left = met & self._every
        for _ in range(LAYERS - 1):
            if not left:
                return 0
            met >>= self._count
            left &= met
        return left & ~(met >> self._count)


class Table:
    """The clauses that a text of one field satisfies, as bits of one prefilter; texts met lately are remembered."""

    __slots__ = ("_atoms", "_budget", "_by_atom", "bits")

    def __init__(self, atoms: FieldAtoms, by_atom: dict[int, int], budget: Budget) -> None:
        self._atoms = atoms
        self._by_atom = by_atom
        self._budget = budget
        #: By text, as the event has it.
        self.bits: dict[str, int] = {}
        budget.join(self.bits)

    def find(self, text: str) -> int:
        """Return the bits of the clauses that a text satisfies."""
        known = self.bits.get(text)
        if known is not None:
            return known
        bits = 0
        by_atom = self._by_atom
        for atom in self._atoms.of(text):
            if atom in by_atom:
                bits |= by_atom[atom]
        if len(text) <= MAX_CACHED_LENGTH:
            self._budget.spend(len(text))
            self.bits[text] = bits
        return bits
