"""Collect: what crosses the exchange of a batch is one item a shard, never every event. Pure core and its step."""

from __future__ import annotations

from collections import defaultdict
from operator import attrgetter

from msgspec import structs

from analyzers.control import Timeline
from analyzers.host import WINDOW
from analyzers.incidents.sightings import MAX_COPY, AlertCount, bounded, links_of, merge_alerts
from analyzers.ledger import LedgerDelta
from analyzers.metrics import MetricSet, Partial
from analyzers.router.candidate import Candidate
from operators.batch import Batch, Collected, HostLate, Judged, OpenWindow, ShardItem
from operators.formats.told import Alerted, alerted, is_alert
from operators.suppress import marked_with
from state.alerts import MAX_EVIDENCE, Level
from state.events import Event
from state.ids import shard_of

#: Number of shards. Stored data: it decides which recovery state belongs to which host.
SHARDS = 32
#: Matches of this level and above are alerted at once; they do not wait for the watermark.
AT_ONCE = Level.high
event_time = attrgetter("time")
#: Keys of the shards, in order.
SHARD_KEYS = tuple(f"{shard:02d}" for shard in range(SHARDS))


class Collector:
    """Pre-aggregate batches into partials by host and window, and pick the events that need a decision."""

    def __init__(
        self,
        metrics: MetricSet,
        lowest: Level = Level.informational,
        flow: int = 0,
        timeline: Timeline | None = None,
    ) -> None:
        self._metrics = metrics
        self._flow = flow
        self._lowest = lowest
        #: Changes of live settings, and suppressions; grows while the flow runs.
        self._timeline = Timeline() if timeline is None else timeline
        self._shards: dict[str, int] = {}

    def collect(self, judged: Judged) -> Collected:
        """Return what each shard gets of a batch."""
        judged = self._marked(judged)
        batch, signals = judged.batch, judged.signals
        items = [ShardItem(shard, batch.origin, batch.watermark, batch.start, {}, [], {}) for shard in range(SHARDS)]
        if not batch.consumed and not batch.absent and not batch.lost:
            return Collected(batch, items, [], None)
        reported = self._reported(batch)
        left_out = (batch.late.keys() | batch.future.keys()) - reported.keys()
        self._leave_out(batch, left_out, items)
        counted = batch.events
        if reported:
            counted = list(counted)
            for index, watermark in reported.items():
                counted[index] = structs.replace(counted[index], time=watermark)
        sources = self._count(counted, left_out, items)
        self._sum_up(batch, items)
        candidates = self._candidates(judged, items)
        # The host's step counts the candidates; the rest is settled here.
        read = len(judged.texts - signals.keys() - judged.readings.keys())
        versions = {"rules": judged.rules, "metrics": self._metrics.version}
        if judged.model:
            versions["model"] = judged.model
            versions["calibration"] = judged.calibration
        ledger = LedgerDelta(
            batch.origin,
            batch.bucket,
            consumed=batch.consumed,
            rejected=len(batch.rejected),
            skipped=batch.skipped,
            absent=batch.absent,
            lost=batch.lost,
            rule=len(batch.events) - candidates - read,
            bert=read,
            late=len(batch.late) - len(reported),
            future=len(batch.future),
            sources=sources,
            versions=versions if batch.consumed else {},
            first=batch.first if batch.consumed else -1,
        )
        at_once = [
            structs.replace(signal, raw=batch.events[index].raw)
            for index, found in signals.items()
            for signal in found
            if signal.level >= AT_ONCE and signal.level >= self._lowest_at(batch, index)
        ]
        if batch.loss is not None:
            at_once.append(batch.loss)
        seconds = judged.rule_seconds, judged.text_seconds
        return Collected(batch, items, at_once, ledger, len(judged.texts), *seconds)

    def _marked(self, judged: Judged) -> Judged:
        """Say of each signal which suppression it meets; here, for the event is at hand."""
        known, events = self._timeline.suppressions, judged.batch.events
        if not known or not judged.signals:
            return judged
        return structs.replace(
            judged, signals={i: marked_with(events[i], found, known) for i, found in judged.signals.items()}
        )

    def _lowest_at(self, batch: Batch, index: int) -> Level:
        changed = self._timeline.lowest(_place(batch, index)) if self._timeline else None
        return self._lowest if changed is None else changed

    def _shard(self, host: str) -> int:
        shard = self._shards.get(host)
        if shard is None:
            if len(self._shards) > 200_000:
                self._shards.clear()
            shard = self._shards[host] = shard_of(host, SHARDS)
        return shard

    def _count(self, events: list[Event], left_out: set[int], items: list[ShardItem]) -> dict[str, int]:
        sources: dict[str, int] = {}
        if left_out:
            for index in left_out:
                source = events[index].kind.source
                sources[source] = sources.get(source, 0) + 1
            events = [event for index, event in enumerate(events) if index not in left_out]
        # Events of one host, minute, kind and direction are counted together, attribute by attribute, in C.
        groups: defaultdict[tuple[str, int, int, bool], list[Event]] = defaultdict(list)
        for event in events:
            groups[event.host, event.time // WINDOW, id(event.kind), event.inbound].append(event)
        count = self._metrics.count
        for (host, minute, _, _), group in groups.items():
            source = group[0].kind.source
            sources[source] = sources.get(source, 0) + len(group)
            windows = items[self._shard(host)].windows
            times = list(map(event_time, group))
            first, last = min(times), max(times)
            window = windows.get((host, minute * WINDOW))
            if window is None:
                window = windows[host, minute * WINDOW] = OpenWindow(Partial(), len(group), first, last)
            else:
                window.events += len(group)
                window.first = min(window.first, first)
                window.last = max(window.last, last)
            count(window.partial, group)
        return sources

    def _sum_up(self, batch: Batch, items: list[ShardItem]) -> None:
        """Add up other systems' alerts by host, minute and rule. Late ones count in the minute of their place.

        So a flood of them costs what is here, and nothing at the exchange or after it.
        """
        kinds: dict[int, bool] = {}
        found: defaultdict[tuple[str, int], defaultdict[str, list[tuple[Event, Alerted]]]]
        found = defaultdict(lambda: defaultdict(list))
        for index, event in enumerate(batch.events):
            known = kinds.get(id(event.kind))
            if known is None:
                known = kinds[id(event.kind)] = is_alert(event.kind)
            if known:
                said = alerted(event)
                found[event.host, _place(batch, index) // WINDOW * WINDOW][said.told.rule].append((event, said))
        for (host, start), rules in found.items():
            windows = items[self._shard(host)].windows
            window = windows.get((host, start))
            if window is None:
                window = windows[host, start] = OpenWindow(Partial(), 0, 0, 0)
            merge_alerts(window.alerts, {rule: _counted(alerts) for rule, alerts in rules.items()})

    def _reported(self, batch: Batch) -> dict[int, int]:
        """Return the late events that are connections reported at their end, to the watermark they met.

        A sensor writes a connection when it has ended, with the time that it began: of real Zeek logs a third of the
        lines and nine tenths of the bytes come more than a few seconds late by that stamp.
        """
        return {
            index: watermark
            for index, watermark in batch.late.items()
            if batch.events[index].kind.action == "connection" and watermark - batch.events[index].time <= self._flow
        }

    def _leave_out(self, batch: Batch, left_out: set[int], items: list[ShardItem]) -> None:
        for index in left_out:
            event = batch.events[index]
            late = items[self._shard(event.host)].late
            known = late.get(event.host, HostLate(event.host, 0, 0, 0))
            if index in batch.future:
                late[event.host] = HostLate(event.host, known.events + 1, known.first, known.last)
            else:
                first = min(known.first, event.time) if known.first else event.time
                late[event.host] = HostLate(event.host, known.events + 1, first, max(known.last, event.time))

    def _candidates(self, judged: Judged, items: list[ShardItem]) -> int:
        batch = judged.batch
        readings = judged.readings
        for index in judged.signals.keys() | readings.keys():
            event = batch.events[index]
            said = tuple(judged.signals.get(index, ()))
            candidate = Candidate(event, said, _place(batch, index), reading=readings.get(index), shed=judged.shed)
            items[self._shard(event.host)].candidates.append(candidate)
        return len(judged.signals.keys() | readings.keys())


def _place(batch: Batch, index: int) -> int:
    """Return an event's place in the order of time, µs."""
    # Late: it comes after what the watermark has passed. Too far ahead: its own time may never come.
    return batch.late.get(index, batch.future.get(index, batch.events[index].time))


def _counted(alerts: list[tuple[Event, Alerted]]) -> AlertCount:
    """Add up alerts of one rule on one host in one minute."""
    first = sorted(alerts, key=_mark)[:MAX_EVIDENCE] if len(alerts) > 1 else alerts
    who = {(event.user, event.source_ip, event.destination_ip) for event, _ in alerts}
    host = alerts[0][0].host
    links = {link for user, source, destination in who for link in links_of(user, source, destination, host)}
    links.update(link for _, said in alerts for link in said.indicators)
    return AlertCount(
        first[0][1].told,
        len(alerts),
        first[0][0].time,
        max(event.time for event, _ in alerts),
        [(event.time, event.id, event.raw[:MAX_COPY]) for event, _ in first],
        bounded(links),
    )


def _mark(alert: tuple[Event, Alerted]) -> tuple[int, str]:
    return alert[0].time, alert[0].id
