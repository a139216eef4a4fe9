"""What one host does: its windows, roll-ups and scores, and the signals they give rise to. Pure; no Bytewax here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from analyzers.anomaly.barrier import Report
from analyzers.anomaly.budget import MINUTE
from analyzers.anomaly.habits import Habits
from analyzers.anomaly.settings import AnomalySettings, BudgetSettings, Tuning
from analyzers.incidents.sightings import Alerts
from analyzers.incidents.watch import Watch
from analyzers.metrics import MetricSet, Partial
from analyzers.router.memory import HostMemory
from state.alerts import Signal
from state.windows import HostSeen, HostWindow

#: Length of a window, seconds. Stored data: changing it needs a new snapshot version.
WINDOW_SECONDS = 60
WINDOW = WINDOW_SECONDS * 1_000_000
#: Lengths of the roll-ups, seconds.
ROLLUPS = (600, 3600)


class HostEvents(msgspec.Struct, frozen=True):
    """What reached a host step about one closed window: its partial, or none for a silent window."""

    host: str
    #: Start of the window, µs.
    start: int
    partial: Partial | None
    #: First and last event time of the window, µs; 0 if silent.
    first: int = 0
    last: int = 0
    events: int = 0
    #: Settings that hold in this window, where they are not the configured ones.
    tuning: Tuning | None = None
    #: Alerts of other systems, by rule.
    alerts: Alerts | None = None


class _Saved(msgspec.Struct):
    version: int
    name: str
    #: Names of the metric set that indices refer to.
    names: tuple[str, ...]
    habits: bytes
    #: Until when a limit that was passed says all there is to say of a metric, µs.
    limited: dict[int, int]
    rollups: dict[int, tuple[int, Partial]]
    events: int
    first_seen: int
    last_seen: int
    watch: tuple[Any, ...] | None
    memory: tuple[Any, ...] | None
    anomaly: float


class Host:
    """One host's behaviour. ``close_window`` once a window, in order of time; then ``snapshot`` at will.

    >>> from analyzers.metrics import Metric, MetricSet, Partial
    >>> host = Host("web-1", MetricSet([Metric("events", "all events", "count")]), AnomalySettings())
    >>> rows, signals = host.close_window(HostEvents("web-1", 0, Partial({0: 7}), 5, 9, 7))
    >>> rows[0].values, signals, host.report.unusual, host.seen().events
    ((7.0,), [], None, 7)
    """

    VERSION = 5

    def __init__(self, name: str, metrics: MetricSet, settings: AnomalySettings) -> None:
        self.name = name
        #: What the last window was like.
        self.report: Report | None = None
        #: What it has to say for incidents.
        self.watch = Watch(name)
        #: What it was asked about before, for the router.
        self.memory = HostMemory()
        #: Highest probability of anomaly of the last window, 0 to 1.
        self.anomaly = 0.0
        self._metrics = metrics
        self._settings = settings
        self._versions = (("metrics", metrics.version),)
        self._habits = Habits(name, metrics, settings)
        self._limited: dict[int, int] = {}
        self._rollups: dict[int, tuple[int, Partial]] = {}
        self._events = 0
        self._first_seen = 0
        self._last_seen = 0

    def close_window(self, window: HostEvents) -> tuple[list[HostWindow], list[Signal]]:
        """Score a closed window, then learn from it; return the rows to store and what passed a limit."""
        values = window.partial.values() if window.partial else {}
        self._events += window.events
        if window.events:
            self._first_seen = min(self._first_seen, window.first) if self._first_seen else window.first
            self._last_seen = max(self._last_seen, window.last)
        budget = window.tuning.of(self._settings) if window.tuning else self._settings
        signals = self._check_limits(values, window, budget)
        judged = self._habits.judge(window.start, values, self._limited, budget)
        self.report = Report(self.name, window.start, judged.unusual, window.tuning)
        # Below 0: it is not known yet.
        self.anomaly = max([0.0, *judged.scores.values()])
        self.memory.learn((), signals, window.start)
        rows = list(self._roll_up(window))
        if judged.scores:
            order = sorted(judged.scores, key=lambda i: self._metrics.names[i])
            row = HostWindow(
                self.name,
                window.start,
                WINDOW_SECONDS,
                tuple(self._metrics.names[i] for i in order),
                tuple(values.get(i, 0.0) for i in order),
                tuple(judged.scores[i] for i in order),
            )
            rows.append(row)
        signals.sort(key=lambda signal: signal.rule)
        return rows, signals

    def add_late(self, events: int, first: int, last: int) -> None:
        """Count events left out of windows; ``first`` and ``last`` are 0 if their times are not to be believed."""
        self._events += events
        if first:
            self._first_seen = min(self._first_seen, first) if self._first_seen else first
            self._last_seen = max(self._last_seen, last)

    def seen(self) -> HostSeen:
        """Return the host's totals."""
        born = self._habits.born
        judged_from = 0 if born is None else born + round(self._settings.warm_hours * 60 * MINUTE)
        return HostSeen(self.name, self._events, self._first_seen, self._last_seen, judged_from)

    def _check_limits(self, values: dict[int, float], window: HostEvents, budget: BudgetSettings) -> list[Signal]:
        """Return a signal for each metric past its limit, which tells no anomaly for a while."""
        signals = []
        for index in [index for index, until in self._limited.items() if until <= window.start]:
            del self._limited[index]
        for index, value in values.items():
            metric = self._metrics.metrics[index]
            if metric.threshold is None or metric.peak is None or value < metric.threshold:
                continue
            # The minute in which the same attack ends is below the limit: no news beside this.
            self._limited[index] = window.start + max(round(budget.mute_minutes * MINUTE), 1)
            signals.append(
                Signal(
                    kind="threshold",
                    rule=f"{metric.name}:peak",
                    name=metric.peak.name,
                    # A limit says that something is too much for anyone; an anomaly only that it is new here.
                    level=metric.peak.severity,
                    entity=self.name,
                    time=window.start,
                    reason=f"{metric.name} was {value:,.0f} in a minute; the limit is {metric.threshold:,.0f}",
                    techniques=metric.peak.techniques,
                    tactics=metric.peak.tactics,
                    versions=self._versions,
                )
            )
        return signals

    def _roll_up(self, window: HostEvents) -> Iterator[HostWindow]:
        for seconds in ROLLUPS:
            start = window.start - window.start % (seconds * 1_000_000)
            open_start, partial = self._rollups.get(seconds, (start, None))
            if open_start != start:
                if partial is not None:
                    yield self._rollup_row(seconds, open_start, partial)
                partial = None
            if window.partial is None:
                if partial is None:
                    self._rollups.pop(seconds, None)
                continue
            if partial is None:
                partial = Partial()
                self._rollups[seconds] = (start, partial)
            partial.merge(window.partial)

    def _rollup_row(self, seconds: int, start: int, partial: Partial) -> HostWindow:
        values = sorted((self._metrics.names[i], value) for i, value in partial.values().items())
        names = tuple(name for name, _ in values)
        return HostWindow(self.name, start, seconds, names, tuple(v for _, v in values), ())

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        return msgspec.msgpack.encode(
            _Saved(
                self.VERSION,
                self.name,
                self._metrics.names,
                self._habits.snapshot(),
                self._limited,
                self._rollups,
                self._events,
                self._first_seen,
                self._last_seen,
                self.watch.snapshot(),
                self.memory.snapshot(),
                self.anomaly,
            )
        )

    @classmethod
    def restore(cls, metrics: MetricSet, settings: AnomalySettings, state: bytes) -> Host:
        """Return a host that goes on from a snapshot; metrics that are no longer defined are dropped.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != cls.VERSION:
            raise ValueError(f"host {saved.name}: snapshot version {saved.version} cannot be read")
        host = cls(saved.name, metrics, settings)
        moved = {old: metrics.names.index(n) for old, n in enumerate(saved.names) if n in metrics.names}
        host._habits = Habits.restore(saved.name, metrics, settings, saved.habits, moved)
        host._limited = {moved[i]: until for i, until in saved.limited.items() if i in moved}
        host.watch = Watch.restore(saved.name, saved.watch)
        host.memory, host.anomaly = HostMemory(saved.memory), saved.anomaly
        for seconds, (start, partial) in saved.rollups.items():
            kept = Partial(
                {moved[i]: v for i, v in partial.sums.items() if i in moved},
                {moved[i]: d for i, d in partial.distinct.items() if i in moved},
            )
            host._rollups[seconds] = (start, kept)
        host._events, host._first_seen, host._last_seen = saved.events, saved.first_seen, saved.last_seen
        return host
