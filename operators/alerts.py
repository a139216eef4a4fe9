"""Alerts: signals to alerts, as a step keyed by entity."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bytewax.operators import StatefulBatchLogic

from analyzers.alerts import AlertBook, AlertSettings, AlertUpdate
from operators import metrics
from operators.roster import HostForgotten
from state.alerts import Signal


class AlertLogic(StatefulBatchLogic[Signal | HostForgotten, AlertUpdate, bytes]):
    """Wrap an AlertBook for ``op.stateful_batch``."""

    def __init__(self, settings: AlertSettings, state: bytes | None) -> None:
        self._book = AlertBook(settings) if state is None else AlertBook.restore(settings, state)

    def on_batch(self, values: list[Signal | HostForgotten]) -> tuple[Iterable[AlertUpdate], bool]:
        """Take in signals; emit each alert touched once."""
        updates = self._book.add([value for value in values if isinstance(value, Signal)])
        for value in values:
            if isinstance(value, HostForgotten):
                self._book.forget(value.before)
        if self._book.folded:
            metrics.OVERFLOW.labels(what="alerts").inc(self._book.folded)
            self._book.folded = 0
        for update in updates:
            if update.is_new:
                metrics.ALERTS.labels(kind=update.alert.kind, level=update.alert.level.name).inc()
        return updates, StatefulBatchLogic.RETAIN if self._book else StatefulBatchLogic.DISCARD

    def snapshot(self) -> Any:
        """Return the book's state."""
        return self._book.snapshot()
