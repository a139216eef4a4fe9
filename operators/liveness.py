"""What a worker can say of itself: when its sources were last asked, whether they get on, and what a sink waits for.

Source and sinks write it; the health endpoint and the supervisor read it. One a process. Times are ``time.monotonic``
seconds, of the process; nothing here decides anything about events.
"""

from __future__ import annotations

import time

import msgspec


class PartitionLiveness(msgspec.Struct):
    """One partition of the source."""

    #: When it was last asked for messages.
    polled: float
    #: When it last read something, or had nothing to read, or could not because the broker was away.
    moved: float
    #: Its watermark, µs; 0 as long as there is none.
    watermark: int = 0
    #: Messages read by this process.
    read: int = 0
    #: Snapshots taken of it.
    snapshots: int = 0


class Liveness(msgspec.Struct):
    """All partitions of this process, and what it waits for."""

    partitions: dict[str, PartitionLiveness] = {}
    #: Sinks that wait for their server to come back, to when they last tried.
    waiting: dict[str, float] = {}
    #: Whether the flow was built: sources and sinks are open.
    begun: bool = False
    #: Versions of the rules that judge some partition of this process; those that cannot be loaded, and why.
    rules: list[str] = []
    rules_failed: dict[str, str] = {}

    def partition(self, name: str) -> PartitionLiveness:
        """Return the record of a partition, which begins now."""
        now = time.monotonic()
        return self.partitions.setdefault(name, PartitionLiveness(now, now))

    def wait(self, sink: str) -> None:
        """Say that a sink tries again: standing still is then no fault of the worker's."""
        self.waiting[sink] = time.monotonic()

    def resume(self, sink: str) -> None:
        """Say that a sink has written."""
        if self.waiting:
            self.waiting.pop(sink, None)

    def beat(self, now: float) -> Beat:
        """Return how this worker is at ``now``."""
        parts = list(self.partitions.values())
        known = [part.watermark for part in parts if part.watermark]
        return Beat(
            poll_age=max((now - part.polled for part in parts), default=None),
            move_age=max((now - part.moved for part in parts), default=None),
            watermark_delay=time.time() - min(known) / 1e6 if known else None,
            begun=self.begun,
            partitions=len(parts),
            read=sum(part.read for part in parts),
            snapshots=min((part.snapshots for part in parts), default=0),
            waiting=sorted(self.waiting.copy()),
            rules=self.rules,
            rules_failed=sorted(self.rules_failed.copy()),
        )


class Beat(msgspec.Struct):
    """How a worker is. Ages and delays in seconds; None where nothing is known, as of a worker without partitions."""

    #: Since the partition that was asked longest ago was asked.
    poll_age: float | None = None
    #: Since the partition that stands still the longest last got on, or had nothing to read.
    move_age: float | None = None
    watermark_delay: float | None = None
    #: Whether its sources and sinks are open.
    begun: bool = False
    partitions: int = 0
    #: Messages read by this process.
    read: int = 0
    #: Snapshots that every partition of this process has taken.
    snapshots: int = 0
    #: Sinks that wait for their server.
    waiting: list[str] = []
    #: Versions of the rules in force, and those that cannot be loaded.
    rules: list[str] = []
    rules_failed: list[str] = []

    def standstill(self) -> float:
        """Return for how long this worker stands still, seconds."""
        return max(self.poll_age or 0.0, self.move_age or 0.0)


#: This process's own.
liveness = Liveness()
