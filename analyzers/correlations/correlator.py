"""Correlations over the whole stream: hits of all partitions in canonical order, behind their watermark. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import msgspec

from analyzers.correlations.groups import NEVER, Counted, Entry, Holding, Met, Named, Ordered, Whole
from analyzers.correlations.hits import Cite, Hit, Hits
from analyzers.correlations.memory import Memory, Name, SavedGroups
from analyzers.correlations.reading import Fed, Input, read
from analyzers.correlations.settings import CorrelationSettings
from analyzers.correlations.sighted import group_links
from analyzers.correlations.telling import signal_of
from analyzers.rules.correlation import Correlation
from state.alerts import MAX_EVIDENCE, Signal

#: A watermark below every event.
UNKNOWN = -(2**62)
_TEMPORAL = ("temporal", "temporal_ordered")


class Said(msgspec.Struct, frozen=True, gc=False):
    """A signal, its place in the order of time, µs, and what its group links by."""

    place: int
    signal: Signal
    links: tuple[str, ...] = ()


class Ending(msgspec.Struct):
    """The last hit of a window that is told as a whole, by which it is told."""

    hit: Hit
    matched: int
    #: Values of the group as the hit has them.
    shown: Name


class _Saved(msgspec.Struct):
    version: int
    watermarks: dict[str, int]
    waiting: list[Hit]
    correlations: list[Correlation]
    groups: list[SavedGroups]
    endings: list[tuple[str, Name, Ending]]
    now: int


class Correlator:
    """All correlations in force. ``add`` what batches bring, then ``release`` what the watermark has passed.

    A correlation *holds* at an event if its condition is met by the window that ends there. It *fires* when it begins
    to hold, and again a timespan later if it then still holds. What fires is said, and counted by correlations of
    events and values; that it holds is what ``temporal`` ones ask.

    Args:
        partitions: names of all partitions; nothing is decided before each has said how far it is.
        settings: how much may be remembered.
    """

    VERSION = 1

    def __init__(self, partitions: Iterable[str], settings: CorrelationSettings) -> None:
        self._watermarks = dict.fromkeys(partitions, UNKNOWN)
        self._waiting: list[tuple[tuple[int, str, int], Hit]] = []
        self._known: dict[str, Correlation] = {}
        self._memory = Memory(settings.memory_mb * 1_000_000)
        #: Windows that are told when they have passed, by their end; of several first those that others may add to.
        self._ends: list[tuple[int, int, str, Name]] = []
        self._endings: dict[tuple[str, Name], Ending] = {}
        self._now = UNKNOWN
        #: Matches that lack a field that a correlation groups by or counts, since this was last read.
        self.lacking = 0

    @property
    def waiting(self) -> int:
        """Return how many hits wait for the watermark."""
        return len(self._waiting)

    @property
    def groups(self) -> int:
        """Return how many groups are remembered."""
        return len(self._memory)

    @property
    def watermark(self) -> int:
        """Return the time that all partitions have passed, µs."""
        return min(self._watermarks.values(), default=UNKNOWN)

    def take_evicted(self) -> int:
        """Return how many groups and events were forgotten for want of room since this was last asked."""
        evicted, self._memory.evicted = self._memory.evicted, 0
        return evicted

    def add(self, hits: Hits) -> None:
        """Take in what a batch has."""
        self._watermarks[hits.origin] = max(self._watermarks.get(hits.origin, UNKNOWN), hits.watermark)
        for correlation in hits.correlations:
            self._known.setdefault(correlation.digest, correlation)
        for hit in hits.hits:
            heapq.heappush(self._waiting, (hit.order, hit))

    def release(self) -> list[Said]:
        """Return what is to be said of all that the watermark has passed."""
        watermark = self.watermark
        out: list[Said] = []
        if watermark == UNKNOWN:
            return out
        while self._waiting and self._waiting[0][0][0] < watermark:
            hit = heapq.heappop(self._waiting)[1]
            # A partition that came to the topic later may bring what is older than what is decided.
            now = max(hit.place, self._now)
            self._end(now, out)
            self._now = now
            inputs = [Input(f"r:{each.rule}", each, hit.host, (hit.cite(),)) for each in hit.matches]
            self._decide(hit, now, inputs, out)
        self._end(watermark, out)
        self._memory.expire(watermark)
        return out

    def _decide(self, hit: Hit, now: int, inputs: list[Input], out: list[Said]) -> None:
        """Ask the correlations that a hit concerns; what holds is an input of those that refer to it."""
        for digest in hit.concerns:
            correlation = self._known[digest]
            wanted = {source.of for source in correlation.sources}
            met = [each for each in inputs if each.of in wanted]
            if not met:
                continue
            fed, lacking = read(correlation, met)
            self.lacking += lacking
            for name, each in fed.items():
                self._count(correlation, name, each, hit, now, inputs, out)

    def _count(
        self, correlation: Correlation, name: Name, fed: Fed, hit: Hit, now: int, inputs: list[Input], out: list[Said]
    ) -> None:
        memory = self._memory
        spare = memory.spare(now)
        group = memory.get(correlation, name, now)
        before, lacking = group.size, group.lacking
        cites = fed.first.cites
        # Only the first events of a window are evidence; of those a copy is kept as long as there is room.
        if not spare or group.copies() >= MAX_EVIDENCE:
            cites = tuple((time, event, b"") for time, event, _ in cites)
        entry = Entry(now, fed.first.host, cites, fed.value, fed.number)
        met: Met | None = None
        match group:
            case Counted():
                met = group.add(entry, correlation)
            case Named():
                temporal = correlation.type in _TEMPORAL
                names = [str(place) for place in dict.fromkeys(fed.places)] if temporal else [fed.value]
                met = group.add(names, entry, correlation)
            case Ordered():
                met = group.add(fed.places, entry, correlation)
            case Whole():
                fresh = group.ends == NEVER
                group.add(entry, correlation)
                if fresh:
                    heapq.heappush(self._ends, (group.ends, -correlation.depth, correlation.key, name))
                matched = next(i for i, each in enumerate(hit.matches) if each == fed.first.matched)
                self._endings[correlation.key, name] = Ending(hit, matched, fed.shown)
        fired = met is not None and (group.fired == NEVER or group.fired + correlation.timespan <= now)
        if fired:
            group.fired = now
        exact = max(group.lacking, memory.lacking(correlation.key)) <= now
        holding = met.holding() if met is not None and (fired or self._referred(correlation, hit)) else None
        memory.evicted += group.lacking > lacking
        memory.touch(correlation.key, name, now, before)
        if holding is not None:
            self._tell(correlation, holding, fed.first, fed.shown, fired, exact, hit, now, inputs, out)

    def _referred(self, correlation: Correlation, hit: Hit) -> bool:
        """Say whether another correlation asks whether this one holds."""
        of = f"c:{correlation.key}"
        return any(source.of == of for digest in hit.concerns for source in self._known[digest].sources)

    def _tell(
        self,
        correlation: Correlation,
        holding: Holding,
        by: Input,
        shown: tuple[str, ...],
        fired: bool,
        exact: bool,
        hit: Hit,
        now: int,
        inputs: list[Input],
        out: list[Said],
    ) -> None:
        inputs.append(Input(f"c:{correlation.key}", by.matched, holding.host, holding.cites, fired))
        if fired and not correlation.silent:
            last: Cite = hit.cite()
            exact = exact and holding.exact
            signal = signal_of(correlation, shown, holding, last, hit.version, exact)
            out.append(Said(now, signal, group_links(correlation.group_by, shown)))

    def _end(self, before: int, out: list[Said]) -> None:
        """Tell the windows that have passed, in order of their ends."""
        while self._ends and self._ends[0][0] <= before:
            end, _, key, name = heapq.heappop(self._ends)
            ending = self._endings.get((key, name))
            group = self._memory.find(key, name)
            if ending is None or not isinstance(group, Whole) or group.ends != end:
                if group is None:  # it was forgotten for want of room
                    self._endings.pop((key, name), None)
                continue
            del self._endings[key, name]
            self._now = max(self._now, end)
            lacking = self._memory.lacking(key)
            self._memory.drop(key, name)
            hit = ending.hit
            correlation = next(c for digest in hit.concerns if (c := self._known[digest]).key == key)
            holding = group.close(correlation)
            if holding is None:
                continue
            matched = hit.matches[ending.matched]
            by = Input(f"r:{matched.rule}", matched, hit.host, (hit.cite(),))
            inputs: list[Input] = []
            self._tell(correlation, holding, by, ending.shown, True, lacking <= end, hit, end, inputs, out)
            self._decide(hit, end, inputs, out)

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        waiting = [hit for _, hit in self._waiting]
        endings = [(*mark, ending) for mark, ending in self._endings.items() if self._memory.find(*mark) is not None]
        used = {digest for hit in waiting for digest in hit.concerns}
        used.update(digest for *_, ending in endings for digest in ending.hit.concerns)
        # A hit brings the correlations that it concerns; only those that wait for the time need theirs kept.
        self._known = {digest: each for digest, each in self._known.items() if digest in used}
        return msgspec.msgpack.encode(
            _Saved(
                self.VERSION,
                self._watermarks,
                waiting,
                list(self._known.values()),
                self._memory.save(),
                endings,
                self._now,
            )
        )

    def restore(self, state: bytes) -> None:
        """Go on from a snapshot; partitions that are gone are forgotten.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != self.VERSION:
            raise ValueError(f"correlations: snapshot version {saved.version} cannot be read")
        for name in self._watermarks:
            self._watermarks[name] = saved.watermarks.get(name, UNKNOWN)
        self._waiting = [(hit.order, hit) for hit in saved.waiting]
        heapq.heapify(self._waiting)
        self._known = {each.digest: each for each in saved.correlations}
        self._memory.load(saved.groups)
        self._endings = {(key, name): ending for key, name, ending in saved.endings}
        self._now = saved.now
        depths = {each.key: each.depth for each in saved.correlations}
        self._ends = [
            (group.ends, -depths[key], key, name)
            for key, name, group in self._memory.groups()
            if isinstance(group, Whole) and group.ends != NEVER
        ]
        heapq.heapify(self._ends)
