"""What a change of rules would add and remove over recorded events, and what each rule costs."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from analyzers.rules.compiled import Compiled
from analyzers.rules.logsources import Route, routes
from analyzers.rules.nodes import Constant
from analyzers.rules.rule import LogSource, Match, Rule
from analyzers.rules.ruleset import RuleSet
from analyzers.rules.shortcut import Undecoded
from analyzers.rules.view import Spellings, View
from state.events import Event, Fields, Kind

#: Events that rules are timed on.
MAX_TIMED = 500
#: Decisions that are timed together, for one alone is too short for the clock; and how often that is done.
REPEATS = 2
ROUNDS = 3
_DAY = 86_400_000_000

Verdict = Literal["added", "removed", "kept"]


class Sample(msgspec.Struct, frozen=True):
    """One match that the change adds or removes."""

    verdict: Verdict
    #: File and line, from 0.
    place: str
    reason: str


class Counts(msgspec.Struct):
    """How many matches the change adds, removes and keeps."""

    added: int = 0
    removed: int = 0
    kept: int = 0

    def count(self, verdict: Verdict) -> None:
        """Count one match."""
        setattr(self, verdict, getattr(self, verdict) + 1)


class Tally(msgspec.Struct):
    """What the change does to one rule."""

    rule: Rule
    counts: Counts
    #: By day of event time, days since the epoch.
    days: dict[int, Counts]
    samples: list[Sample]


class Cost(msgspec.Struct, frozen=True):
    """What deciding one rule's full condition takes."""

    #: µs an event that the rule's log source means, and how many of the sampled events it means.
    concerned: float
    events: int
    #: µs an event of the whole sample.
    overall: float


class Backtest:
    """Compare two rule sets, batch by batch.

    Args:
        rules: the changed rules.
        baseline: the rules before the change; those of ``same`` may be left out of it.
        same: ids of the rules in force in both that match the same: what they match counts as kept.
        samples: matches that are quoted for each rule and verdict, the first ones.
        seed: of the sample of events that rules are timed on.
    """

    def __init__(self, rules: RuleSet, baseline: RuleSet, same: frozenset[str], samples: int, seed: int = 1) -> None:
        self._rules = rules
        self._baseline = baseline
        self._same = same
        self._samples = samples
        self._chance = random.Random(seed)  # noqa: S311 - a sample, no secret
        self.tallies: dict[str, Tally] = {}
        self.days: dict[int, Counts] = {}
        self.totals = Counts()
        self.events = 0
        #: A uniform sample of the events, for timing.
        self.timed: list[Event] = []

    @property
    def failures(self) -> int:
        """Return how many times an event could not be judged."""
        return self._rules.failures + (self._baseline.failures if self._baseline is not self._rules else 0)

    def add(
        self, name: str, events: Sequence[Event], fields: Callable[[Event], Fields], undecoded: Undecoded | None = None
    ) -> None:
        """Judge a batch of events of a file; ``fields`` and ``undecoded`` are those of ``RuleSet.match_batch``."""
        now = {(m.index, m.rule.id): m for m in self._rules.match_batch(events, fields, undecoded)}
        before = {
            (m.index, m.rule.id): m
            for m in self._baseline.match_batch(events, fields, undecoded)
            if m.rule.id not in self._same
        }  # fmt: skip
        for key, match in now.items():
            kept = match.rule.id in self._same or key in before
            self._count(name, events, match, "kept" if kept else "added")
        for key, match in before.items():
            if key not in now:
                self._count(name, events, match, "removed")
        self._sample(events)

    def _count(self, name: str, events: Sequence[Event], match: Match, verdict: Verdict) -> None:
        event = events[match.index]
        tally = self.tallies.get(match.rule.id)
        if tally is None:
            tally = self.tallies[match.rule.id] = Tally(match.rule, Counts(), {}, [])
        day = event.time // _DAY
        for counts in (
            self.totals,
            tally.counts,
            self.days.setdefault(day, Counts()),
            tally.days.setdefault(day, Counts()),
        ):
            counts.count(verdict)
        if verdict != "kept" and sum(sample.verdict == verdict for sample in tally.samples) < self._samples:
            tally.samples.append(Sample(verdict, f"{name}:{event.offset}", match.reason))

    def _sample(self, events: Sequence[Event]) -> None:
        """Keep each event read so far with the same chance (Vitter's algorithm R)."""
        for event in events:
            self.events += 1
            if len(self.timed) < MAX_TIMED:
                self.timed.append(event)
            elif (place := self._chance.randrange(self.events)) < MAX_TIMED:
                self.timed[place] = event


def costs(
    compiled: Iterable[Compiled], events: Sequence[Event], fields: Callable[[Event], Fields]
) -> dict[str, Cost]:  # fmt: skip
    """Time the full condition of each rule on events, by rule id; rules that concern none of them are left out.

    A decision is timed after the event's fields have been read and folded once, without the prefilter that spares the
    engine most decisions: an upper bound of what the rule adds to a running set. µs.
    """
    everything = list(compiled)
    spellings = Spellings(name for each in everything for name in each.rule.fields)
    sources: dict[LogSource, list[Compiled]] = {}
    for each in everything:
        sources.setdefault(each.rule.logsource, []).append(each)
    plan = [(routes(source), rules) for source, rules in sources.items()]
    by_kind: dict[Kind, list[tuple[Route, list[Compiled]]]] = {}
    spent: dict[str, float] = {}
    met: dict[str, int] = {}
    for event in events:
        concerned = by_kind.get(event.kind)
        if concerned is None:
            concerned = by_kind[event.kind] = [
                (route, rules)
                for found, rules in plan
                if (route := next((r for r in found if r.accepts(event.kind)), None)) is not None
            ]
        if not concerned:
            continue
        original = fields(event)
        spellings.observe(original)
        idle = _timed(Constant(True).match, View(original, spellings, {}))
        for route, rules in concerned:
            if route.holds is not None and not route.holds(original):
                continue
            view = View(original, spellings, route.aliases)
            for each in rules:
                each.node.match(view)  # reads and folds the fields that it needs
                rule = each.rule.id
                spent[rule] = spent.get(rule, 0.0) + max(0.0, _timed(each.node.match, view) - idle)
                met[rule] = met.get(rule, 0) + 1
    return {rule: Cost(spent[rule] / met[rule], met[rule], spent[rule] / len(events)) for rule in spent}


def _timed(decide: Callable[[View], bool], view: View) -> float:
    """Return the µs of one decision: of several rounds the shortest, which other work disturbed least."""
    shortest = math.inf
    for _ in range(ROUNDS):
        started = time.perf_counter_ns()
        for _ in range(REPEATS):
            decide(view)
        shortest = min(shortest, (time.perf_counter_ns() - started) / REPEATS / 1_000)
    return shortest
