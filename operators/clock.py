"""The event clock of one partition: its watermark, and which events are late or too far ahead. Pure.

What is late depends only on the partition's own messages in order, never on where batches are cut, so that a restart
judges the same. What is too far ahead depends in replay on the messages too; live on the clock at which the batch was
read: the broker's, where it stamps messages itself, else the worker's.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from operators.batch import UNKNOWN
from state.events import Event

#: Events that the running median looks ahead in replay.
LOOKAHEAD = 31


class TimeSettings(BaseModel):
    """How event time is kept."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    lateness_seconds: float = Field(
        default=5.0,
        ge=0,
        description="How long an event may come after younger ones of its partition.",
    )
    future_seconds: float = Field(default=600.0, gt=0, description="How far ahead of the clock an event may be.")
    idle_seconds: float = Field(
        default=2.0,
        gt=0,
        description="A live partition read to its end follows the wall clock after this long without a younger event.",
    )
    ahead_seconds: float = Field(
        default=300.0,
        ge=1,
        description="How far a live partition may be ahead of the one furthest behind before it waits, besides "
        "future_seconds.",
    )
    flow_seconds: float = Field(
        default=3600.0,
        ge=0,
        description="A network connection is stamped with its start and reported at its end: one that comes no later "
        "than this counts into the window in which it is reported.",
    )
    silent_windows: int = Field(
        default=60, ge=0, description="Empty windows that a host which fell silent gets before it is forgotten."
    )
    stagger_seconds: int = Field(
        default=10, ge=0, le=30, description="Over how long the shards spread the closing of a window."
    )


class Placed(msgspec.Struct, gc=False):
    """The place in time of a run of events: which were late, and which too far ahead, to the watermark they met."""

    late: dict[int, int]
    future: dict[int, int]


class EventClock:
    """Watermark of one partition.

    >>> clock = EventClock(lateness=5_000_000, future=600_000_000)
    >>> clock.watermark == UNKNOWN
    True
    """

    def __init__(self, lateness: int, future: int, watermark: int = UNKNOWN) -> None:
        self.lateness = lateness
        self.future = future
        #: No event before this is in time, µs.
        self.watermark = watermark
        #: The first watermark there was, µs: windows begin here, not at whatever the first batch ends with.
        self.start = watermark

    def place(self, events: Sequence[Event], now: int) -> Placed:
        """Place events in time against the clock ``now`` (µs), and advance the watermark."""
        horizon = now + self.future
        lateness = self.lateness
        watermark = self.watermark
        late: dict[int, int] = {}
        future: dict[int, int] = {}
        for index, event in enumerate(events):
            time = event.time
            if time < watermark:
                late[index] = watermark
            elif time - lateness > watermark:
                if time > horizon:
                    future[index] = watermark
                else:
                    watermark = time - lateness
                    if self.start == UNKNOWN:
                        self.start = watermark
        self.watermark = watermark
        return Placed(late, future)

    def place_recorded(self, events: Sequence[Event], following: Sequence[Event]) -> Placed:
        """Place recorded events, for which no clock is known but the events themselves.

        An event is too far ahead if it is so both of everything before it and of the median of itself and the next
        30 events; ``following`` are the events that come after ``events``, at least 30 unless the file ends there.
        """
        times = [event.time for event in events]
        times += [event.time for event in following[: LOOKAHEAD - 1]]
        lateness = self.lateness
        watermark = self.watermark
        late: dict[int, int] = {}
        future: dict[int, int] = {}
        for index in range(len(events)):
            time = times[index]
            if time < watermark:
                late[index] = watermark
            elif time - lateness > watermark:
                if time - lateness > watermark + self.future:
                    ahead = sorted(times[index : index + LOOKAHEAD])
                    if time > ahead[len(ahead) // 2] + self.future:
                        future[index] = watermark
                        continue
                watermark = time - lateness
                if self.start == UNKNOWN:
                    self.start = watermark
        self.watermark = watermark
        return Placed(late, future)

    def follow(self, now: int) -> None:
        """Advance with the wall clock (µs): the partition was read to its end and is idle."""
        self.watermark = max(self.watermark, now - self.lateness)
        if self.start == UNKNOWN:
            self.start = self.watermark
