"""Looks up what correlations refer to, over all files, and says which rules only serve correlations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from analyzers.rules.compiled import Compiled
from analyzers.rules.correlation import MAX_DEPTH, Correlation, Drawn, Source
from analyzers.rules.rule import Problem, Rule, Unsupported

#: How deep references are followed at once.
MAX_NESTED = 64
_ITSELF = "correlation: refers to itself"
_DEEP = f"correlation: a chain has at most {MAX_DEPTH} levels, and this one is in or above a fourth"


class _TooDeep(Unsupported):
    pass


class Linked(msgspec.Struct, frozen=True, eq=False):
    """Correlations in force, those that others refer to first, and what is wrong with the rest."""

    correlations: list[Correlation]
    problems: list[Problem]


class Feeding(msgspec.Struct, frozen=True, eq=False):
    """What is to be known of a match of a rule that correlations refer to."""

    #: Fields that they read of the event.
    names: tuple[str, ...]
    #: The correlations, and those that refer to these, in the order in which they are decided.
    correlations: tuple[Correlation, ...]
    #: Whether the rule is only referred to, and says nothing itself.
    silent: bool


def link(drawn: Sequence[Drawn], compiled: Sequence[Compiled]) -> Linked:
    """Return the correlations whose references can be looked up."""
    linker = _Linker(drawn, compiled)
    for each in drawn:
        linker.resolve(each)
    return Linked(silenced(linker.found.values()), list(linker.problems.values()))


def silenced(correlations: Iterable[Correlation]) -> list[Correlation]:
    """Return the correlations, each told whether it says what it finds itself, in the order of their depth."""
    known = list(correlations)
    loud = {source.of for each in known if each.generate for source in each.sources}
    fed = {source.of for each in known for source in each.sources} - loud
    out = []
    for each in sorted(known, key=lambda c: (c.depth, c.rule.path, c.rule.line, c.rule.id)):
        plain = msgspec.structs.replace(each, silent=f"c:{each.key}" in fed, digest="")
        out.append(msgspec.structs.replace(plain, digest=_hash(msgspec.msgpack.encode(plain, order="sorted"))))
    return out


def feedings(correlations: Sequence[Correlation]) -> dict[str, Feeding]:
    """Return by id of each rule that correlations refer to what they need of its matches."""
    referring: dict[str, list[Correlation]] = {}
    for each in correlations:
        for source in each.sources:
            referring.setdefault(source.of, []).append(each)
    found: dict[str, Feeding] = {}
    for of, direct in referring.items():
        if not of.startswith("r:"):
            continue
        closure: dict[str, Correlation] = {}
        names: dict[str, None] = {}
        ways = [(each, of) for each in direct]
        while ways:
            each, by = ways.pop()
            closure[each.digest] = each
            names.update(dict.fromkeys(each.field_of(name, by, of) for name in (*each.group_by, *each.fields)))
            ways += [(parent, f"c:{each.key}") for parent in referring.get(f"c:{each.key}", ())]
        ordered = sorted(closure.values(), key=lambda c: (c.depth, c.rule.id, c.digest))
        found[of[2:]] = Feeding(tuple(names), tuple(ordered), not any(each.generate for each in direct))
    return found


class _Linker:
    def __init__(self, drawn: Sequence[Drawn], compiled: Sequence[Compiled]) -> None:
        self.found: dict[int, Correlation] = {}
        self.problems: dict[int, Problem] = {}
        self._busy: set[int] = set()
        self._depths: dict[str, int] = {}
        self._named: dict[str, list[Drawn | Compiled]] = {}
        self._hashes: dict[str, str] = {}
        both: list[Drawn | Compiled] = [*compiled, *drawn]
        for each in both:
            for name in dict.fromkeys((each.rule.id.lower(), each.rule.name)):
                if name:
                    self._named.setdefault(name, []).append(each)

    def resolve(self, drawn: Drawn) -> Correlation | None:
        """Return the correlation, looked up once; None if there is a problem with it."""
        mark = id(drawn)
        if mark in self.found or mark in self.problems:
            return self.found.get(mark)
        rule = drawn.rule
        try:
            if mark in self._busy:
                raise Unsupported(_ITSELF)
            if len(self._busy) >= MAX_NESTED:
                raise _TooDeep(_DEEP)
            self._busy.add(mark)
            try:
                self.found[mark] = self._linked(drawn)
            finally:
                self._busy.discard(mark)
        except Unsupported as error:
            if isinstance(error, _TooDeep) and self._busy:
                raise  # what is said here is true of the first only; the others have their turn
            self.problems.setdefault(mark, Problem(rule.path, str(error), rule.id, rule.title, rule.line))
        return self.found.get(mark)

    def _linked(self, drawn: Drawn) -> Correlation:
        sources, hashes, depth = [], [], 1
        for ref in drawn.refs:
            of, each, content = self._look_up(ref, drawn.rule)
            sources.append(Source(of, each.title))
            hashes.append(content)
            if of.startswith("c:"):
                depth = max(depth, self._depths[of] + 1)
        if depth > MAX_DEPTH:
            raise Unsupported(_DEEP)
        if drawn.type != "temporal_ordered" and len({source.of for source in sources}) < len(sources):
            raise Unsupported("correlation: names one rule twice")
        aliases = {
            alias: {self._look_up(ref, drawn.rule)[0]: field for ref, field in fields.items()}
            for alias, fields in drawn.aliases.items()
        }
        deciding = (drawn.type, hashes, drawn.group_by, drawn.timespan, drawn.tests, drawn.fields, drawn.percentile)
        named = sorted((alias, sorted(fields.items())) for alias, fields in aliases.items())
        key = _hash(msgspec.msgpack.encode((drawn.rule.id, deciding, named)))
        self._depths[f"c:{key}"] = depth
        return Correlation(
            rule=drawn.rule,
            type=drawn.type,
            sources=tuple(sources),
            group_by=drawn.group_by,
            aliases=aliases,
            timespan=drawn.timespan,
            span=drawn.span,
            tests=drawn.tests,
            fields=drawn.fields,
            percentile=drawn.percentile,
            depth=depth,
            key=key,
            generate=drawn.generate,
        )

    def _look_up(self, ref: str, rule: Rule) -> tuple[str, Rule, str]:
        """Return what a reference means: its ``of``, the rule, and a hash of what decides when that matches."""
        found = self._named.get(ref) or self._named.get(ref.lower(), [])
        # A name need only be unique in its file.
        found = [each for each in found if each.rule.path == rule.path] or found
        if len(found) > 1:
            raise Unsupported(f"correlation: several rules are named {ref!r}")
        if not found:
            raise Unsupported(f"correlation: refers to {ref!r}, and no rule in force has that id or name")
        each = found[0]
        if isinstance(each, Compiled):
            if each.rule.id not in self._hashes:
                self._hashes[each.rule.id] = _hash(msgspec.msgpack.encode((each.rule.logsource, each.node)))
            return f"r:{each.rule.id}", each.rule, self._hashes[each.rule.id]
        other = self.resolve(each)
        if other is None:
            why = self.problems[id(each)].reason
            raise Unsupported(
                why if why in (_ITSELF, _DEEP) else f"correlation: refers to {ref!r}, not in force: {why}"
            )
        return f"c:{other.key}", other.rule, other.key


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=12).hexdigest()
