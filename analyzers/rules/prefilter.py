"""Skips rules that an event cannot meet, many at a time.

Each rule has branches, ways to meet it, and each branch necessary clauses: sets of cheap tests on case-folded texts,
one of which holds in every event that meets the rule in this way (``nodes.Node.branches``). Up to LAYERS clauses a
branch are kept. The atoms of all rules are numbered once, by field (``Index``); a text of a field maps to the atoms
that it satisfies, whatever the event. Of the branches that concern one kind of event, each clause is a bit in its own
layer, and each atom the bits of the clauses that it satisfies (``Prefilter``). A rule stays a candidate if in one of
its branches some field satisfied the clause of every layer, and none satisfied a test that excludes it (a filter of the
rule's own on that field); its condition decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import msgspec

from analyzers.rules.literals import MAX_CACHED_LENGTH, Budget, FieldAtoms
from analyzers.rules.nodes import Branch, Clause, weight
from analyzers.rules.patterns import Atom
from analyzers.rules.view import ANY_FIELD, Alias, Aliases, Spellings, View, spelled, texts
from state.events import Fields

#: Clauses a rule that are checked.
LAYERS = 4
#: Beginning of a long text in which what excludes rules is looked for first, characters.
HEAD = 512
#: Tests a rule of which each excludes it.
MAX_EXCLUDING = 256
#: Bytes, about, that all texts remembered may take, of all fields and kinds.
MAX_REMEMBERED = 64_000_000


class Column(msgspec.Struct, frozen=True, eq=False):
    """A branch of a rule: its most telling clauses, one a layer, and what excludes it, also as (field, atom number)."""

    #: The rule's place in the set.
    place: int
    branch: Branch
    clauses: tuple[Clause, ...]
    layers: tuple[tuple[tuple[str, int], ...], ...]
    excluding: tuple[tuple[str, int], ...]
    #: Event ids that it is about; None if it does not say.
    codes: frozenset[str] | None

    def possible(self, code: int) -> bool:
        """Return whether it is about events whose field ``EventID`` says so."""
        return not code or self.codes is None or str(code) in self.codes


class Index:
    """The atoms of a set of rules."""

    def __init__(self, rules: Iterable[tuple[int, Branch]], budget: Budget) -> None:
        """Number the atoms of the branches of rules, each with its rule's place in the set, in order."""
        self._numbers: dict[str, dict[Atom, int]] = {}
        self._count = 0
        self.columns = tuple(self._column(place, branch) for place, branch in rules)
        self.budget = budget
        #: The atoms of each field.
        self.fields: dict[str, FieldAtoms] = {
            name: FieldAtoms(atoms, self.budget) for name, atoms in self._numbers.items()
        }

    def _column(self, place: int, branch: Branch) -> Column:
        codes: frozenset[str] | None = None
        clauses: list[Clause] = []
        for clause in branch.clauses:
            if all(name.casefold() == "eventid" and atom.op == "exact" for name, atom in clause):
                wanted = frozenset(atom.literal for _, atom in clause)
                codes = wanted if codes is None else codes & wanted
            else:
                clauses.append(clause)
        chosen = sorted(clauses, key=weight, reverse=True)[:LAYERS]
        # An atom is exact, unless any text counts as passing it.
        excluding = [each for each in branch.excluding[:MAX_EXCLUDING] if each[1].exact]
        return Column(
            place, branch, tuple(chosen), tuple(map(self._numbered, chosen)), self._numbered(excluding), codes
        )

    def _numbered(self, clause: Iterable[tuple[str, Atom]]) -> tuple[tuple[str, int], ...]:
        found: list[tuple[str, int]] = []
        for name, atom in clause:
            atoms = self._numbers.setdefault(name, {})
            if atom not in atoms:
                atoms[atom] = self._count
                self._count += 1
            found.append((name, atoms[atom]))
        return tuple(found)


class Prefilter:
    """Names the branches of rules, as bits by place in the given sequence, that an event may meet."""

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

    def __init__(self, index: Index, columns: Sequence[Column], aliases: Aliases) -> None:
        """Prepare for some branches of the index, which see fields through the aliases."""
        self._aliases = aliases
        #: Bits of clauses that count as satisfied by any event.
        self.always = 0
        self._count = count = len(columns)
        self._every = (1 << count) - 1
        fields: dict[str, dict[int, int]] = {}
        for here, column in enumerate(columns):
            clauses = column.layers
            for layer in range(LAYERS):
                bit = 1 << (layer * count + here)
                if layer >= len(clauses):
                    self.always |= bit
                    continue
                for name, atom in clauses[layer]:
                    bits = fields.setdefault(name, {})
                    bits[atom] = bits.get(atom, 0) | bit
        for here, column in enumerate(columns):
            for name, atom in column.excluding:
                if name in fields:  # another field to read would cost more than it spares
                    fields[name][atom] = fields[name].get(atom, 0) | 1 << (LAYERS * count + here)
        self._tables = [(name, Table(index.fields[name], bits, index.budget, count)) for name, bits in fields.items()]
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
        """Return the bits of the branches that the event may meet; ``view`` is needed where rules have keywords.

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
        """Return the bits of the branches whose clauses are satisfied in every layer, and that nothing excludes."""
        left = met & self._every
        for _ in range(LAYERS - 1):
            if not left:
                return 0
            met >>= self._count
            left &= met
        return left & ~(met >> self._count)


class Table:
    """The clauses that a text of one field satisfies, as bits of one prefilter; texts met lately are remembered."""

    __slots__ = ("_atoms", "_budget", "_by_atom", "_concerned", "_excluding", "bits")

    def __init__(self, atoms: FieldAtoms, by_atom: dict[int, int], budget: Budget, count: int) -> None:
        self._atoms = atoms
        self._by_atom = by_atom
        self._budget = budget
        #: By text, as the event has it.
        self.bits: dict[str, int] = {}
        budget.join(self.bits)
        #: The branches that ask for this field, and what excludes which of them; nothing where that cannot be all.
        self._concerned = 0
        for bits in by_atom.values():
            for layer in range(LAYERS):
                self._concerned |= bits >> (layer * count) & ((1 << count) - 1)
        found = [(text, by_atom.get(number, 0) >> (LAYERS * count)) for text, number in atoms.contained]
        self._excluding = [(text, bits) for text, bits in found if bits]
        together = 0
        for _, bits in self._excluding:
            together |= bits
        if self._concerned & ~together:
            self._excluding = []

    def excludes(self, text: str) -> bool:
        """Return whether the beginning of a long text shows that no branch that asks for this field is met.

        What a program says of itself stands in front, and takes a tenth of the time of a look for everything.
        """
        if not self._excluding:
            return False
        head = text[:HEAD].lower()
        left = self._concerned
        for place, (literal, bits) in enumerate(self._excluding):
            if literal in head:
                left &= ~bits
                if not left:
                    if place:
                        self._excluding.insert(0, self._excluding.pop(place))
                    return True
        return False

    def find(self, text: str) -> int:
        """Return the bits of the clauses that a text satisfies."""
        short = len(text) <= MAX_CACHED_LENGTH
        known = self.bits.get(text) if short else None
        if known is not None:
            return known
        bits = 0
        by_atom = self._by_atom
        for atom in self._atoms.of(text):
            if atom in by_atom:
                bits |= by_atom[atom]
        if short:
            self._budget.spend(len(text) + bits.bit_length() // 8)
            self.bits[text] = bits
        return bits
