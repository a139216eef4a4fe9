"""How long judging takes, lane by lane: what a lane costs at run time, and how long its events wait for it. Pure."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

#: Who judged: the rules alone, or the text model too.
Judges = Literal["rule", "bert"]
#: Buckets a decade of seconds, so a percentile is told to within 6 %; the first holds what is below a microsecond.
_A_DECADE, _LEAST = 40, 1e-6


class JudgeTimes(msgspec.Struct):
    """Of the events that one judge read: how many, the work, and how long their batches took, in buckets."""

    events: int = 0
    #: Seconds of work that reading them took, all of them together.
    seconds: float = 0.0
    #: Events by how long their batch was judged: bucket to number.
    waits: dict[int, int] = {}

    def percentile(self, share: float) -> float:
        """Return within how many seconds so large a share of the events was judged; 0: there is none."""
        left = share * self.events
        for bucket in sorted(self.waits):
            left -= self.waits[bucket]
            if left <= 0:
                return _LEAST * math.pow(10.0, (bucket + 0.5) / _A_DECADE)
        return 0.0


class LaneTimes(msgspec.Struct):
    """What judging took in one worker.

    An event is judged together with its batch, so it waits for all of it; what it costs is its share of the work.

    >>> times = LaneTimes()
    >>> times.add("rule", events=100, work=0.002, wait=0.002)
    >>> times.add("bert", events=10, work=0.05, wait=0.052)
    >>> times.cost("rule"), round(times.cost("bert"), 6), f"{times.of['bert'].percentile(0.5):.2f}"
    (2e-05, 0.00502, '0.05')
    """

    of: dict[Judges, JudgeTimes] = {}

    def add(self, judge: Judges, events: int, work: float, wait: float) -> None:
        """Count a batch.

        Args:
            judge: who read them.
            events: how many of the batch.
            work: what reading took, seconds.
            wait: from when the first judge began with the batch until this one was done, seconds.
        """
        if not events:
            return
        known = self.of.setdefault(judge, JudgeTimes(waits={}))
        known.events += events
        known.seconds += work
        bucket = max(0, math.floor(math.log10(max(wait, _LEAST) / _LEAST) * _A_DECADE))
        known.waits[bucket] = known.waits.get(bucket, 0) + events

    def merge(self, other: LaneTimes) -> None:
        """Add another worker's."""
        for judge, theirs in other.of.items():
            known = self.of.setdefault(judge, JudgeTimes(waits={}))
            known.events += theirs.events
            known.seconds += theirs.seconds
            for bucket, events in theirs.waits.items():
                known.waits[bucket] = known.waits.get(bucket, 0) + events

    def cost(self, judge: Judges) -> float:
        """Return what an event costs that this judge decides, seconds: the rules read all of them first."""
        total = 0.0
        judges: tuple[Judges, ...] = ("rule",) if judge == "rule" else ("rule", "bert")
        for name in judges:
            known = self.of.get(name)
            total += known.seconds / known.events if known is not None else 0.0
        return total
