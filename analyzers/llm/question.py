"""The question: what of an escalation a model is shown, how it is kept apart from what it is told, and its key.

Everything that comes from an event is data, and hostile. It is redacted, then freed of what is of one host only, cut,
and written as JSON between tags that hold a random marker. Within, ``<``, ``>``, brackets that begin a marker of some
chat template or of DSPy, and all that cannot be seen are escaped: no text closes its tag or looks like a turn of the
conversation. Events are named by the marker too, which no text can know beforehand: an answer that was written into
a log cites nothing that there is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from analyzers.llm.abstract import Names
from analyzers.llm.answer import Claim, Judgement, check, read_answer
from analyzers.llm.prompt import PROMPT, PROMPTS, Form, answer_schema, bounded_schema, messages, short_messages
from analyzers.llm.redact import Redactor
from analyzers.llm.settings import LlmSettings
from analyzers.llm.shown import block, coarse, cut, sparse
from state.alerts import Level
from state.escalations import MAX_NAME, Citation, Escalation, LlmVerdict, Raised
from state.precedents import Precedent

#: Fields of a signal that an answer may cite.
SIGNAL_FIELDS = ("kind", "rule", "name", "level", "reason", "techniques")
#: Longest value at first, and when all of them together are too long, characters.
LONGEST, SHORTEST = 2_048, 96
#: Signals of the host's past that a question shows.
MAX_RECENT = 10
#: Signals of the event itself.
MAX_RAISED = 16
#: What analysts said of the like: how many, and characters of each reason.
MAX_PAST, MAX_SAID = 3, 300
#: Bounds of an explanation and of an action in a verdict, characters.
_TEXT = 4_000
#: What a reason says of this one event, or of the cost of asking: no part of the question.
_OWN = re.compile(r", stakes [0-9.]+|; about .*$", re.DOTALL)


class Question:
    """One escalation as a model is shown it.

    Args:
        escalation: what is asked about.
        model: the model's name, part of the key.
        limit: characters of all data together, about.
        form: of the instructions.
        past: what analysts said of the like, newest first.
    """

    def __init__(
        self,
        escalation: Escalation,
        model: str,
        limit: int = 24_000,
        form: Form = "full",
        past: Sequence[Precedent] = (),
    ) -> None:
        self.escalation, self.model, self.limit, self.form = escalation, model, limit, form
        self._hidden, self._names = Redactor(), Names(escalation.host)
        signals = escalation.raised[:MAX_RAISED]
        self._recent = _told_apart(escalation.context.recent, escalation.event_id)
        for name, value in escalation.fields.items():
            self._hidden.learn(value, name)
            self._hidden.learn(name)
            self._names.learn(name, value)
        for signal in (*signals, *self._recent):
            self._hidden.learn(signal.reason)
        self._hidden.learn(escalation.reason)
        for precedent in past:
            self._hidden.learn(precedent.reason)
        #: The names of fields as they are shown, and as they are; and their values as they are shown.
        self._fields = {self._shown("", name)[:MAX_NAME]: name for name in escalation.fields}
        self._values = {shown: self._shown(name, escalation.fields[name]) for shown, name in self._fields.items()}
        self._past = [self._said(precedent) for precedent in past[:MAX_PAST]]
        self._document = self._fitting([self._signal(s) for s in signals], [self._signal(s) for s in self._recent])

    @classmethod
    def by(cls, settings: LlmSettings, escalation: Escalation, past: Sequence[Precedent] = ()) -> Question:
        """Return the question about an escalation that the settings ask for."""
        return cls(escalation, settings.model or "", settings.prompt_chars, settings.prompt, past)

    @property
    def name(self) -> str:
        """Return under what its calls are booked."""
        return self.escalation.id

    @property
    def prompt(self) -> str:
        """Return the version of its instructions."""
        return PROMPTS[self.form]

    @property
    def secrets(self) -> dict[str, str]:
        """Return each secret by its placeholder: for the operator only, never to be logged or sent."""
        return self._hidden.secrets

    @property
    def names(self) -> dict[str, str]:
        """Return this event's values by their placeholder; may hold personal data."""
        return self._names.values

    @cached_property
    def key(self) -> bytes:
        """Return the key of the answer: digest of the question, the prompt and the model, 32 bytes."""
        told = json.dumps([self.prompt, self.model, self._document], ensure_ascii=True, sort_keys=True)
        return hashlib.blake2b(told.encode(), digest_size=32).digest()

    @cached_property
    def subject(self) -> bytes:
        """Return what tells this event from others, whatever its host, its rules and its past: a digest, 16 bytes."""
        told = json.dumps([self.prompt, self._document["event"]], ensure_ascii=True, sort_keys=True)
        return hashlib.blake2b(told.encode(), digest_size=16).digest()

    def events(self, marker: str) -> dict[str, tuple[int, frozenset[str]]]:
        """Return number and fields of the events that an answer may cite, by their names in this asking."""
        marker = self._marker(marker)
        found = {f"{marker}-0": (0, frozenset(self._fields))}
        for index in range(1, len(self._recent) + 1):
            found[f"{marker}-{index}"] = (index, frozenset(SIGNAL_FIELDS))
        return found

    def messages(self, marker: str) -> list[dict[str, str]]:
        """Return the messages for one asking; ``marker`` is random, of letters and digits."""
        marker = self._marker(marker)
        event = {"id": f"{marker}-0", **self._document["event"]}
        history = dict(self._document["host"])
        history["recent_signals"] = [
            {"id": f"{marker}-{index}", **signal} for index, signal in enumerate(history["recent_signals"], 1)
        ]
        parts = {"event": event, "raised": self._document["raised"], "host": history, "past": self._document["past"]}
        if self.form == "short":
            rest = sparse({name: part for name, part in parts.items() if name != "event"})
            return short_messages(block(marker, {"event": event, **rest}))
        return messages(marker, {name: block(marker, part) for name, part in parts.items()})

    def schema(self, marker: str, bounded: bool) -> dict[str, Any]:
        """Return the JSON schema of the answer; ``bounded``: with bounds, and choices of what can be cited."""
        if not bounded:
            return answer_schema()
        events = self.events(marker)
        return bounded_schema(events, dict.fromkeys(name for _, fields in events.values() for name in sorted(fields)))

    def read(self, marker: str, text: str | None, finish: str | None) -> Judgement:
        """Return what of a reply is believed. Raises ``Fault``."""
        return check(read_answer(text, finish), self.events(marker))

    def verdict(self, judgement: Judgement, **told: Any) -> LlmVerdict | None:
        """Return what an answer means for this event, its own values in it; None: it cites what this event lacks.

        Args:
            judgement: a checked answer to a question of the same key.
            told: further fields of the verdict (``cached``, ``cost``, ``seconds``, ``answered_at``).
        """
        citations, sentences = [], []
        for number, claim in enumerate(judgement.claims, 1):
            citation = self._citation(claim)
            if citation is None:
                return None
            citations.append(citation)
            sentences.append(f"{claim.text} [{number}]")
        return LlmVerdict(
            **_head(self.escalation),
            status="answered",
            verdict=judgement.verdict,
            severity=judgement.severity,
            confidence=judgement.confidence,
            techniques=judgement.techniques,
            explanation=self._names.restored(" ".join(sentences))[:_TEXT],
            citations=tuple(citations),
            action=self._names.restored(judgement.action)[:_TEXT],
            prompt=self.prompt,
            model=self.model,
            **told,
        )

    def _marker(self, marker: str) -> str:
        # A random number is a token a digit, four times in a question. One in 16 million is guessed.
        return marker[:7] if self.form == "short" else marker

    def _citation(self, claim: Claim) -> Citation | None:
        if claim.event == 0:
            field = self._fields.get(claim.field)
            return None if field is None else Citation(event_id=self.escalation.event_id, field=field)
        if claim.event > len(self._recent) or claim.field not in SIGNAL_FIELDS:
            return None
        return Citation(event_id=self._recent[claim.event - 1].event_id, field=claim.field)

    def _fitting(self, signals: list[dict[str, Any]], recent: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the document, its values as long as all of them fit."""
        longest = LONGEST
        because = self._shown("", _OWN.sub("", self.escalation.reason))
        while True:
            document = self._build(because, signals, recent, longest)
            if len(json.dumps(document)) <= self.limit:
                return document
            if longest > SHORTEST:
                longest = max(SHORTEST, longest // 2)
            elif recent:
                recent = recent[len(recent) // 2 + 1 :]
                self._recent = self._recent[-len(recent) :] if recent else ()
            elif len(self._fields) > 8:
                self._fields = dict(list(self._fields.items())[: len(self._fields) // 2])
            else:
                return document

    def _build(
        self, because: str, signals: list[dict[str, Any]], recent: list[dict[str, Any]], longest: int
    ) -> dict[str, Any]:
        of, context = self.escalation, self.escalation.context
        return {
            "event": {
                "source": of.source,
                "format": of.format,
                "fields": {shown: cut(self._values[shown], longest) for shown in self._fields},
            },
            "raised": {
                "because": cut(because, longest),
                "signals": [_cut_signal(signal, longest) for signal in signals],
                "text_model": {"label": of.label, "malicious": round(of.malicious, 1)} if of.label else None,
            },
            # Coarse: what is alike is asked once.
            "host": {
                "anomaly": round(context.anomaly, 1),
                "risk": coarse(context.risk),
                "times_this_text_was_seen_here": coarse(context.seen),
                "events_so_far": coarse(context.events),
                "recent_signals": [_cut_signal(signal, longest) for signal in recent],
            },
            "past": [said | {"reason": cut(said["reason"], longest)} for said in self._past],
        }

    def _said(self, precedent: Precedent) -> dict[str, str]:
        return {
            "verdict": precedent.verdict,
            "severity": Level(precedent.severity).name,
            "reason": cut(self._shown("", precedent.reason[: 2 * MAX_SAID]), MAX_SAID),
        }

    def _signal(self, signal: Raised) -> dict[str, Any]:
        return {
            "kind": signal.kind,
            "rule": signal.rule,
            "name": self._shown("", signal.name),
            "level": signal.level,
            "reason": self._shown("", signal.reason),
            "techniques": list(signal.techniques[:8]),
        }

    def _shown(self, field: str, value: str) -> str:
        return self._names.abstracted(field, self._hidden.redacted(value))


def _cut_signal(signal: dict[str, Any], longest: int) -> dict[str, Any]:
    return signal | {"name": cut(signal["name"], longest), "reason": cut(signal["reason"], longest)}


def refusal(escalation: Escalation, reason: str, **told: Any) -> LlmVerdict:
    """Return the verdict that says that there is none, and why."""
    return LlmVerdict(**_head(escalation), status="refused", reason=reason[:_TEXT], **{"prompt": PROMPT, **told})


def _head(escalation: Escalation) -> dict[str, Any]:
    return {
        "id": escalation.id,
        "event_id": escalation.event_id,
        "host": escalation.host,
        "time": escalation.time,
    }


def _told_apart(recent: tuple[Raised, ...], own: str) -> tuple[Raised, ...]:
    """Return the last signals of other events, each kind of signal once: its newest."""
    newest = {(s.kind, s.rule): s for s in recent if s.event_id and s.event_id != own}
    return tuple(sorted(newest.values(), key=lambda s: (s.kind, s.rule)))[-MAX_RECENT:]
