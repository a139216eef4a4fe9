"""Incidents: what all hosts said, as a step with one key, for an incident may be on several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from bytewax.operators import StatefulBatchLogic

from analyzers.anomaly.barrier import WindowClosed
from analyzers.control import Timeline
from analyzers.criticality import Criticality
from analyzers.incidents.book import IncidentBook
from analyzers.incidents.links import Network
from analyzers.incidents.minutes import Minutes
from analyzers.incidents.notices import NotifySettings
from analyzers.incidents.settings import IncidentSettings
from analyzers.incidents.sightings import Heard
from operators import metrics
from operators.collect import SHARDS
from operators.suppress import heard_with
from state.alerts import Signal
from state.incidents import IncidentUpdate

#: The one key. Stored data.
KEY = "all"
#: Those who close windows: the shards, the fleet's step, after which hosts alarm, and correlations.
CLOSERS = SHARDS + 2


class _Saved(msgspec.Struct):
    minutes: bytes
    book: bytes


class IncidentLogic(StatefulBatchLogic[Heard | WindowClosed, IncidentUpdate | Signal, bytes]):
    """Wrap Minutes and an IncidentBook for ``op.stateful_batch``.

    Emits incidents that changed, once a minute of event time, and as signals the alerts of other systems that are worth
    an alert.

    Args:
        settings: when it is an incident.
        group: length of an alert's grouping window, µs.
        timeline: what is suppressed; sightings of an event were looked at by collect, which has the event.
        state: a snapshot to go on from.
        assets: how much hosts matter.
        notify: how often an incident is told of.
        home: networks that are ours.
    """

    VERSION = IncidentBook.VERSION * 100 + Minutes.VERSION
    #: Snapshots that can be gone on from.
    READS = frozenset(version * 100 + Minutes.VERSION for version in IncidentBook.READS)

    def __init__(
        self,
        settings: IncidentSettings,
        group: int,
        timeline: Timeline,
        state: bytes | None,
        assets: Criticality | None = None,
        notify: NotifySettings | None = None,
        home: Sequence[Network] = (),
    ) -> None:
        self._timeline = timeline
        if state is None:
            self._minutes, self._book = Minutes(CLOSERS), IncidentBook(settings, group, assets, notify, home)
        else:
            saved = msgspec.msgpack.decode(state, type=_Saved)
            self._minutes = Minutes.restore(CLOSERS, saved.minutes)
            self._book = IncidentBook.restore(settings, group, saved.book, assets, notify, home)

    def on_batch(self, values: list[Heard | WindowClosed]) -> tuple[Iterable[IncidentUpdate | Signal], bool]:
        """Take in what was heard; emit what the minutes that are complete changed."""
        for value in values:
            if isinstance(value, Heard):
                self._minutes.hear(heard_with(value, self._timeline.suppressions))
            else:
                self._minutes.close(value)
        out: list[IncidentUpdate | Signal] = []
        for minute in self._minutes.release():
            result = self._book.advance(minute)
            for update in result.updates:
                if update.change != "same":
                    metrics.INCIDENTS.labels(change=update.change, severity=update.incident.severity.name).inc()
                if update.reason:
                    metrics.NOTIFICATIONS.labels(reason=update.reason).inc()
            out += result.updates
            out += result.signals
        metrics.OPEN_INCIDENTS.set(len(self._book))
        if self._book.evicted:
            metrics.OVERFLOW.labels(what="incidents").inc(self._book.evicted)
            self._book.evicted = 0
        return out, StatefulBatchLogic.RETAIN

    def snapshot(self) -> Any:
        """Return the state of both."""
        return msgspec.msgpack.encode(_Saved(self._minutes.snapshot(), self._book.snapshot()))
