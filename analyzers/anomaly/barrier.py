"""Wait until a window of the whole fleet is closed, so that the fleet is judged as a whole."""

from __future__ import annotations

import msgspec

from analyzers.anomaly.budget_anomaly import Unusual
from analyzers.anomaly.settings import Tuning


class Report(msgspec.Struct, frozen=True, gc=False):
    """What a closed window of a host was like. A host step makes one of each window that it was told to close."""

    host: str
    #: Start of the window, µs.
    start: int
    #: What was unusual in it, if anything was.
    unusual: Unusual | None = None
    #: Settings that hold in it, where they are not the configured ones.
    tuning: Tuning | None = None


class WindowClosed(msgspec.Struct, frozen=True, gc=False):
    """A shard has closed a window: so many hosts of it will report.

    A shard may skip windows for which it has no host; it says so by closing a later one.
    """

    shard: int
    #: Start of the window, µs; ``END`` once a replay has closed the last.
    start: int
    hosts: int
    #: Events that waited for their turn and were let go since the window before: so many will be heard of besides.
    candidates: int = 0


#: Start of no window: later than all.
END = 2**62


class Complete(msgspec.Struct, frozen=True):
    """A window that all shards have closed and all hosts have reported."""

    #: µs.
    start: int
    #: Hosts that reported.
    hosts: int
    #: Reports in which something was unusual, by host.
    reports: list[Report]


class _Saved(msgspec.Struct):
    version: int
    shards: dict[int, int]
    expected: dict[int, int]
    came: dict[int, int]
    waiting: list[Report]


class Barrier:
    """Hold reports until every shard has closed their window and every host of it has reported.

    Shards close a window at different moments, and hosts report it on different workers, in any order; what is released
    does not depend on that. Closings of one shard must come in order of time.

    Args:
        shards: how many there are; nothing is released before each has closed a window.

    >>> barrier = Barrier(2)
    >>> barrier.close(WindowClosed(0, 60_000_000, 1)), barrier.close(WindowClosed(1, 120_000_000, 0))
    (None, None)
    >>> barrier.release()
    []
    >>> barrier.report(Report("web-1", 60_000_000))
    >>> [(window.start, window.hosts) for window in barrier.release()]
    [(60000000, 1)]
    """

    VERSION = 2

    def __init__(self, shards: int) -> None:
        self._count = shards
        #: The last window that each shard has closed.
        self._shards: dict[int, int] = {}
        #: Of each window that is not released: hosts that will report, and that have.
        self._expected: dict[int, int] = {}
        self._came: dict[int, int] = {}
        self._waiting: list[Report] = []

    def close(self, closed: WindowClosed) -> None:
        """Take in that a shard has closed a window."""
        self._shards[closed.shard] = closed.start
        if closed.start < END:
            self._expected[closed.start] = self._expected.get(closed.start, 0) + closed.hosts

    def report(self, report: Report) -> None:
        """Take in what a host says of a window."""
        self._came[report.start] = self._came.get(report.start, 0) + 1
        if report.unusual is not None:
            self._waiting.append(report)

    @property
    def ended(self) -> bool:
        """Return whether every shard has closed its last window, and all are released."""
        ended = len(self._shards) == self._count and min(self._shards.values()) == END
        return ended and not self._expected

    def release(self) -> list[Complete]:
        """Return the windows that are complete, oldest first."""
        if len(self._shards) < self._count or not self._expected:
            return []
        closed = min(self._shards.values())
        found: list[Complete] = []
        for start in sorted(self._expected):
            if start > closed or self._came.get(start, 0) < self._expected[start]:
                break
            hosts = self._expected.pop(start)
            self._came.pop(start, None)
            found.append(Complete(start, hosts, []))
        if not found or not self._waiting:
            return found
        windows = {window.start: window.reports for window in found}
        left: list[Report] = []
        for report in self._waiting:
            windows.get(report.start, left).append(report)
        self._waiting = left
        for window in found:
            window.reports.sort(key=lambda report: report.host)
        return found

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        return msgspec.msgpack.encode(_Saved(self.VERSION, self._shards, self._expected, self._came, self._waiting))

    @classmethod
    def restore(cls, shards: int, state: bytes) -> Barrier:
        """Return one that goes on from a snapshot.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != cls.VERSION:
            raise ValueError(f"barrier: snapshot version {saved.version} cannot be read")
        barrier = cls(shards)
        barrier._shards, barrier._expected = saved.shards, saved.expected
        barrier._came, barrier._waiting = saved.came, saved.waiting
        return barrier
