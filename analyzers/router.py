"""Decide which lane judges an event: ``rule``, ``bert`` or ``llm``. Pure.

The one place that decides. There are rules and the text judge so far; nothing is sent to ``llm`` yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from state.alerts import Level, Signal
from state.events import Event

Lane = Literal["rule", "bert", "llm"]


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """An event that needs a decision, with what the rules said of it."""

    event: Event
    #: One signal a rule that matched; without the raw bytes, which the event has.
    signals: tuple[Signal, ...]
    #: Its place in the order of time, µs: its own time, or its partition's watermark if it came late.
    time: int
    #: Least level that alerts at that time, where it is not the configured one.
    lowest: Level | None = None
    #: Whether the text judge read its text.
    judged: bool = False
    #: Start of the window with which its shard counts it, µs; told when it is released.
    window: int = 0

    @property
    def order(self) -> tuple[int, str, int]:
        """Return the canonical order: time, then origin and offset of the event."""
        return (self.time, self.event.origin, self.event.offset)


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The final lane of an event, and why."""

    lane: Lane
    reason: str


class Router:
    """Choose the lane of each event."""

    def reads(self, event: Event, signals: Sequence[Signal] = ()) -> bool:
        """Say whether the text judge is to read an event's text; ``signals`` are what the rules said of it."""
        return bool(event.text) and not any(signal.level >= Level.high for signal in signals)

    def decide(self, candidate: Candidate) -> Decision:
        """Return the lane of a candidate."""
        worst = max((signal.level for signal in candidate.signals if signal.kind == "rule"), default=None)
        if candidate.judged:
            return Decision("bert", "its text was judged")
        if worst is None:
            return Decision("rule", "no rule matched, and it has no text to judge")
        if worst >= Level.high:
            return Decision("rule", f"a rule of level {worst.name} matched and was alerted at once")
        return Decision("rule", f"decided by rules, the highest of level {worst.name}")
