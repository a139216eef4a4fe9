"""What flows between the steps: a batch as the source read it, and what each later step makes of it."""

from __future__ import annotations

import msgspec

from analyzers.correlations.hits import Hits
from analyzers.incidents.sightings import Alerts, merge_alerts
from analyzers.ledger import LedgerDelta
from analyzers.metrics import Partial
from analyzers.router.candidate import Candidate, Reading
from state.alerts import Signal
from state.events import Event, Rejected

#: A watermark that no event reaches: the partition has ended and nothing more comes.
END_OF_TIME = 2**62
#: A watermark below every event: nothing is known of the partition yet.
UNKNOWN = -(2**62)


class Batch(msgspec.Struct, gc=False):
    """Messages of one partition, decoded, with their place in time. All of one ledger span."""

    #: ``topic-partition``.
    origin: str
    #: Offset // 10,000 of all its messages.
    bucket: int
    #: The partition's watermark after this batch, µs.
    watermark: int
    #: The first watermark that the partition ever had, µs.
    start: int
    events: list[Event] = []
    rejected: list[Rejected] = []
    consumed: int = 0
    skipped: int = 0
    #: Offsets that do not exist.
    absent: int = 0
    #: Offsets that were gone before they were read, and what to say of it.
    lost: int = 0
    loss: Signal | None = None
    #: Bytes read.
    size: int = 0
    #: Index of each late event, to the watermark it met.
    late: dict[int, int] = {}
    #: Index of each event too far ahead of the clock, to the watermark it met.
    future: dict[int, int] = {}
    #: Wall clock when it was read, seconds; for latency figures only, never for a decision.
    read_at: float = 0.0
    #: How long reading what waits after it takes at the rate of late, seconds; 0 if nothing waits, and of files.
    behind: float = 0.0
    #: Whether more and more waits. A backlog that is being read off, as after a start, is no overload.
    growing: bool = False
    #: Version of the rules that judges it, and its first offset, from which that is told; empty and -1: there is one.
    rules: str = ""
    first: int = -1
    #: Version of the text model that judges it; empty: there is one, or none.
    model: str = ""
    #: Version of the calibration by which its texts are settled; empty: there is one, or none.
    calibration: str = ""

    def place(self, index: int) -> int:
        """Return an event's place in the order of time, µs."""
        # Late: it comes after what the watermark has passed. Too far ahead: its own time may never come.
        return self.late.get(index, self.future.get(index, self.events[index].time))


class Judged(msgspec.Struct, gc=False):
    """A batch with what rules and text judge said: signals by index of the event."""

    batch: Batch
    signals: dict[int, list[Signal]]
    #: Version of the rule set that judged.
    rules: str
    #: Indices of the events whose text was judged, and by which model; empty if none was.
    texts: frozenset[int] = frozenset()
    model: str = ""
    #: What the text judge says of those that something else says something of too, or that it does not settle itself.
    readings: dict[int, Reading] = {}
    #: What was shed of judging the texts, because the flow was behind: 0 nothing, 1 most of them, 2 all.
    shed: int = 0
    #: Version of the calibration by which texts are settled; empty if none was judged.
    calibration: str = ""
    #: What there is for correlations.
    hits: Hits | None = None
    #: What rules and text judge took for it, seconds; for figures only, never for a decision.
    rule_seconds: float = 0.0
    text_seconds: float = 0.0


class OpenWindow(msgspec.Struct):
    """One host's counts in one window, so far. Times in µs."""

    partial: Partial
    events: int
    first: int
    last: int
    #: Alerts of other systems, by rule; those that came late are not among the events.
    alerts: Alerts = {}

    def merge(self, other: OpenWindow) -> None:
        """Add another's counts to these."""
        if other.alerts:
            merge_alerts(self.alerts, other.alerts)
        if not other.events:
            return
        self.partial.merge(other.partial)
        self.first = min(self.first, other.first) if self.events else other.first
        self.last = max(self.last, other.last) if self.events else other.last
        self.events += other.events


class HostLate(msgspec.Struct, frozen=True, gc=False):
    """Events of a host that were left out of its windows, being late or too far ahead."""

    host: str
    events: int
    #: Time of the first and last of the late ones, µs; 0 if none was late.
    first: int
    last: int


class ShardItem(msgspec.Struct, gc=False):
    """What one batch has for one shard: counts, candidates, and how far its partition has come."""

    shard: int
    origin: str
    watermark: int
    start: int
    windows: dict[tuple[str, int], OpenWindow] = {}
    candidates: list[Candidate] = []
    late: dict[str, HostLate] = {}


class Collected(msgspec.Struct, gc=False):
    """What became of a batch: one item a shard, what is alerted at once, the ledger's share. Stays in its process."""

    batch: Batch
    shards: list[ShardItem]
    at_once: list[Signal]
    ledger: LedgerDelta | None
    #: Events whose text was read, and what rules and text judge took for the batch, seconds.
    texts: int = 0
    rule_seconds: float = 0.0
    text_seconds: float = 0.0
