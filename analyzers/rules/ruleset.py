"""A set of compiled rules, and the one question asked of it: which rules does each event of a batch meet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from analyzers.rules.compiled import Compiled
from analyzers.rules.loading import load
from analyzers.rules.logsources import Route, routes
from analyzers.rules.nodes import Clause, Evidence
from analyzers.rules.prefilter import Prefilter
from analyzers.rules.rule import LogSource, Match, Problem, Rule
from analyzers.rules.view import Spellings, View
from state.events import Event, Fields, Kind

#: Longest reason of a match, characters, and the longest value quoted in it.
MAX_REASON = 600
MAX_QUOTED = 160
#: Kinds whose rules are remembered.
MAX_KINDS = 8_192

_log = logging.getLogger(__name__)


class _Group(msgspec.Struct, frozen=True, eq=False):
    """Rules that one kind of event concerns and that see its fields alike."""

    route: Route
    #: Places of the rules in the whole set, ascending.
    places: tuple[int, ...]
    rules: tuple[Compiled, ...]
    prefilter: Prefilter


class RuleSet:
    """Compiled Sigma rules of one version.

    >>> RuleSet.of([], []).rules
    ()
    """

    def __init__(self, compiled: Sequence[Compiled], problems: Sequence[Problem], version: str) -> None:
        #: Rules in force, by file and place in it.
        self.rules: tuple[Rule, ...] = tuple(each.rule for each in compiled)
        #: What is not in force, and why.
        self.problems: tuple[Problem, ...] = tuple(problems)
        #: Hash of what was loaded, 16 hexadecimal digits.
        self.version = version
        #: Events that could not be judged because decoding their fields failed; each is logged, up to a limit.
        self.failures = 0
        self._spellings = Spellings(name for rule in self.rules for name in rule.fields)
        sources: dict[LogSource, list[int]] = {}
        for place, each in enumerate(compiled):
            sources.setdefault(each.rule.logsource, []).append(place)
        self._compiled = tuple(compiled)
        self._sources = [(source, routes(source), tuple(places)) for source, places in sources.items()]
        self._by_id: dict[int, tuple[Kind, tuple[_Group, ...]]] = {}
        self._by_kind: dict[Kind, tuple[_Group, ...]] = {}
        self._shared: dict[tuple[tuple[int, tuple[int, ...]], ...], tuple[_Group, ...]] = {}

    @classmethod
    def load(
        cls,
        paths: Path | str | Iterable[Path | str],
        *,
        placeholders: Mapping[str, Sequence[str]] | None = None,
        cache: Path | None = None,
    ) -> RuleSet:
        """Read and compile all rules of files and folders (``*.yml``, ``*.yaml``).

        ``placeholders`` are the values of the ``expand`` modifier; ``cache`` is a folder in which compiled rules are
        kept. What cannot be compiled is in ``problems``. Raises FileNotFoundError for a path that does not exist.
        """
        loaded = load([paths] if isinstance(paths, str | Path) else list(paths), placeholders or {}, cache)
        return cls(loaded.compiled, loaded.problems, loaded.version)

    @classmethod
    def of(cls, compiled: Sequence[Compiled], problems: Sequence[Problem], version: str = "") -> RuleSet:
        """Return a set of rules that are compiled already."""
        return cls(compiled, problems, version)

    def unserved(self) -> dict[LogSource, tuple[Rule, ...]]:
        """Return the log sources that no format yields, with their rules, which can never match."""
        return {
            source: tuple(self.rules[place] for place in places) for source, found, places in self._sources if not found
        }

    def concerns(self, kind: Kind) -> tuple[Rule, ...]:
        """Return the rules that may concern events of a kind."""
        return tuple(each.rule for group in self._groups(kind) for each in group.rules)

    def match_batch(self, events: Sequence[Event], fields: Callable[[Event], Fields]) -> list[Match]:
        """Return every (event, rule) pair that matches, by place of the event, then of the rule.

        ``fields`` decodes an event's original fields; it is asked only where some rule concerns the event's kind.
        """
        found: list[Match] = []
        by_id = self._by_id
        for index, event in enumerate(events):
            known = by_id.get(id(event.kind))
            groups = known[1] if known is not None else self._groups(event.kind)
            if groups:
                try:
                    self._judge(index, fields(event), groups, found)
                except Exception as error:
                    # One event that cannot be read must not stop the stream, nor pass unsaid.
                    self.failures += 1
                    if self.failures <= 20:
                        _log.warning("event %s not judged by rules: %s", event.id, type(error).__name__)
        return found

    def _judge(self, index: int, fields: Fields, groups: tuple[_Group, ...], found: list[Match]) -> None:
        spellings = self._spellings
        spellings.observe(fields)
        met: list[tuple[int, Match]] = []
        for group in groups:
            route = group.route
            if route.holds is not None and not route.holds(fields):
                continue
            view = View(fields, spellings, route.aliases)
            for place in group.prefilter.candidates(view):
                each = group.rules[place]
                if each.node.match(view):
                    evidence: Evidence = []
                    each.node.explain(view, evidence)
                    met.append((group.places[place], Match(index, each.rule, reason(evidence))))
        if len(groups) > 1:
            met.sort(key=lambda placed: placed[0])
        found.extend(match for _, match in met)

    def _groups(self, kind: Kind) -> tuple[_Group, ...]:
        groups = self._by_kind.get(kind)
        if groups is None:
            if len(self._by_kind) >= MAX_KINDS:
                self._by_kind.clear()
                self._shared.clear()
            groups = self._by_kind[kind] = self._plan(kind)
        if len(self._by_id) >= MAX_KINDS:
            self._by_id.clear()
        # The kind is kept beside its id, so that the id cannot come to mean another.
        self._by_id[id(kind)] = (kind, groups)
        return groups

    def _plan(self, kind: Kind) -> tuple[_Group, ...]:
        """Group the rules that the kind concerns by how they see its fields; kinds with the same rules share."""
        plan: dict[int, tuple[Route, list[int]]] = {}
        for _, found, places in self._sources:
            route = next((route for route in found if route.accepts(kind)), None)
            if route is None:
                continue
            alike = id(route) if route.holds is not None else id(route.aliases) if route.aliases else 0
            plan.setdefault(alike, (route, []))[1].extend(
                place for place in places if _code_possible(self._compiled[place].clauses, kind.code)
            )
        key = tuple((alike, tuple(sorted(places))) for alike, (_, places) in sorted(plan.items()) if places)
        if key not in self._shared:
            self._shared[key] = tuple(self._group(plan[alike][0], places) for alike, places in key)
        return self._shared[key]

    def _group(self, route: Route, places: tuple[int, ...]) -> _Group:
        rules = tuple(self._compiled[place] for place in places)
        return _Group(route, places, rules, Prefilter([[c for c in each.clauses if not _is_code(c)] for each in rules]))


def _is_code(clause: Clause) -> bool:
    return all(name.casefold() == "eventid" and atom.op == "exact" for name, atom in clause)


def _code_possible(clauses: Sequence[Clause], code: int) -> bool:
    """Return whether a rule's event ids allow the kind's, which is what the field ``EventID`` of its events says."""
    if not code:
        return True
    return all(any(atom.literal == str(code) for _, atom in clause) for clause in clauses if _is_code(clause))


def reason(evidence: Evidence) -> str:
    """Return one line, at most MAX_REASON characters, that says which fields and values met a rule.

    >>> reason([("Image", "endswith cmd.exe", "C:\\\\cmd.exe"), ("User", "is null", "")])
    'Image="C:\\\\cmd.exe" (endswith cmd.exe); User (is null)'
    """
    parts: dict[str, None] = {}
    length = 0
    for name, shown, value in evidence:
        quoted = f'="{printable(value)}"' if value else ""
        part = f"{printable(name)}{quoted} ({printable(shown)})"
        parts[part] = None
        length += len(part) + 2
        if length > MAX_REASON:
            break
    text = "; ".join(parts) or "none of the excluded values is present"
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"


def printable(text: str) -> str:
    """Return a text bounded to MAX_QUOTED characters, with whatever could disturb a line or a screen escaped."""
    cut = text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
