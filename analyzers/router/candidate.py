"""What the router is asked about: an event that needs a decision, and what is known of its host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from state.alerts import Level, Signal
from state.events import Event

#: Longest part of a text that a reading carries, characters.
MAX_SHOWN = 2_048


class Band(NamedTuple):
    """A text below ``low`` is benign, one from ``high`` on malicious; between them it is not settled."""

    low: float
    high: float


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What the text judge says of the most suspicious text of an event."""

    #: Most probable label of the model, and its calibrated probability, 0 to 1.
    label: str
    malicious: float
    #: Probability from which that label alerts.
    alerts_from: float
    #: Source of the text (``http``, ``shell`` …), and the field that it stands in.
    source: str
    field: str
    #: The text itself, cut to ``MAX_SHOWN`` characters, its full length, and how many layers of encoding were undone.
    text: str
    length: int = 0
    layers: int = 0
    #: Version of the model.
    model: str = ""
    #: By what it is settled, and the version of the calibration that says so (empty: uncalibrated). Told where the text
    #: is read, so that each worker decides by what was in force at the event's offset; None: the router's own.
    band: Band | None = None
    calibration: str = ""


class Context(msgspec.Struct, frozen=True, gc=False):
    """What the host's step knows when the event's turn comes. All of it follows from event time only."""

    #: Times that each rule of the candidate matched on this host before, decayed (half-life of a day), by rule id.
    noise: Mapping[str, float] = {}
    #: Times that this very text was a candidate on this host before, decayed; 0: new here.
    seen: float = 0.0
    #: Highest probability of anomaly of the host's last closed window, 0 to 1.
    anomaly: float = 0.0
    #: Decayed sum of the weights of the host's signals, 0 upwards.
    risk: float = 0.0
    #: How much the host matters to its owner, 1: as any other.
    criticality: float = 1.0


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """An event that needs a decision, with what the rules said of it."""

    event: Event
    #: One signal a rule that matched; without the raw bytes, which the event has.
    signals: tuple[Signal, ...]
    #: Its place in the order of time, µs: its own time, or its partition's watermark if it came late.
    time: int
    #: Least level that alerts at that time, where it is not the configured one.
    lowest: Level | None = None
    #: Start of the window with which its shard counts it, µs; told when it is released.
    window: int = 0
    #: What the text judge says of its text; None: it read none.
    reading: Reading | None = None
    #: What was shed when it was read, because the flow was behind: 0 nothing, 1 the LLM and most texts, 2 all of them.
    shed: int = 0

    @property
    def order(self) -> tuple[int, str, int]:
        """Return the canonical order: time, then origin and offset of the event."""
        return (self.time, self.event.origin, self.event.offset)
