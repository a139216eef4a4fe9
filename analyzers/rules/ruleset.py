"""A set of compiled rules, and the one question asked of it: which rules does each event of a batch meet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from analyzers.rules.compiled import Compiled
from analyzers.rules.correlation import Correlation
from analyzers.rules.feeds import Feeds
from analyzers.rules.literals import Budget
from analyzers.rules.loading import load
from analyzers.rules.logsources import Route, routes
from analyzers.rules.plan import E, Plan
from analyzers.rules.prefilter import MAX_REMEMBERED, Index
from analyzers.rules.rule import LogSource, Match, Problem, Rule
from analyzers.rules.shortcut import Undecoded
from analyzers.rules.view import Spellings
from state.events import Fields, Kind

#: Kinds whose rules are remembered.
MAX_KINDS = 8_192

_log = logging.getLogger(__name__)


class RuleSet:
    """Compiled Sigma rules of one version.

    >>> RuleSet.of([], []).rules
    ()
    """

    def __init__(
        self,
        compiled: Sequence[Compiled],
        problems: Sequence[Problem],
        version: str,
        correlations: Sequence[Correlation] = (),
    ) -> None:
        #: Rules in force, by file and place in it.
        self.rules: tuple[Rule, ...] = tuple(each.rule for each in compiled)
        #: What is not in force, and why.
        self.problems: tuple[Problem, ...] = tuple(problems)
        #: Hash of what was loaded, 16 hexadecimal digits.
        self.version = version
        #: Correlations in force, those that others refer to first, and what they need of matches.
        self.correlations: tuple[Correlation, ...] = tuple(correlations)
        self.feeds = Feeds(self.correlations)
        #: Events that could not be judged because decoding their fields failed; each is logged, up to a limit.
        self.failures = 0
        self._spellings = Spellings(name for rule in self.rules for name in rule.fields)
        sources: dict[LogSource, list[int]] = {}
        for place, each in enumerate(compiled):
            sources.setdefault(each.rule.logsource, []).append(place)
        self._compiled = tuple(compiled)
        self._sources = [(source, routes(source), tuple(places)) for source, places in sources.items()]
        branches = [each.node.branches() if each.branches is None else each.branches for each in compiled]
        ways = ((place, branch) for place, some in enumerate(branches) for branch in some)
        self._index = Index(ways, Budget(MAX_REMEMBERED))
        self._by_id: dict[int, tuple[Kind, Plan | None]] = {}
        self._by_kind: dict[Kind, Plan | None] = {}
        self._shared: dict[tuple[tuple[int, int, int], ...], Plan] = {}

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
        return cls(loaded.compiled, loaded.problems, loaded.version, loaded.correlations)

    @classmethod
    def of(
        cls,
        compiled: Sequence[Compiled],
        problems: Sequence[Problem],
        version: str = "",
        correlations: Sequence[Correlation] = (),
    ) -> RuleSet:
        """Return a set of rules that are compiled already."""
        return cls(compiled, problems, version, correlations)

    def unserved(self) -> dict[LogSource, tuple[Rule, ...]]:
        """Return the log sources that no format yields, with their rules, which can never match."""
        return {
            source: tuple(self.rules[place] for place in places) for source, found, places in self._sources if not found
        }

    def concerns(self, kind: Kind) -> tuple[Rule, ...]:
        """Return the rules that may concern events of a kind."""
        plan = self._plan_of(kind)
        return tuple(each.rule for each in plan.rules) if plan is not None else ()

    def match_batch(
        self, events: Sequence[E], fields: Callable[[E], Fields], undecoded: Undecoded | None = None
    ) -> list[Match]:
        """Return every (event, rule) pair that matches, by place of the event, then of the rule.

        ``fields`` decodes an event's original fields; it is asked only where some rule concerns the event's kind.
        ``undecoded`` spares that for messages of which less can tell that they meet no rule.
        """
        found: list[Match] = []
        by_id = self._by_id
        for index, event in enumerate(events):
            known = by_id.get(id(event.kind))
            plan = known[1] if known is not None else self._plan_of(event.kind)
            if plan is not None:
                try:
                    if undecoded is not None:
                        format = event.format
                        screen = plan.screens[format] if format in plan.screens else plan.screen(format, undecoded)
                        if screen is not None:
                            try:
                                needed = screen.plan_for(event)
                            except Exception as error:  # what skips may fail, but must not lose an event
                                _log.warning("%s of %s not screened: %s", event.kind, format, type(error).__name__)
                                plan.screens[format], needed = None, plan
                            if needed is None:
                                continue
                            plan = needed
                    decided = plan.decide(event, fields, undecoded)
                except Exception as error:
                    # One event that cannot be read must not stop the stream, nor pass unsaid.
                    self.failures += 1
                    if self.failures <= 20:
                        _log.warning("event %s not judged by rules: %s", event.id, type(error).__name__)
                    continue
                if decided:
                    found.extend([Match(index, each.rule, said) for _, each, said in decided])
        return found

    def prepare(self, like: RuleSet) -> None:
        """Compile now what another set needed until now for the events that it met: up to half a second at once."""
        for name, atoms in self._index.fields.items():
            other = like._index.fields.get(name)
            if other is not None and other.ready:
                atoms.prepare()

    def forget(self) -> None:
        """Forget all values met, as when memory for them runs out; what they are decided by stays."""
        self._index.budget.clear()

    def close(self) -> None:
        """Let go of what refers to itself, so that it is freed at once; the set must not be asked any more."""
        for plan in self._by_kind.values():
            if plan is not None:
                plan.screens.clear()
        for known in (self._by_id, self._by_kind, self._shared):
            known.clear()
        self._index.budget.close()

    def _plan_of(self, kind: Kind) -> Plan | None:
        if kind in self._by_kind:
            plan = self._by_kind[kind]
        else:
            if len(self._by_kind) >= MAX_KINDS:
                self._by_kind.clear()
                self._shared.clear()
            plan = self._by_kind[kind] = self._make_plan(kind)
        if len(self._by_id) >= MAX_KINDS:
            self._by_id.clear()
        # The kind is kept beside its id, so that the id cannot come to mean another.
        self._by_id[id(kind)] = (kind, plan)
        return plan

    def _make_plan(self, kind: Kind) -> Plan | None:
        """Group the rules that the kind concerns by how they see its fields; kinds with the same rules share."""
        routes_of: dict[int, Route] = {}
        for _, found, places in self._sources:
            route = next((route for route in found if route.accepts(kind)), None)
            if route is not None:
                routes_of.update(dict.fromkeys(places, route))
        columns = [c for c in self._index.columns if c.place in routes_of and c.possible(kind.code)]
        if not columns:
            return None
        key = tuple((id(c), id(routes_of[c.place].aliases), id(routes_of[c.place].holds)) for c in columns)
        if key not in self._shared:
            branches = [(column, routes_of[column.place]) for column in columns]
            self._shared[key] = Plan(branches, self._compiled, self._index, self._spellings)
        return self._shared[key]
