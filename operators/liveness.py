"""What a worker can say of itself: when its sources were last asked, whether they get on, and what a sink waits for.

Source and sinks write it; the health endpoint and the supervisor read it. One a process. Times are ``time.monotonic``
seconds, of the process; nothing here decides anything about events.
"""

from __future__ import annotations

import time

import msgspec

#: Seconds that a write may go without an answer before its sink counts as waiting. A server that is frozen, or behind a
#: network that drops what it should carry, gives no error for long: nothing else tells it from a worker that hangs.
PATIENCE = 2.0


class PartitionLiveness(msgspec.Struct):
    """One partition of the source."""

    #: When it was last asked for messages.
    polled: float
    #: When it last read something, or had nothing to read, or could not because the broker was away or others behind.
    moved: float
    #: Its watermark, µs; 0 as long as there is none.
    watermark: int = 0
    #: Messages read by this process.
    read: int = 0
    #: Snapshots taken of it.
    snapshots: int = 0
    #: Whether it does not read on because others are far behind it.
    paused: bool = False


class Liveness(msgspec.Struct):
    """All partitions of this process, and what it waits for."""

    partitions: dict[str, PartitionLiveness] = {}
    #: Sinks that wait for their server to come back, to when they last tried.
    waiting: dict[str, float] = {}
    #: Sinks whose write is not done, to when it began.
    writing: dict[str, float] = {}
    #: When a sink that had been waiting last went on. Until then its flow was held back, and no source could get on.
    resumed: float = float("-inf")
    #: When the supervisor last said that the sink of some worker waits, which holds back all.
    held: float = float("-inf")
    #: Whether the flow was built: sources and sinks are open.
    begun: bool = False
    #: Versions of the rules that judge some partition of this process; those that cannot be loaded, and why.
    rules: list[str] = []
    rules_failed: dict[str, str] = {}
    #: The same of the text model.
    models: list[str] = []
    models_failed: dict[str, str] = {}
    #: The same of calibrations; none: uncalibrated.
    calibrations: list[str] = []
    calibrations_failed: dict[str, str] = {}

    def partition(self, name: str) -> PartitionLiveness:
        """Return the record of a partition, which begins now."""
        now = time.monotonic()
        return self.partitions.setdefault(name, PartitionLiveness(now, now))

    def wait(self, sink: str) -> None:
        """Say that a sink tries again: standing still is then no fault of the worker's."""
        self.waiting[sink] = time.monotonic()

    def resume(self, sink: str) -> None:
        """Say that a sink has written."""
        if sink in self.waiting:
            self.resumed = time.monotonic()
            del self.waiting[sink]

    def write(self, sink: str) -> None:
        """Say that a sink begins a write, which may take long to be answered."""
        self.writing[sink] = time.monotonic()

    def written(self, sink: str) -> None:
        """Say that the write is done, or was given up."""
        now = time.monotonic()
        if now - self.writing.get(sink, now) > PATIENCE:
            self.resumed = now  # first, so that no beat in between finds neither
        self.writing.pop(sink, None)

    def waited(self, sink: str, now: float) -> float:
        """Return for how long a sink has been waiting for its write to be answered, seconds; 0 within its patience."""
        since = now - self.writing.get(sink, now)
        return since if since > PATIENCE else 0.0

    def beat(self, now: float) -> Beat:
        """Return how this worker is at ``now``."""
        parts = list(self.partitions.values())
        known = [part.watermark for part in parts if part.watermark]
        resumed = max(self.resumed, self.held)
        unanswered = [sink for sink in self.writing.copy() if self.waited(sink, now)]
        return Beat(
            poll_age=max((now - max(part.polled, resumed) for part in parts), default=None),
            move_age=max((now - max(part.moved, resumed) for part in parts), default=None),
            watermark_delay=time.time() - min(known) / 1e6 if known else None,
            begun=self.begun,
            partitions=len(parts),
            read=sum(part.read for part in parts),
            snapshots=min((part.snapshots for part in parts), default=0),
            paused=sum(part.paused for part in parts),
            waiting=sorted({*self.waiting.copy(), *unanswered}),
            rules=self.rules,
            rules_failed=sorted(self.rules_failed.copy()),
            models=self.models,
            models_failed=sorted(self.models_failed.copy()),
            calibrations=self.calibrations,
            calibrations_failed=sorted(self.calibrations_failed.copy()),
        )


class Beat(msgspec.Struct):
    """How a worker is. Ages and delays in seconds; None where nothing is known, as of a worker without partitions."""

    #: Since the partition that was asked longest ago was asked; time in which a sink held all back does not count.
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
    #: Partitions that do not read on because others are far behind them.
    paused: int = 0
    #: Sinks that wait for their server: it is away, or does not answer.
    waiting: list[str] = []
    #: Versions of the rules in force, and those that cannot be loaded.
    rules: list[str] = []
    rules_failed: list[str] = []
    models: list[str] = []
    models_failed: list[str] = []
    calibrations: list[str] = []
    calibrations_failed: list[str] = []

    def standstill(self) -> float:
        """Return for how long this worker stands still, seconds."""
        return max(self.poll_age or 0.0, self.move_age or 0.0)


#: This process's own.
liveness = Liveness()
