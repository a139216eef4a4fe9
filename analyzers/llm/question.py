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
from functools import cached_property
from typing import Any

from analyzers.llm.abstract import Names
from analyzers.llm.answer import Claim, Judgement
from analyzers.llm.prompt import PROMPT, messages
from analyzers.llm.redact import Redactor
from state.escalations import MAX_NAME, Citation, Escalation, LlmVerdict, Raised

#: Fields of a signal that an answer may cite.
SIGNAL_FIELDS = ("kind", "rule", "name", "level", "reason", "techniques")
#: Longest value at first, and when all of them together are too long, characters.
LONGEST, SHORTEST = 2_048, 96
#: Signals of the host's past that a question shows.
MAX_RECENT = 10
#: Signals of the event itself.
MAX_RAISED = 16
#: Bounds of an explanation and of an action in a verdict, characters.
_TEXT = 4_000
#: What no text may say by itself: the beginning of a marker; and what counts as printable and cannot be seen.
_ESCAPED = re.compile(
    r"[<>]|\[(?=\[|/?[A-Z_]{3,24}\]|\s*##)"
    "|[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


#: What a reason says of this one event, or of the cost of asking: no part of the question.
_OWN = re.compile(r", stakes [0-9.]+|; about .*$", re.DOTALL)


class Question:
    """One escalation as a model is shown it.

    Args:
        escalation: what is asked about.
        model: the model's name, part of the key.
        limit: characters of all data together, about.
    """

    def __init__(self, escalation: Escalation, model: str, limit: int = 24_000) -> None:
        self.escalation, self.model, self.limit = escalation, model, limit
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
        #: The names of fields as they are shown, and as they are; and their values as they are shown.
        self._fields = {self._shown("", name)[:MAX_NAME]: name for name in escalation.fields}
        self._values = {shown: self._shown(name, escalation.fields[name]) for shown, name in self._fields.items()}
        self._document = self._fitting([self._signal(s) for s in signals], [self._signal(s) for s in self._recent])

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
        told = json.dumps([PROMPT, self.model, self._document], ensure_ascii=True, sort_keys=True)
        return hashlib.blake2b(told.encode(), digest_size=32).digest()

    def events(self, marker: str) -> dict[str, tuple[int, frozenset[str]]]:
        """Return number and fields of the events that an answer may cite, by their names in this asking."""
        found = {f"{marker}-0": (0, frozenset(self._fields))}
        for index in range(1, len(self._recent) + 1):
            found[f"{marker}-{index}"] = (index, frozenset(SIGNAL_FIELDS))
        return found

    def messages(self, marker: str) -> list[dict[str, str]]:
        """Return the messages for one asking; ``marker`` is random, of letters and digits."""
        event = {"id": f"{marker}-0", **self._document["event"]}
        history = dict(self._document["host"])
        history["recent_signals"] = [
            {"id": f"{marker}-{index}", **signal} for index, signal in enumerate(history["recent_signals"], 1)
        ]
        parts = {"event": event, "raised": self._document["raised"], "host": history}
        return messages(marker, {name: _block(marker, part) for name, part in parts.items()})

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
            prompt=PROMPT,
            model=self.model,
            **told,
        )

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
                "fields": {shown: _cut(self._values[shown], longest) for shown in self._fields},
            },
            "raised": {
                "because": _cut(because, longest),
                "signals": [_cut_signal(signal, longest) for signal in signals],
                "text_model": {"label": of.label, "malicious": round(of.malicious, 1)} if of.label else None,
            },
            # Coarse: what is alike is asked once.
            "host": {
                "anomaly": round(context.anomaly, 1),
                "risk": _coarse(context.risk),
                "times_this_text_was_seen_here": _coarse(context.seen),
                "events_so_far": _coarse(context.events),
                "recent_signals": [_cut_signal(signal, longest) for signal in recent],
            },
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
    return signal | {"name": _cut(signal["name"], longest), "reason": _cut(signal["reason"], longest)}


def refusal(escalation: Escalation, reason: str, **told: Any) -> LlmVerdict:
    """Return the verdict that says that there is none, and why."""
    return LlmVerdict(**_head(escalation), status="refused", reason=reason[:_TEXT], prompt=PROMPT, **told)


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


def _coarse(value: float) -> str:
    """Return how much it is, in words.

    >>> [_coarse(n) for n in (0, 0.4, 3, 40, 12_345)]
    ['none', 'under 1', '1 to 9', '10 to 99', '10000 to 99999']
    """
    if value <= 0:
        return "none"
    # What is counted here decays: a second later one is a little less.
    if value < 0.5:
        return "under 1"
    power = 10 ** (len(str(max(1, round(value)))) - 1)
    return f"{power} to {power * 10 - 1}"


def _cut(text: str, longest: int) -> str:
    """Return a text of about ``longest`` characters: its head and tail, and how much is missing between."""
    if len(text) <= longest:
        return text
    tail = longest // 4
    return f"{text[: longest - tail]} …{len(text) - longest} characters cut… {text[-tail:]}"


def _block(marker: str, part: Any) -> str:
    """Return data as JSON between tags, with nothing in it that could end them."""
    text = _ESCAPED.sub(_escape, json.dumps(part, ensure_ascii=False, separators=(", ", ": ")))
    if not text.isprintable():
        text = "".join(c if c.isprintable() else _code(c) for c in text)
    return f"<data-{marker}>\n{text}\n</data-{marker}>"


def _escape(found: re.Match[str]) -> str:
    return _code(found[0])


def _code(character: str) -> str:
    """Return the escape by which JSON writes a character, a surrogate pair where it needs one."""
    raw = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(raw[at : at + 2], 'big'):04x}" for at in range(0, len(raw), 2))
