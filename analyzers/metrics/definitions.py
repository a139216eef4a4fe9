"""Metrics are data: what is counted, of which events, and what a peak or a dip of it means."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import yaml

from analyzers.metrics.partial import Distinct, Partial
from state.alerts import Level
from state.events import Event, Kind

BUILTIN = Path(__file__).with_name("builtin.yml")

Extractor = Callable[[Sequence[Event]], Any]

#: What can be counted of an event: name to a function from events to the values that they have.
#: ``peer``, ``bytes_out`` and ``bytes_in`` are seen from the event's host, whichever side of the connection it is.
EXTRACTORS: dict[str, Extractor] = {
    "user": lambda events: {e.user for e in events if e.user},
    "process": lambda events: {e.process for e in events if e.process},
    "text": lambda events: {e.text for e in events if e.text},
    "text_length": lambda events: (len(e.text) for e in events),
    "destination_port": lambda events: {e.destination_port for e in events if e.destination_port},
    "peer": lambda events: {ip for e in events if (ip := e.source_ip if e.inbound else e.destination_ip)},
    # An authentication is reached from its source, whether or not its format says which side the host is.
    "source": lambda events: {
        e.source_ip for e in events if e.source_ip and (e.inbound or e.kind.category == "authentication")
    },
    "bytes_out": lambda events: (e.destination_bytes if e.inbound else e.source_bytes for e in events),
    "bytes_in": lambda events: (e.source_bytes if e.inbound else e.destination_bytes for e in events),
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
    peak: Meaning | None = None
    dip: Meaning | None = None


class Plan(NamedTuple):
    """What a kind of event feeds, by index in the metric set."""

    counts: tuple[int, ...]
    sums: tuple[tuple[int, Extractor], ...]
    distinct: tuple[tuple[int, Extractor], ...]


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
        self._plans: dict[int, tuple[Kind, Plan]] = {}

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

    def plan(self, kind: Kind) -> Plan:
        """Return what a kind feeds."""
        known = self._plans.get(id(kind))
        if known is None:
            fed = [(i, m) for i, m in enumerate(self.metrics) if m.where.accepts(kind)]
            plan = Plan(
                tuple(i for i, m in fed if m.aggregate == "count"),
                tuple((i, EXTRACTORS[m.of]) for i, m in fed if m.aggregate == "sum"),
                tuple((i, EXTRACTORS[m.of]) for i, m in fed if m.aggregate == "distinct"),
            )
            if len(self._plans) > 20_000:
                self._plans.clear()
            known = self._plans[id(kind)] = (kind, plan)
        return known[1]

    def count(self, partial: Partial, kind: Kind, events: Sequence[Event]) -> None:
        """Count events of one kind into a partial."""
        plan = self.plan(kind)
        sums = partial.sums
        n = len(events)
        for index in plan.counts:
            sums[index] = sums.get(index, 0) + n
        for index, numbers in plan.sums:
            total = sum(numbers(events))
            if total:
                sums[index] = sums.get(index, 0) + total
        for index, different in plan.distinct:
            values = different(events)
            if values:
                known = partial.distinct.get(index)
                if known is None:
                    known = partial.distinct[index] = Distinct()
                known.add(values)
