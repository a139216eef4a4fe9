"""What a host has been asked about before: its rules, its texts, its last signals and its risk. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from analyzers.incidents.weights import LEVELS
from analyzers.router.candidate import Candidate, Context
from state.alerts import Signal
from state.escalations import MAX_RECENT, Raised

#: Everything here counts half after a day, µs.
HALF_LIFE = 86_400_000_000
#: Rules and texts, told apart, at most; the one not met for longest goes.
MAX_KNOWN = 64
#: Last signals that are kept, and the longest reason of each, characters.
RECENT, MAX_REASON = 8, 160
#: Events whose verdict is awaited, at most, and the longest copy of each, bytes: the evidence of what it says.
MAX_AWAITED, MAX_COPY = 16, 4_096
#: Verdicts that were taken in, by id: a repeat says nothing new.
MAX_ANSWERED = 64


class HostMemory:
    """One host's candidates and signals so far, in order of event time; bounded, empty until there is one.

    >>> from state.alerts import Level
    >>> hit = Signal("rule", "r1", "Web shell", Level.medium, "web-1", 5, "why")
    >>> memory = HostMemory()
    >>> memory.learn(["rule:r1"], [hit], 5)
    >>> memory.known("rule:r1", 5), memory.known("rule:r1", 5 + HALF_LIFE), memory.risk(5)
    (1.0, 0.5, 3.0)
    """

    def __init__(self, state: tuple[Any, ...] | None = None) -> None:
        #: Count and time of the last, by rule or text, that of the longest ago first.
        self._known: dict[str, tuple[float, int]] = {}
        self._risk: tuple[float, int] = (0.0, 0)
        self._recent: list[tuple[str, str, str, int, int, str, str]] = []
        self._answered: dict[str, None] = {}
        self._awaited: dict[str, tuple[bytes, str]] = {}
        #: Signals of verdicts that came since the last window closed.
        self._late: list[Signal] = []
        if state is not None:
            known, risk, recent, answered, awaited, late = state
            self._known = {key: (count, time) for key, count, time in known}
            self._risk = (risk[0], risk[1])
            self._recent = [tuple(signal) for signal in recent]
            self._answered = dict.fromkeys(answered)
            self._awaited = {key: (copy, said) for key, copy, said in awaited}
            self._late = msgspec.convert(late, list[Signal])

    def known(self, key: str, time: int) -> float:
        """Return how often a rule or text was met before ``time`` (µs), decayed."""
        return _decayed(self._known.get(key, (0.0, 0)), time)

    def risk(self, time: int) -> float:
        """Return the decayed sum of the weights of the host's signals at ``time`` (µs)."""
        return _decayed(self._risk, time)

    def context(self, candidate: Candidate, anomaly: float) -> Context:
        """Return what is known when a candidate's turn comes; ``anomaly`` is that of the last window."""
        time = candidate.time
        rules = {signal.rule: self.known(f"rule:{signal.rule}", time) for signal in candidate.signals}
        text = text_key(candidate)
        seen = self.known(text, time) if text else 0.0
        return Context(rules, seen, anomaly, self.risk(time))

    def meet(self, candidate: Candidate) -> None:
        """Remember a candidate, after it was decided."""
        text = text_key(candidate)
        keys = [f"rule:{signal.rule}" for signal in candidate.signals if signal.kind == "rule"]
        self.learn([*keys, text] if text else keys, candidate.signals, candidate.time)

    def learn(self, keys: Iterable[str], signals: Iterable[Signal], time: int) -> None:
        """Remember rules and texts met, and signals raised, at ``time`` (µs)."""
        for key in keys:
            self._known[key] = (_decayed(self._known.pop(key, (0.0, 0)), time) + 1.0, time)
        while len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        for signal in signals:
            self._risk = (_decayed(self._risk, time) + LEVELS[signal.level], max(time, self._risk[1]))
            shown = (signal.kind, signal.rule, signal.name[:MAX_REASON], int(signal.level), signal.time)
            self._recent.append((*shown, signal.reason[:MAX_REASON], signal.event_id))
        del self._recent[: -min(RECENT, MAX_RECENT)]

    def recent(self) -> tuple[Raised, ...]:
        """Return the last signals, the oldest first."""
        levels = ("informational", "low", "medium", "high", "critical")
        return tuple(
            Raised(kind=kind, rule=rule, name=name, level=levels[level], time=time, reason=reason, event_id=event_id)  # type: ignore[arg-type]
            for kind, rule, name, level, time, reason, event_id in self._recent
        )

    def ask(self, escalation: str, raw: bytes, said: str = "") -> None:
        """Keep a copy of an event that an LLM is asked about; beyond MAX_AWAITED the oldest go.

        ``said`` is what was decided of an event that it is asked about to compare the two; else empty.
        """
        self._awaited[escalation] = (raw[:MAX_COPY], said)
        while len(self._awaited) > MAX_AWAITED:
            del self._awaited[next(iter(self._awaited))]

    def answer(self, escalation: str) -> tuple[bytes, str] | None:
        """Take in that a verdict came; return the event's copy (empty: it is gone) and what had been decided of it.

        ``None`` if it had come before.
        """
        if escalation in self._answered:
            return None
        self._answered[escalation] = None
        while len(self._answered) > MAX_ANSWERED:
            del self._answered[next(iter(self._answered))]
        return self._awaited.pop(escalation, (b"", ""))

    def tell_late(self, signal: Signal) -> None:
        """Keep a verdict's signal until the next window closes; beyond MAX_ANSWERED the oldest go."""
        self._late.append(signal)
        del self._late[:-MAX_ANSWERED]

    def take_late(self) -> list[Signal]:
        """Return the verdicts' signals since the last window, and forget them."""
        late, self._late = self._late, []
        return late

    def snapshot(self) -> tuple[Any, ...] | None:
        """Return the state as plain data; ``None``: there is nothing."""
        if not (self._known or self._recent or self._answered or self._awaited):
            return None
        known = [(key, count, time) for key, (count, time) in self._known.items()]
        late = msgspec.to_builtins(self._late)
        awaited = [(key, copy, said) for key, (copy, said) in self._awaited.items()]
        return known, self._risk, self._recent, list(self._answered), awaited, late


def text_key(candidate: Candidate) -> str:
    """Return what a candidate's text is known by; empty: it has none that was judged."""
    if candidate.reading is None:
        return ""
    text = f"{candidate.reading.source}\0{candidate.reading.text}".encode("utf-8", "surrogatepass")
    return "text:" + hashlib.blake2b(text, digest_size=8).hexdigest()


def _decayed(counted: tuple[float, int], time: int) -> float:
    count, last = counted
    return count * 0.5 ** (max(0, time - last) / HALF_LIFE) if count else 0.0
