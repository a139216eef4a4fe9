"""A shift of the whole fleet, such as a patch day, is one signal and not one a host."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec
from msgspec import structs
from pydantic import BaseModel, ConfigDict, Field

from analyzers.anomaly.budget import MINUTE
from analyzers.anomaly.budget_anomaly import COMPANIONS, Reading, Side, Unusual
from state.alerts import iso

#: Hosts and metrics that a shift names.
NAMED = 20
#: Hosts of one metric that are held; as many in ``span_minutes`` are a shift in a fleet of any size.
HOSTS = 1_000
#: Metrics and sides of which anything is held.
METRICS = 1_024
#: Decades by which a host must lie above the median of a shift for not to be explained by it.
STANDS_OUT = 2.0


class ShiftSettings(BaseModel):
    """When anomalies of many hosts are one of the fleet."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    hosts: int = Field(default=3, ge=2, le=HOSTS, description="Hosts that it takes at least.")
    share: float = Field(default=0.25, gt=0, le=1, description="Share of all hosts that it takes at least.")
    span_minutes: float = Field(default=10.0, gt=0, le=1_440, description="Minutes within which they must be unusual.")
    least: float = Field(default=3.0, ge=0, le=15, description="Decades from which a host counts as unusual.")
    hold_minutes: float = Field(
        default=60.0, ge=0, le=10_080, description="Minutes without a further host after which the shift is over."
    )


class Shift(msgspec.Struct, frozen=True):
    """Metrics that became unusual on many hosts at once."""

    #: Start of the window in which it was found, µs: names the shift, also when it grows.
    since: int
    #: Start of the window that this is said in, µs.
    time: int
    #: The most unusual reading of this window, and its host.
    lead: Reading
    host: str
    #: Metrics of it that were unusual in this window, that of the lead first.
    metrics: tuple[str, ...]
    #: Hosts on which the lead's metric was unusual in ``span_minutes`` until now, and how many hosts there are.
    count: int
    of: int
    #: Some of the hosts of this window, the most unusual first.
    hosts: tuple[str, ...]

    @property
    def first(self) -> bool:
        """Say whether the shift is new and worth a signal; later ones only tell that it goes on."""
        return self.since == self.time

    def text(self) -> str:
        """Return the explanation as one sentence."""
        said = (
            f"{self.lead.metric} became unusual on {self.count:,} of {self.of:,} hosts by {iso(self.time)}"
            f" (most on {', '.join(self.hosts[:3])}), which is a shift of the fleet"
        )
        others = self.metrics[1 : 1 + COMPANIONS]
        return f"{said}; with it moved {', '.join(others)}" if others else said


class Sorted(msgspec.Struct, frozen=True):
    """What became of a window's unusual readings."""

    #: What no shift explains, for the hosts' own alarms.
    alone: list[Unusual]
    shifts: list[Shift]
    #: Hosts of which nothing is left beside the shifts.
    absorbed: list[str]


class _Metric(msgspec.Struct, array_like=True):
    """What is held of one metric and side: when hosts were last unusual, how much, and the shift that is on."""

    hosts: dict[str, tuple[int, float]]
    last: int
    since: int = -1


class _SavedShift(msgspec.Struct):
    version: int
    metrics: list[tuple[str, Side, _Metric]]


class FleetShift:
    """Tell shifts of the fleet from anomalies of hosts. ``judge`` once a window, in order of time.

    It sees the unusual readings of all hosts in a window at once (see ``Barrier``), before any alarm of a host: what a
    shift explains neither costs a host's budget nor makes it habituate. A host that stands out of a shift by
    ``STANDS_OUT`` decades keeps its reading. Hosts that came before there were enough for a shift were let through.

    >>> from analyzers.anomaly.budget_anomaly import Reading
    >>> cpu = Reading("cpu", 95.0, 5.0, 3.0, 20.0)
    >>> found = FleetShift(ShiftSettings()).judge(0, [Unusual(f"h{n}", 0, 0, (cpu,)) for n in range(8)], 10)
    >>> len(found.alone), len(found.absorbed), [(shift.lead.metric, shift.count) for shift in found.shifts]
    (0, 8, [('cpu', 8)])
    """

    VERSION = 1

    def __init__(self, settings: ShiftSettings) -> None:
        self._settings = settings
        self._metrics: dict[tuple[str, Side], _Metric] = {}

    def judge(self, start: int, windows: Sequence[Unusual], hosts: int) -> Sorted:
        """Sort out what is unusual in the window that began at ``start`` (µs), in a fleet of ``hosts`` hosts."""
        windows = sorted(windows, key=lambda window: window.host)
        touched = self._learn(start, windows)
        needed = min(max(self._settings.hosts, self._settings.share * hosts), HOSTS)
        # By metric and side of the shifts that are on: up to how many decades a reading is explained by it.
        explained: dict[tuple[str, Side], float] = {}
        parts: dict[int, list[tuple[str, Reading]]] = {}
        for key in sorted(touched):
            known = self._metrics[key]
            if known.since < 0 and len(known.hosts) >= needed:
                known.since = self._joined(start)
            if known.since >= 0:
                explained[key] = statistics.median(surprise for _, surprise in known.hosts.values()) + STANDS_OUT
                parts.setdefault(known.since, []).extend(touched[key])
        shifts = [self._shift(since, start, rows, hosts) for since, rows in sorted(parts.items())]
        alone: list[Unusual] = []
        absorbed: list[str] = []
        for window in windows:
            left = tuple(r for r in window.readings if r.surprise > explained.get((r.metric, r.side), -1.0))
            if any(reading.tells and reading.surprise >= self._settings.least for reading in left):
                alone.append(window if left == window.readings else structs.replace(window, readings=left))
            else:
                absorbed.append(window.host)
        return Sorted(alone, shifts, absorbed)

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        rows = [(metric, side, known) for (metric, side), known in self._metrics.items()]
        return msgspec.msgpack.encode(_SavedShift(self.VERSION, rows))

    @classmethod
    def restore(cls, settings: ShiftSettings, state: bytes) -> FleetShift:
        """Return one that goes on from a snapshot.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_SavedShift)
        if saved.version != cls.VERSION:
            raise ValueError(f"shifts of the fleet: snapshot version {saved.version} cannot be read")
        shift = cls(settings)
        shift._metrics = {(metric, side): known for metric, side, known in saved.metrics}
        return shift

    def _joined(self, start: int) -> int:
        """Return the shift that a metric belongs to which shifts now: one found a moment ago, else a new one."""
        latest = max((known.since for known in self._metrics.values()), default=-1)
        return latest if latest >= 0 and start - latest < self._settings.span_minutes * MINUTE else start

    def _shift(self, since: int, start: int, rows: list[tuple[str, Reading]], hosts: int) -> Shift:
        rows.sort(key=lambda row: (-row[1].surprise, row[0], row[1].metric))
        host, lead = rows[0]
        metrics = tuple(dict.fromkeys(reading.metric for _, reading in rows))
        names = tuple(dict.fromkeys(name for name, _ in rows))
        count = len(self._metrics[lead.metric, lead.side].hosts)
        return Shift(since, start, lead, host, metrics[:NAMED], count, hosts, names[:NAMED])

    def _learn(self, start: int, windows: Sequence[Unusual]) -> dict[tuple[str, Side], list[tuple[str, Reading]]]:
        """Take the window in; return host and reading by metric and side."""
        span = round(self._settings.span_minutes * MINUTE)
        hold = max(span, round(self._settings.hold_minutes * MINUTE))
        self._metrics = {key: known for key, known in self._metrics.items() if start - known.last <= hold}
        touched: dict[tuple[str, Side], list[tuple[str, Reading]]] = {}
        for window in windows:
            for reading in window.readings:
                if reading.tells and reading.surprise >= self._settings.least:
                    touched.setdefault((reading.metric, reading.side), []).append((window.host, reading))
        for key, rows in touched.items():
            known = self._metrics.pop(key) if key in self._metrics else _Metric({}, start)
            known.hosts = {host: seen for host, seen in known.hosts.items() if start - seen[0] < span}
            for host, reading in rows:
                if host in known.hosts or len(known.hosts) < HOSTS:
                    known.hosts[host] = (start, reading.surprise)
            known.last = start
            self._metrics[key] = known
        # Those of this window were put at the end; the longest untouched go first.
        for key in list(self._metrics)[: max(0, len(self._metrics) - max(METRICS, len(touched)))]:
            del self._metrics[key]
        return touched


class Complete(msgspec.Struct, frozen=True):
    """A window that all shards have closed."""

    start: int
    #: Hosts known to all of them together.
    hosts: int
    unusual: list[Unusual]


class _Closed(msgspec.Struct, array_like=True):
    """A window that a shard has closed, and the hosts that it knew then."""

    start: int
    hosts: int


class _SavedBarrier(msgspec.Struct):
    version: int
    shards: dict[int, list[_Closed]]
    waiting: list[Unusual]


class Barrier:
    """Hold what is unusual until every shard has closed their window, so that the fleet is judged as a whole.

    Shards close a window at different moments and on different workers; what is released does not depend on that.

    >>> barrier = Barrier(2)
    >>> barrier.add(0, 60_000_000, 3, [])
    >>> barrier.release()
    []
    """

    VERSION = 1

    def __init__(self, shards: int) -> None:
        self._count = shards
        self._shards: dict[int, list[_Closed]] = {}
        self._waiting: list[Unusual] = []

    def add(self, shard: int, start: int, hosts: int, unusual: Sequence[Unusual]) -> None:
        """Take in a window that a shard has closed; one call a window, in order of time.

        Args:
            shard: number of the shard, from 0.
            start: when the window began, µs. Windows that a shard skips, because it knows no host, it must close too,
                at least the last of them.
            hosts: hosts that the shard knew when it closed the window.
            unusual: what was unusual in the window.
        """
        self._shards.setdefault(shard, []).append(_Closed(start, hosts))
        self._waiting += unusual

    def release(self) -> list[Complete]:
        """Return the windows in which something was unusual and that all shards have closed, oldest first."""
        if len(self._shards) < self._count:
            return []
        closed = min(windows[-1].start for windows in self._shards.values())
        ready: dict[int, list[Unusual]] = {}
        waiting: list[Unusual] = []
        for window in self._waiting:
            if window.time <= closed:
                ready.setdefault(window.time, []).append(window)
            else:
                waiting.append(window)
        self._waiting = waiting
        found = []
        for start in sorted(ready):
            hosts = sum(next(w.hosts for w in windows if w.start >= start) for windows in self._shards.values())
            found.append(Complete(start, hosts, sorted(ready[start], key=lambda window: window.host)))
        for windows in self._shards.values():
            # The last one stays: it says how far the shard is.
            windows[:] = [w for w in windows[:-1] if w.start > closed] + windows[-1:]
        return found

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        return msgspec.msgpack.encode(_SavedBarrier(self.VERSION, self._shards, self._waiting))

    @classmethod
    def restore(cls, shards: int, state: bytes) -> Barrier:
        """Return one that goes on from a snapshot.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_SavedBarrier)
        if saved.version != cls.VERSION:
            raise ValueError(f"barrier: snapshot version {saved.version} cannot be read")
        barrier = cls(shards)
        barrier._shards, barrier._waiting = saved.shards, saved.waiting
        return barrier
