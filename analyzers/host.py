"""What one host does: its windows, roll-ups and scores, and the signals they give rise to. Pure; no Bytewax here."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from analyzers.anomaly.gaussian import GaussianScorer
from analyzers.metrics import Metric, MetricSet, Partial
from state.alerts import Level, Signal
from state.windows import HostSeen, HostWindow

#: Length of a window, seconds. Stored data: changing it needs a new snapshot version.
WINDOW_SECONDS = 60
WINDOW = WINDOW_SECONDS * 1_000_000
#: Lengths of the roll-ups, seconds.
ROLLUPS = (600, 3600)


class HostSettings(BaseModel):
    """How a host's windows are scored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    grace: int = Field(default=30, ge=2, description="Windows a metric is learned before it is scored.")
    spread: float = Field(default=0.35, gt=0, description="Least standard deviation believed, in log(1 + value).")
    deviations: float = Field(default=5.0, gt=0, description="Standard deviations from which a metric is an anomaly.")
    mute_windows: int = Field(
        default=30, ge=0, le=525_600, description="Windows for which an alarmed metric stays silent."
    )


class Tuning(msgspec.Struct, frozen=True):
    """Settings that were changed while the flow runs; ``None``: as configured."""

    deviations: float | None = None
    mute_windows: int | None = None


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


class _Saved(msgspec.Struct):
    version: int
    name: str
    #: Names of the metric set that indices refer to.
    names: tuple[str, ...]
    scorers: dict[int, tuple[float, ...]]
    muted: dict[int, int]
    rollups: dict[int, tuple[int, Partial]]
    events: int
    first_seen: int
    last_seen: int


class Host:
    """One host's behaviour. ``close_window`` once a window, in order of time; then ``snapshot`` at will.

    >>> from analyzers.metrics import Metric, MetricSet, Partial
    >>> host = Host("web-1", MetricSet([Metric("events", "all events", "count")]), HostSettings())
    >>> rows, signals = host.close_window(HostEvents("web-1", 0, Partial({0: 7}), 5, 9, 7))
    >>> rows[0].values, signals, host.seen().events
    ((7.0,), [], 7)
    """

    VERSION = 1

    def __init__(self, name: str, metrics: MetricSet, settings: HostSettings) -> None:
        self.name = name
        self._metrics = metrics
        self._settings = settings
        self._versions = (("metrics", metrics.version),)
        self._scorers: dict[int, GaussianScorer] = {}
        self._muted: dict[int, int] = {}
        self._rollups: dict[int, tuple[int, Partial]] = {}
        self._events = 0
        self._first_seen = 0
        self._last_seen = 0

    def close_window(self, window: HostEvents) -> tuple[list[HostWindow], list[Signal]]:
        """Score a closed window, then learn from it; return the rows to store and what is worth saying."""
        values = window.partial.values() if window.partial else {}
        self._events += window.events
        if window.events:
            self._first_seen = min(self._first_seen, window.first) if self._first_seen else window.first
            self._last_seen = max(self._last_seen, window.last)
        for index in values:
            if index not in self._scorers:
                self._scorers[index] = GaussianScorer(self._settings.grace, self._settings.spread)
        signals: list[Signal] = []
        scores: dict[int, float] = {}
        for index, scorer in self._scorers.items():
            value = values.get(index, 0.0)
            scores[index] = scorer.score_one(value)
            signal = self._judge(index, value, scorer, window)
            if signal is not None:
                signals.append(signal)
            scorer.learn_one(value)
        rows = list(self._roll_up(window))
        if self._scorers:
            order = sorted(self._scorers, key=lambda i: self._metrics.names[i])
            row = HostWindow(
                self.name,
                window.start,
                WINDOW_SECONDS,
                tuple(self._metrics.names[i] for i in order),
                tuple(values.get(i, 0.0) for i in order),
                tuple(scores[i] for i in order),
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
        return HostSeen(self.name, self._events, self._first_seen, self._last_seen)

    def _judge(self, index: int, value: float, scorer: GaussianScorer, window: HostEvents) -> Signal | None:
        metric = self._metrics.metrics[index]
        tuning = window.tuning or Tuning()
        deviations = self._settings.deviations if tuning.deviations is None else tuning.deviations
        mute = self._settings.mute_windows if tuning.mute_windows is None else tuning.mute_windows
        if metric.threshold is not None and metric.peak and value >= metric.threshold:
            # The minute in which the same attack ends is below the limit: no news beside this.
            self._muted[index] = window.start + mute * WINDOW
            reason = f"{metric.name} was {value:,.0f} in a minute; the limit is {metric.threshold:,.0f}"
            return self._signal("threshold", metric, "peak", window, reason)
        if scorer.seen < self._settings.grace or self._muted.get(index, -1) > window.start:
            return None
        deviation = scorer.deviation(value)
        side = "peak" if deviation > 0 else "dip"
        meaning = metric.peak if deviation > 0 else metric.dip
        if meaning is None or abs(deviation) < deviations or (side == "peak" and value < metric.floor):
            return None
        self._muted[index] = window.start + mute * WINDOW
        low, high = scorer.band()
        reason = (
            f"{metric.name} was {value:,.0f} in a minute; {low:,.0f} to {high:,.0f} is usual here"
            f" ({abs(deviation):.1f} standard deviations {'above' if deviation > 0 else 'below'},"
            f" {scorer.seen:,} minutes learned)"
        )
        return self._signal("anomaly", metric, side, window, reason)

    def _signal(self, kind: str, metric: Metric, side: str, window: HostEvents, reason: str) -> Signal:
        meaning = metric.peak if side == "peak" else metric.dip
        if meaning is None:
            raise ValueError(f"metric {metric.name} has no meaning of a {side}")
        # A threshold says that something is too much for anyone; an anomaly only that it is new here.
        level = meaning.severity if kind == "threshold" else Level(min(meaning.severity, Level.medium))
        return Signal(
            kind="threshold" if kind == "threshold" else "anomaly",
            rule=f"{metric.name}:{side}",
            name=meaning.name,
            level=level,
            entity=self.name,
            time=window.start,
            reason=reason,
            techniques=meaning.techniques,
            tactics=meaning.tactics,
            versions=self._versions,
        )

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
                {i: s.snapshot() for i, s in self._scorers.items()},
                self._muted,
                self._rollups,
                self._events,
                self._first_seen,
                self._last_seen,
            )
        )

    @classmethod
    def restore(cls, metrics: MetricSet, settings: HostSettings, state: bytes) -> Host:
        """Return a host that goes on from a snapshot; metrics that are no longer defined are dropped.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != cls.VERSION:
            raise ValueError(f"host {saved.name}: snapshot version {saved.version} cannot be read")
        host = cls(saved.name, metrics, settings)
        moved = {old: metrics.names.index(n) for old, n in enumerate(saved.names) if n in metrics.names}
        host._scorers = {
            moved[i]: GaussianScorer.restore(s, grace=settings.grace, spread=settings.spread)
            for i, s in saved.scorers.items()
            if i in moved
        }
        host._muted = {moved[i]: until for i, until in saved.muted.items() if i in moved}
        for seconds, (start, partial) in saved.rollups.items():
            kept = Partial(
                {moved[i]: v for i, v in partial.sums.items() if i in moved},
                {moved[i]: d for i, d in partial.distinct.items() if i in moved},
            )
            host._rollups[seconds] = (start, kept)
        host._events, host._first_seen, host._last_seen = saved.events, saved.first_seen, saved.last_seen
        return host
