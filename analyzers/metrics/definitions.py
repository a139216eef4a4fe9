"""Metrics are data: what is counted, of which events, and what a peak or a dip of it means."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import yaml

from analyzers.metrics.partial import Distinct, Partial
from state.alerts import Level
from state.events import Event, Kind

BUILTIN = Path(__file__).with_name("builtin.yml")

Values = Callable[[Event], Any]


def text_length(event: Event) -> int:
    """Return the length of the event's text, characters."""
    return len(event.text)


#: What can be summed or counted distinct of an event: name to its attribute, as seen from the event's host when that is
#: the source, and when it is the destination (``inbound``). None: nothing then.
EXTRACTORS: dict[str, tuple[Values | None, Values | None]] = {
    "user": (attrgetter("user"), attrgetter("user")),
    "process": (attrgetter("process"), attrgetter("process")),
    "text": (attrgetter("text"), attrgetter("text")),
    "text_length": (text_length, text_length),
    "destination_port": (attrgetter("destination_port"), attrgetter("destination_port")),
    "peer": (attrgetter("destination_ip"), attrgetter("source_ip")),
    "source": (None, attrgetter("source_ip")),
    "bytes_out": (attrgetter("source_bytes"), attrgetter("destination_bytes")),
    "bytes_in": (attrgetter("destination_bytes"), attrgetter("source_bytes")),
}

Name = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,63}$")]


class Meaning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a peak or a dip of a metric means to an analyst."""

    name: str
    level: Literal["informational", "low", "medium", "high", "critical"]
    techniques: tuple[str, ...] = ()
    tactics: tuple[str, ...] = ()

    @property
    def severity(self) -> Level:
        """Return the level as a number that compares."""
        return Level[self.level]


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events a metric counts, by their kind: every named attribute must be one of its values."""

    source: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()

    def accepts(self, kind: Kind) -> bool:
        """Say whether events of this kind are counted. ``source`` matches as a dotted prefix."""
        if self.source and not any(kind.source == s or kind.source.startswith(s + ".") for s in self.source):
            return False
        return (
            (not self.category or kind.category in self.category)
            and (not self.action or kind.action in self.action)
            and (not self.outcome or kind.outcome in self.outcome)
        )


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One metric a host and window."""

    name: Name
    description: str
    aggregate: Literal["count", "sum", "distinct"]
    #: What is summed or counted distinct, a key of EXTRACTORS; none for ``count``.
    of: str = ""
    where: Where = Where()
    #: A value at or above this raises ``peak`` at once, whatever the host is used to.
    threshold: float | None = None
    #: An anomalous value below this is no peak worth a signal, however quiet the host is.
    floor: float = 0.0
    #: A fall from a usual value below this is no dip worth a signal.
    usual: float = 0.0
    peak: Meaning | None = None
    dip: Meaning | None = None


class Plan(NamedTuple):
    """What events of one kind and direction feed, by index in the metric set."""

    counts: tuple[int, ...]
    sums: tuple[tuple[int, Values], ...]
    distinct: tuple[tuple[int, Values], ...]


class MetricSet:
    """All metrics in force, and the plan of which of them each kind of event feeds."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        names = [metric.name for metric in metrics]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"metrics defined twice: {', '.join(twice)}")
        for metric in metrics:
            if (metric.aggregate == "count") == bool(metric.of) or (metric.of and metric.of not in EXTRACTORS):
                raise ValueError(f"metric {metric.name}: aggregate {metric.aggregate} cannot be of {metric.of!r}")
        self.metrics = tuple(metrics)
        self.names = tuple(names)
        self.version = hashlib.blake2b(msgspec.json.encode(self.metrics), digest_size=6).hexdigest()
        #: By identity, which is cheaper to look up than a value; the kind is kept, so that its identity stays its own.
        self._plans: dict[tuple[int, bool], tuple[Kind, Plan]] = {}

    @classmethod
    def load(cls, path: Path = BUILTIN) -> MetricSet:
        """Load a metric set from YAML.

        Raises:
            ValueError: the file does not say what a metric set must say; the message names file and place.
        """
        try:
            return cls(msgspec.convert(yaml.safe_load(path.read_text()), tuple[Metric, ...]))
        except (yaml.YAMLError, msgspec.ValidationError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    def plan(self, kind: Kind, inbound: bool) -> Plan:
        """Return what events of a kind and direction feed."""
        known = self._plans.get((id(kind), inbound))
        if known is None:
            counts: list[int] = []
            sums: list[tuple[int, Values]] = []
            distinct: list[tuple[int, Values]] = []
            for index, metric in enumerate(self.metrics):
                if not metric.where.accepts(kind):
                    continue
                if metric.aggregate == "count":
                    counts.append(index)
                elif (values := EXTRACTORS[metric.of][inbound]) is not None:
                    (sums if metric.aggregate == "sum" else distinct).append((index, values))
            if len(self._plans) > 20_000:
                self._plans.clear()
            plan = Plan(tuple(counts), tuple(sums), tuple(distinct))
            known = self._plans[(id(kind), inbound)] = (kind, plan)
        return known[1]

    def count(self, partial: Partial, events: Sequence[Event]) -> None:
        """Count events, all of one kind and direction, into a partial."""
        plan = self.plan(events[0].kind, events[0].inbound)
        sums = partial.sums
        n = len(events)
        for index in plan.counts:
            sums[index] = sums.get(index, 0) + n
        for index, number in plan.sums:
            total = sum(map(number, events))
            if total:
                sums[index] = sums.get(index, 0) + total
        for index, value in plan.distinct:
            values = set(map(value, events))
            values.discard("")
            values.discard(0)
            if values:
                known = partial.distinct.get(index)
                if known is None:
                    known = partial.distinct[index] = Distinct()
                known.add(values)
