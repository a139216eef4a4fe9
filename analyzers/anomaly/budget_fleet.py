"""A shift of the whole fleet, such as a patch day, is one signal and not one a host."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec
from msgspec import structs

from analyzers.anomaly.budget import MINUTE
from analyzers.anomaly.budget_anomaly import COMPANIONS, Reading, Side, Unusual
from analyzers.anomaly.settings import ShiftSettings as ShiftSettings
from state.alerts import iso

#: Hosts and metrics that a shift names.
NAMED = 20
#: Hosts of one metric that are held; as many in ``span_minutes`` are a shift in a fleet of any size.
HOSTS = 1_000
#: Metrics and sides of which anything is held.
METRICS = 1_024
#: Decades by which a host must lie above the median of a shift for not to be explained by it.
STANDS_OUT = 2.0


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
