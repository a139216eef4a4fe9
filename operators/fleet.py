"""The fleet, as a step of one key after the hosts, and the alarms of each host after that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from bytewax.operators import StatefulBatchLogic

from analyzers.anomaly.barrier import Report, WindowClosed
from analyzers.anomaly.fleet import Fleet
from analyzers.anomaly.settings import AnomalySettings
from analyzers.anomaly.telling import HostAlarm
from analyzers.incidents.sightings import Heard
from analyzers.incidents.watch import sighting_of
from analyzers.metrics import MetricSet
from operators import metrics
from operators.collect import SHARDS
from operators.roster import HostForgotten
from state.alerts import FLEET, Signal

#: What the fleet step emits.
FleetOut = Signal | Report | WindowClosed | Heard


def with_heard(judged: Iterable[Signal | Report | WindowClosed]) -> Iterator[FleetOut]:
    """Add what incidents hear of the fleet as a whole, counted with the window that is closed after it."""
    signals: list[Signal] = []
    for item in judged:
        if isinstance(item, Signal):
            signals.append(item)
        if isinstance(item, WindowClosed) and signals:
            yield Heard(FLEET, item.start, tuple(sighting_of(signal, item.start) for signal in signals))
            item = msgspec.structs.replace(item, candidates=item.candidates + 1)
            signals = []
        yield item


class FleetLogic(StatefulBatchLogic[WindowClosed | Report, FleetOut, bytes]):
    """Wrap a Fleet for ``op.stateful_batch``.

    Emits signals of the fleet, what incidents hear of them, and reports for the hosts' own alarms.

    Args:
        host_metrics: the metric set in force.
        settings: what makes a shift.
        state: a snapshot to go on from.
    """

    def __init__(self, host_metrics: MetricSet, settings: AnomalySettings, state: bytes | None) -> None:
        shift = settings.shift
        self._fleet = (
            Fleet(SHARDS, host_metrics, shift) if state is None else Fleet.restore(SHARDS, host_metrics, shift, state)
        )

    def on_batch(self, values: list[WindowClosed | Report]) -> tuple[Iterable[FleetOut], bool]:
        """Take in what was closed and reported; judge the windows that are complete."""
        fleet = self._fleet
        for value in values:
            fleet.add(value)
        out = list(with_heard(fleet.release()))
        if fleet.absorbed:
            metrics.UNUSUAL.labels(status="shift").inc(fleet.absorbed)
            fleet.absorbed = 0
        return out, StatefulBatchLogic.RETAIN

    def snapshot(self) -> Any:
        """Return the fleet's state."""
        return self._fleet.snapshot()


class AlarmLogic(StatefulBatchLogic[Report | HostForgotten, Signal | Heard, bytes]):
    """Wrap a HostAlarm for ``op.stateful_batch``, keyed by host. Holds state only of hosts that were ever unusual.

    Emits signals, and what incidents are to hear of each window, be it anything or not.

    Args:
        host_metrics: the metric set in force.
        settings: by what budget hosts alarm.
        state: a snapshot to go on from.
    """

    def __init__(self, host_metrics: MetricSet, settings: AnomalySettings, state: bytes | None) -> None:
        self._metrics = host_metrics
        self._settings = settings
        self._alarm = HostAlarm.restore(host_metrics, settings, state) if state is not None else None

    def on_batch(self, values: list[Report | HostForgotten]) -> tuple[Iterable[Signal | Heard], bool]:
        """Take in unusual windows in order of time; emit what is worth saying."""
        out: list[Signal | Heard] = []
        for value in values:
            if isinstance(value, HostForgotten):
                self._alarm = None
                continue
            if self._alarm is None:
                self._alarm = HostAlarm(value.host, self._metrics, self._settings)
            signal = self._alarm.judge(value)
            if self._alarm.verdict is not None:
                metrics.UNUSUAL.labels(status=self._alarm.verdict.status).inc()
            sightings = () if signal is None else (sighting_of(signal, value.start),)
            out.append(Heard(value.host, value.start, sightings))
            if signal is not None:
                out.append(signal)
        return out, StatefulBatchLogic.DISCARD if self._alarm is None else StatefulBatchLogic.RETAIN

    def snapshot(self) -> Any:
        """Return the alarm's state."""
        return self._alarm.snapshot() if self._alarm is not None else None
