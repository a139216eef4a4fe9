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

from analyzers.control import Timeline
from analyzers.correlations.correlator import Correlator
from analyzers.correlations.hits import Hits
from analyzers.correlations.settings import CorrelationSettings
from operators import metrics
from operators.roster import HostForgotten
from state.alerts import Level, Signal

#: The one key. Stored data.
CORRELATIONS = "all"


class _Saved(msgspec.Struct):
    correlator: bytes
    #: Entities of signals to the time of the last, µs, the oldest first.
    entities: list[tuple[str, int]]


class CorrelationLogic(StatefulBatchLogic[Hits, Signal | HostForgotten, bytes]):
    """Wrap a Correlator for ``op.stateful_batch``. Emits signals, and entities of earlier ones that are forgotten.

    Args:
        partitions: names of all partitions.
        settings: how much may be remembered.
        lowest: correlations below this level raise no signal.
        timeline: changes of that.
        state: a snapshot to go on from.
    """

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
        if state is not None:
            saved = msgspec.msgpack.decode(state, type=_Saved)
            self._correlator.restore(saved.correlator)
            self._entities.update(saved.entities)

    def on_batch(self, values: list[Hits]) -> tuple[Iterable[Signal | HostForgotten], bool]:
        """Take in hits; emit what the watermark has passed."""
        correlator = self._correlator
        for value in values:
            correlator.add(value)
        out: list[Signal | HostForgotten] = []
        for said in correlator.release():
            lowest = self._timeline.lowest(said.place) if self._timeline else None
            if said.signal.level >= (self._lowest if lowest is None else lowest):
                out.append(said.signal)
                out += self._remember(said.signal)
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
        """Return the state of both."""
        return msgspec.msgpack.encode(_Saved(self._correlator.snapshot(), list(self._entities.items())))
