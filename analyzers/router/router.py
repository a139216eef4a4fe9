"""Decide which lane judges an event: ``rule``, ``bert`` or ``llm``. The one place that decides. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from analyzers.router.candidate import Candidate, Context
from state.alerts import Level, Signal
from state.events import Event

Lane = Literal["rule", "bert", "llm"]
_NOTHING = Context()


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The final lane of an event, and why."""

    lane: Lane
    #: One line that a person can read.
    reason: str
    #: How much is lost if this is decided wrongly, 0 to 1: who waits longest for an LLM when there are too many.
    stakes: float = 0.0
    #: Whether an LLM would have been asked, if one were configured and the flow kept up.
    wanted: bool = False
    #: Whether an LLM is asked although the event is decided, so that the lanes can be compared.
    audit: bool = False


class Router:
    """Choose the lane of each event."""

    def reads(self, event: Event, signals: Sequence[Signal] = ()) -> bool:
        """Say whether the text judge is to read an event's text; ``signals`` are what the rules said of it."""
        return bool(event.text) and not any(signal.level >= Level.high for signal in signals)

    def settled(self, malicious: float, alerts_from: float) -> bool:
        """Say whether a text is decided benign whatever its host is like; then it does not cross the exchange.

        Args:
            malicious: probability of its most probable label.
            alerts_from: probability from which that label alerts.
        """
        return malicious < alerts_from

    def decide(self, candidate: Candidate, context: Context = _NOTHING) -> Decision:
        """Return the lane of a candidate."""
        worst = max((signal.level for signal in candidate.signals if signal.kind == "rule"), default=None)
        if candidate.reading is not None:
            return Decision("bert", "its text was judged")
        if worst is None:
            return Decision("rule", "no rule matched, and it has no text to judge")
        if worst >= Level.high:
            return Decision("rule", f"a rule of level {worst.name} matched and was alerted at once")
        return Decision("rule", f"decided by rules, the highest of level {worst.name}")
