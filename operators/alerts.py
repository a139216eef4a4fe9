"""Alerts: signals to alerts, as a step keyed by entity."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bytewax.operators import StatefulBatchLogic

from analyzers.alerts import AlertBook, AlertSettings, AlertUpdate
from analyzers.control import Timeline
from operators import metrics
from operators.roster import HostForgotten
from operators.suppress import marked
from state.alerts import Signal
from state.suppressions import Suppressed


class AlertLogic(StatefulBatchLogic[Signal | HostForgotten, AlertUpdate | Suppressed, bytes]):
    """Wrap an AlertBook for ``op.stateful_batch``.

    Args:
        settings: how signals are grouped.
        timeline: what is suppressed; signals of an event were looked at by collect, which has the event.
        state: a snapshot to go on from.
    """

    def __init__(self, settings: AlertSettings, timeline: Timeline, state: bytes | None) -> None:
        self._timeline = timeline
        self._book = AlertBook(settings) if state is None else AlertBook.restore(settings, state)

    def on_batch(self, values: list[Signal | HostForgotten]) -> tuple[Iterable[AlertUpdate | Suppressed], bool]:
        """Take in signals; emit each alert touched once, and each count of what was suppressed."""
        wanted: list[Signal] = []
        suppressed: list[Signal] = []
        for value in values:
            if isinstance(value, Signal):
                signal = marked(value, self._timeline.suppressions)
                (suppressed if signal.suppressed else wanted).append(signal)
        updates = self._book.add(wanted)
        counts = self._book.suppress(suppressed)
        for value in values:
            if isinstance(value, HostForgotten):
                self._book.forget(value.before)
        if self._book.folded:
            metrics.OVERFLOW.labels(what="alerts").inc(self._book.folded)
            self._book.folded = 0
        for update in updates:
            if update.is_new:
                metrics.ALERTS.labels(kind=update.alert.kind, level=update.alert.level.name).inc()
        for signal in suppressed:
            metrics.SUPPRESSED.labels(kind=signal.kind).inc(signal.count)
        return [*updates, *counts], StatefulBatchLogic.RETAIN if self._book else StatefulBatchLogic.DISCARD

    def snapshot(self) -> Any:
        """Return the book's state."""
        return self._book.snapshot()
