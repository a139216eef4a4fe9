"""Correlations: what matches of rules add up to, as a step with one key, for a group may be on several hosts.

It has the hits of all partitions, and puts them in canonical order behind their common watermark itself. A batch
without any costs the exchange one small item.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import msgspec
from bytewax.operators import StatefulBatchLogic

from analyzers.anomaly.barrier import WindowClosed
from analyzers.control import Timeline
from analyzers.correlations.correlator import Correlator
from analyzers.correlations.hits import Hits
from analyzers.correlations.settings import CorrelationSettings
from analyzers.correlations.sighted import Sighted
from analyzers.incidents.sightings import Heard
from operators import metrics
from operators.collect import SHARDS
from operators.roster import HostForgotten
from state.alerts import Level, Signal

#: The one key. Stored data.
CORRELATIONS = "all"
#: Its number among those who close minutes for incidents: after the shards and the fleet. Stored data.
CLOSER = SHARDS + 1
#: What the step emits.
CorrelationOut = Signal | HostForgotten | Heard | WindowClosed


class _Saved(msgspec.Struct):
    correlator: bytes
    #: Entities of signals to the time of the last, µs, the oldest first.
    entities: list[tuple[str, int]]
    sighted: bytes


class CorrelationLogic(StatefulBatchLogic[Hits, CorrelationOut, bytes]):
    """Wrap a Correlator for ``op.stateful_batch``.

    Emits signals, entities of earlier ones that are forgotten, and what incidents are to hear, minute by minute.

    Args:
        partitions: names of all partitions.
        settings: how much may be remembered.
        lowest: correlations below this level raise no signal.
        timeline: changes of that.
        state: a snapshot to go on from.
    """

    VERSION = Correlator.VERSION * 100 + Sighted.VERSION

    def __init__(
        self,
        partitions: Iterable[str],
        settings: CorrelationSettings,
        lowest: Level,
        timeline: Timeline,
        state: bytes | None,
    ) -> None:
        self._correlator = Correlator(partitions, settings)
        self._most = settings.entities
        self._lowest = lowest
        self._timeline = timeline
        # Who is named here may be no host that the flow knows, and whoever sends events chooses the names.
        self._entities: OrderedDict[str, int] = OrderedDict()
        self._sighted = Sighted(CLOSER, settings.entities)
        if state is not None:
            saved = msgspec.msgpack.decode(state, type=_Saved)
            self._correlator.restore(saved.correlator)
            self._entities.update(saved.entities)
            self._sighted.restore(saved.sighted)

    def on_batch(self, values: list[Hits]) -> tuple[Iterable[CorrelationOut], bool]:
        """Take in hits; emit what the watermark has passed."""
        correlator = self._correlator
        for value in values:
            correlator.add(value)
        out: list[CorrelationOut] = []
        for said in correlator.release():
            lowest = self._timeline.lowest(said.place) if self._timeline else None
            if said.signal.level >= (self._lowest if lowest is None else lowest):
                out.append(said.signal)
                out += self._remember(said.signal)
                heard = self._sighted.hear(said.signal, said.place, said.links)
                if heard is not None:
                    out.append(heard)
        out += self._sighted.close(correlator.watermark)
        self._tell()
        return out, StatefulBatchLogic.RETAIN

    def _remember(self, signal: Signal) -> list[HostForgotten]:
        entities = self._entities
        entities[signal.entity] = max(signal.time, entities.get(signal.entity, 0))
        entities.move_to_end(signal.entity)
        if len(entities) <= self._most:
            return []
        oldest, last = entities.popitem(last=False)
        metrics.OVERFLOW.labels(what="correlation_entities").inc()
        return [HostForgotten(oldest, last + 1, oldest)]

    def _tell(self) -> None:
        correlator = self._correlator
        metrics.CORRELATION_GROUPS.set(correlator.groups)
        metrics.WAITING_HITS.set(correlator.waiting)
        if evicted := correlator.take_evicted():
            metrics.OVERFLOW.labels(what="correlation_groups").inc(evicted)
        if correlator.lacking:
            metrics.UNCORRELATED.inc(correlator.lacking)
            correlator.lacking = 0

    def snapshot(self) -> Any:
        """Return the state of all."""
        entities = list(self._entities.items())
        return msgspec.msgpack.encode(_Saved(self._correlator.snapshot(), entities, self._sighted.snapshot()))
