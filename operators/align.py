"""Align: hold windows and candidates of one shard until every partition has passed them, then release them in order.

``Aligner`` is the pure core; ``AlignLogic`` wraps it for Bytewax. Results are the same at any number of workers and for
any interleaving of partitions, because what is released, and in which order, depends only on the watermarks.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable
from typing import Any

import msgspec
from bytewax.operators import StatefulBatchLogic
from msgspec import structs

from analyzers.anomaly.barrier import END, WindowClosed
from analyzers.control import Change, Timeline
from analyzers.host import WINDOW, HostEvents
from analyzers.metrics import Partial
from analyzers.router.candidate import Candidate
from operators import metrics
from operators.batch import END_OF_TIME, UNKNOWN, HostLate, OpenWindow, ShardItem
from operators.clock import TimeSettings
from operators.collect import AT_ONCE, SHARDS
from operators.roster import RESERVED, HostForgotten, LimitSettings, Roster, overflow_host
from state.alerts import iso

log = logging.getLogger(__name__)

#: What the host step gets, in order.
HostItem = HostEvents | Candidate | HostLate | HostForgotten
#: What a shard releases: that, and which windows it has closed.
Released = HostItem | WindowClosed
#: New hosts of an open window beyond those that there is room for, until the surplus is counted together.
SURPLUS = 256


class _Saved(msgspec.Struct):
    version: int
    watermarks: dict[str, int]
    starts: dict[str, int]
    windows: list[tuple[int, str, OpenWindow]]
    candidates: list[Candidate]
    hosts: dict[str, int]
    asleep: dict[str, int]
    strays: dict[str, int]
    next_window: int | None
    uncounted: int


class Aligner:
    """The open windows and waiting candidates of one shard.

    Args:
        partitions: names of all partitions; nothing is released before each has said how far it is.
        silent_windows: empty windows that a host which fell silent is given.
        stagger: how long after its end this shard closes a window, µs of event time.
        roster: the hosts that the shard knows, and how many it may.
        timeline: changes of live settings known so far.
    """

    VERSION = 3

    def __init__(
        self,
        partitions: Iterable[str],
        silent_windows: int = 60,
        stagger: int = 0,
        roster: Roster | None = None,
        timeline: Timeline | None = None,
    ) -> None:
        self._watermarks = dict.fromkeys(partitions, UNKNOWN)
        self._silence = silent_windows * WINDOW
        #: How long after its end a window is closed, µs of event time.
        self.stagger = stagger
        #: The first watermark that each partition ever had.
        self._starts: dict[str, int] = {}
        self._windows: dict[int, dict[str, OpenWindow]] = {}
        self._candidates: list[tuple[tuple[int, str, int], Candidate]] = []
        self.roster = roster or Roster(100_000, 30)
        #: How many hosts of each open window were not known when they came.
        self._strangers: dict[int, int] = {}
        #: Events counted under the overflow host since this was last read.
        self.overflowed = 0
        #: Start of each window closed since this was last read, for how many hosts, and candidates released before.
        self.closed: list[tuple[int, int, int]] = []
        self._next: int | None = None
        self._late: dict[str, list[HostLate]] = {}
        #: Candidates released since a window was last closed.
        self._uncounted = 0
        self._timeline = Timeline() if timeline is None else timeline.copy()

    @property
    def watermark(self) -> int:
        """Return the time that all partitions have passed, µs."""
        return min(self._watermarks.values(), default=END_OF_TIME)

    @property
    def open_windows(self) -> int:
        """Return how many windows of hosts are open."""
        return sum(map(len, self._windows.values()))

    @property
    def waiting(self) -> int:
        """Return how many candidates wait."""
        return len(self._candidates)

    def add(self, item: ShardItem) -> None:
        """Take in what a batch has for this shard."""
        self._watermarks[item.origin] = max(self._watermarks.get(item.origin, UNKNOWN), item.watermark)
        if item.start != UNKNOWN:
            self._starts[item.origin] = item.start
        for (host, start), window in item.windows.items():
            if self._next is not None and start < self._next:
                # Only a partition that came to the topic later can bring what is older than all windows still open.
                if window.alerts:
                    self._put(self._next, host, OpenWindow(Partial(), 0, 0, 0, window.alerts))
                self._late.setdefault(host, []).append(HostLate(host, window.events, window.first, window.last))
                continue
            self._put(start, host, window)
        for candidate in item.candidates:
            heapq.heappush(self._candidates, (candidate.order, candidate))
        for host, late in item.late.items():
            self._late.setdefault(host, []).append(late)

    def _put(self, start: int, host: str, window: OpenWindow) -> None:
        hosts = self._windows.setdefault(start, {})
        if host not in hosts and host not in self.roster:
            if host.startswith(RESERVED):
                self._overflow(hosts, window)
                return
            self._strangers[start] = self._strangers.get(start, 0) + 1
        known = hosts.get(host)
        if known is None:
            hosts[host] = window
        else:
            known.merge(window)
        if self._strangers.get(start, 0) > self.roster.room + SURPLUS:
            # The first by name stay, for it is they who get a place when the window closes: a host that is among them
            # in the end was so all along, and none of its events went elsewhere.
            strangers = sorted(host for host in hosts if host not in self.roster)
            for surplus in strangers[self.roster.room :]:
                self._overflow(hosts, hosts.pop(surplus))
            self._strangers[start] = min(len(strangers), self.roster.room)

    def _overflow(self, hosts: dict[str, OpenWindow], window: OpenWindow) -> None:
        self.overflowed += window.events
        known = hosts.get(self.roster.overflow)
        if known is None:
            hosts[self.roster.overflow] = window
        else:
            known.merge(window)

    def change(self, change: Change) -> bool:
        """Take in a change of a live setting; say whether it comes in time, before a window that it holds in closed."""
        self._timeline.add(change)
        return self._next is None or self._next <= change.setting.from_time

    def release(self) -> list[HostItem]:
        """Return what the watermark has passed, in canonical order, each with the settings that hold at its time."""
        released = self._release()
        if not self._timeline:
            return released
        return [self._timeline.apply(item) if isinstance(item, HostEvents | Candidate) else item for item in released]

    def _release(self) -> list[HostItem]:
        out: list[HostItem] = [self._placed_late(late) for host in sorted(self._late) for late in self._late[host]]
        self._late.clear()
        watermark = self.watermark
        if watermark == UNKNOWN:
            return out
        if self._next is None:
            self._next = self._first_window()
        ended = False
        while self._next is not None and self._next + WINDOW + self.stagger <= watermark:
            self._pop_candidates(self._next + WINDOW + self.stagger, out)
            self._close(self._next, out)
            closed, self._next = self._next, self._following(self._next, watermark)
            ended = self._next is None
            if self._next is not None and self._next > closed + WINDOW:
                # Nobody is in the stretch that is skipped; who waits for all shards must hear that it is over.
                self._count_closed(self._next - WINDOW, 0)
        self._pop_candidates(watermark, out)
        if ended or (watermark >= END_OF_TIME and self._uncounted):
            self._count_closed(END, 0)
        return out

    def _count_closed(self, start: int, hosts: int) -> None:
        self.closed.append((start, hosts, self._uncounted))
        self._uncounted = 0

    def _first_window(self) -> int | None:
        start = min(self._starts.values(), default=None)
        return None if start is None else start - start % WINDOW

    def _following(self, start: int, watermark: int) -> int | None:
        """Return the next window to close; skip a stretch in which no host is known and none has events."""
        following = start + WINDOW
        if self.roster.awake and (watermark < END_OF_TIME or self._windows):
            return following
        if watermark >= END_OF_TIME:
            return max(following, min(self._windows)) if self._windows else None
        # A partition that is ahead may have opened a later window: what others are yet to bring comes before it.
        passed = watermark - watermark % WINDOW
        return max(following, min(passed, min(self._windows, default=passed)))

    def _close(self, start: int, out: list[HostItem]) -> None:
        roster = self.roster
        opened = self._windows.pop(start, {})
        self._strangers.pop(start, None)
        gone = roster.sweep(start)
        self._uncounted += len(gone)  # incidents hear of them
        out += gone
        # Those known first, then the new ones by name as far as there is room.
        for host in sorted(opened, key=lambda host: (host not in roster, host)):
            if not roster.wake(host, start):
                self._overflow(opened, opened.pop(host))
        if roster.overflow in opened:
            roster.wake(roster.overflow, start)
        hosts = 0
        for host in sorted(roster.awake):
            window = opened.get(host)
            if window is not None:
                alerts = window.alerts or None
                partial = window.partial if window.events else None
                out.append(HostEvents(host, start, partial, window.first, window.last, window.events, None, alerts))
            elif start - roster.awake[host] <= self._silence:
                out.append(HostEvents(host, start, None))
            else:
                roster.tire(host)
                continue
            hosts += 1
        self._count_closed(start, hosts)

    def _pop_candidates(self, before: int, out: list[HostItem]) -> None:
        waiting = self._candidates
        while waiting and waiting[0][0][0] < before:
            candidate = structs.replace(heapq.heappop(waiting)[1], window=END if self._next is None else self._next)
            self._uncounted += 1
            if self.roster.hear(candidate.event.host, candidate.time):
                out.append(candidate)
            else:
                self._place_elsewhere(candidate, out)

    def _place_elsewhere(self, candidate: Candidate, out: list[HostItem]) -> None:
        """Let the overflow host decide on a candidate whose host has no place; what it says names the true host."""
        host, overflow = candidate.event.host, self.roster.overflow
        signals = tuple(
            structs.replace(signal, entity=overflow, reason=f"on {host}: {signal.reason}")
            for signal in candidate.signals
        )
        event = structs.replace(candidate.event, host=overflow)
        out.append(Candidate(event, signals, candidate.time, window=candidate.window))
        if any(signal.level >= AT_ONCE for signal in signals):
            out += self.roster.stray(host, candidate.time)

    def _placed_late(self, late: HostLate) -> HostLate:
        if self.roster.hear(late.host, late.last if self._next is None else self._next):
            return late
        self.overflowed += late.events
        return structs.replace(late, host=self.roster.overflow)

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        windows = [(start, host, w) for start, hosts in self._windows.items() for host, w in hosts.items()]
        waiting = [candidate for _, candidate in self._candidates]
        awake, asleep, strays = self.roster.awake, self.roster.asleep, self.roster.strays
        return msgspec.msgpack.encode(
            _Saved(
                self.VERSION,
                self._watermarks,
                self._starts,
                windows,
                waiting,
                awake,
                asleep,
                strays,
                self._next,
                self._uncounted,
            )
        )

    def restore(self, state: bytes) -> None:
        """Go on from a snapshot; partitions that are gone are forgotten.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != self.VERSION:
            raise ValueError(f"align: snapshot version {saved.version} cannot be read")
        for name in self._watermarks:
            self._watermarks[name] = saved.watermarks.get(name, UNKNOWN)
        self._starts = saved.starts
        for start, host, window in saved.windows:
            self._windows.setdefault(start, {})[host] = window
        self._candidates = [(candidate.order, candidate) for candidate in saved.candidates]
        heapq.heapify(self._candidates)
        self.roster.awake, self.roster.asleep, self.roster.strays = saved.hosts, saved.asleep, saved.strays
        for start, hosts in self._windows.items():
            self._strangers[start] = sum(host not in self.roster for host in hosts)
        self._next = saved.next_window
        self._uncounted = saved.uncounted


class AlignLogic(StatefulBatchLogic[ShardItem | Change, Released, bytes]):
    """Wrap an Aligner for ``op.stateful_batch``. Emits what hosts take, in canonical order, and what was closed.

    Nothing is closed at EOF: a source that has ended says so by its watermark.

    Args:
        partitions: names of all partitions.
        settings: how event time is kept.
        limits: how many hosts are known.
        timeline: changes of live settings known when the flow starts; those told later come in between.
        state: a snapshot to go on from; the timeline is no part of it, for it is read whole at each start.
    """

    def __init__(
        self,
        partitions: Iterable[str],
        settings: TimeSettings,
        limits: LimitSettings,
        timeline: Timeline,
        state: bytes | None,
    ) -> None:
        roster = Roster(-(-limits.hosts // SHARDS), limits.forget_days)
        self._aligner = Aligner(partitions, settings.silent_windows, roster=roster, timeline=timeline)
        self._shard = -1
        self._spread = settings.stagger_seconds * 1_000_000
        if state is not None:
            self._aligner.restore(state)

    def on_batch(self, values: list[ShardItem | Change]) -> tuple[Iterable[Released], bool]:
        """Take in a run of items, then release once."""
        aligner = self._aligner
        for item in values:
            if not isinstance(item, Change) and self._shard < 0:
                self._shard = item.shard
                aligner.stagger = self._shard * self._spread // SHARDS
                aligner.roster.overflow = overflow_host(self._shard)
            if isinstance(item, Change):
                self._change(item)
            else:
                aligner.add(item)
        released: list[Released] = [*aligner.release()]
        released += (WindowClosed(self._shard, *closed) for closed in aligner.closed)
        aligner.closed.clear()
        if self._shard >= 0:
            metrics.OPEN_WINDOWS.labels(shard=self._shard).set(aligner.open_windows)
            metrics.WAITING_CANDIDATES.labels(shard=self._shard).set(aligner.waiting)
        if aligner.overflowed:
            metrics.OVERFLOW.labels(what="hosts").inc(aligner.overflowed)
            aligner.overflowed = 0
        return released, StatefulBatchLogic.RETAIN

    def _change(self, change: Change) -> None:
        # Every shard is told; one says so.
        if not self._aligner.change(change) and self._shard == 0:
            setting = change.setting
            log.warning(
                "control: %s was to hold from %s, and windows after that have closed without it; it holds from now on",
                setting.name,
                iso(setting.from_time),
            )

    def snapshot(self) -> Any:
        """Return the aligner's state."""
        return self._aligner.snapshot()
