"""The answer of a model: its form, what of it is believed, and the verdict that an event gets from it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from analyzers.llm.techniques import sorted_out
from state.escalations import Level

#: Longest answer that is read, characters.
MAX_ANSWER = 65_536
#: Most claims of an answer.
MAX_CLAIMS = 12
Verdict = Literal["malicious", "suspicious", "benign"]
Form = TypeVar("Form", bound=BaseModel)


class ClaimGiven(BaseModel):
    """One claim, and what it rests on."""

    model_config = ConfigDict(extra="ignore")

    text: str = Field(max_length=600, description="One sentence.")
    event: str = Field(max_length=64, description="Id of the event that shows it, exactly as given.")
    field: str = Field(max_length=160, description="Name of the field of that event that shows it, exactly as given.")


class Answer(BaseModel):
    """What a model is to answer."""

    model_config = ConfigDict(extra="ignore")

    verdict: Verdict = Field(description="Whether the event is part of an attack.")
    severity: Level = Field(description="How much harm it means if it is.")
    confidence: float = Field(ge=0, le=1, description="Probability that the verdict is right, 0 to 1.")
    techniques: list[str] = Field(
        max_length=32, description="ids of MITRE ATT&CK techniques, such as T1059.001; may be empty"
    )
    claims: list[ClaimGiven] = Field(
        min_length=1, max_length=MAX_CLAIMS, description="Why, in one to four claims; each cites an event and a field."
    )
    action: str = Field(max_length=600, description="What an analyst should do next, one sentence.")


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A claim that holds for any event of the same question: its event by number, 0 is the one asked about."""

    text: Annotated[str, Meta(max_length=600)]
    event: Annotated[int, Meta(ge=0, le=64)]
    field: Annotated[str, Meta(max_length=256)]


class Judgement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer that was checked, as it is remembered: nothing in it is of one host or event."""

    verdict: Verdict
    severity: Level
    confidence: Annotated[float, Meta(ge=0, le=1)]
    techniques: Annotated[tuple[Annotated[str, Meta(pattern=r"^T\d{4}(\.\d{3})?$")], ...], Meta(max_length=32)]
    claims: Annotated[tuple[Claim, ...], Meta(min_length=1, max_length=MAX_CLAIMS)]
    action: Annotated[str, Meta(max_length=600)]
    #: Techniques that it named and that there are not.
    unknown: Annotated[int, Meta(ge=0)] = 0

    def encode(self) -> bytes:
        """Return it as JSON."""
        return msgspec.json.encode(self)


class Fault(Exception):
    """An answer that cannot be believed; the message says why in one line, and holds nothing of the event.

    ``kind`` is a label for metrics: ``empty``, ``cut``, ``malformed``, ``schema``, ``citation``.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def decode_judgement(raw: bytes) -> Judgement:
    """Return a remembered answer. Raises ValueError if it is none."""
    return _judgement(raw)


_judgement = msgspec.json.Decoder(Judgement).decode


def read_answer(text: str | None, finish: str | None = "stop") -> Answer:
    """Return the answer in a model's reply, see ``read_as``."""
    return read_as(Answer, text, finish)


def read_as(form: type[Form], text: str | None, finish: str | None = "stop") -> Form:
    """Return what a model's reply says, of the given form: one JSON object, alone or within other text.

    Raises:
        Fault: it is none of that form.
    """
    if not text or not text.strip():
        raise Fault("empty", "the answer is empty")
    if finish == "length":
        raise Fault("cut", "the answer is longer than the limit and was cut off; be shorter")
    if len(text) > MAX_ANSWER:
        raise Fault("malformed", f"the answer has {len(text):,} characters; the limit is {MAX_ANSWER:,}")
    try:
        return form.model_validate(_object(text))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        # Places are ours, but for numbers and for keys that the model made up.
        place = ".".join(str(part) for part in first["loc"])[:80]
        raise Fault("schema", f"field {place!a}: {first['msg'][:160]}") from None


def _object(text: str) -> Any:
    """Return the first JSON object of a text."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    at = text.find("{")
    for _ in range(16):
        if at < 0:
            break
        try:
            found, _end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("{", at + 1)
            continue
        return found
    raise Fault("malformed", "the answer holds no JSON object")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def check(answer: Answer, events: dict[str, tuple[int, frozenset[str]]]) -> Judgement:
    """Return what of an answer is believed: every claim must cite an event of the question and a field that it has.

    Args:
        answer: what the model said.
        events: number and names of fields by the id that the question gives the event.

    Raises:
        Fault: a citation does not resolve.
    """
    claims = []
    for number, claim in enumerate(answer.claims, 1):
        found = events.get(claim.event.strip())
        if found is None:
            raise Fault("citation", f"claim {number} cites an event that the question does not have")
        index, fields = found
        if claim.field not in fields:
            raise Fault("citation", f"claim {number} cites a field that its event does not have")
        if not claim.text.strip():
            raise Fault("citation", f"claim {number} says nothing")
        claims.append(Claim(line(claim.text), index, claim.field))
    techniques, unknown = sorted_out(answer.techniques)
    benign = answer.verdict == "benign"
    return Judgement(
        verdict=answer.verdict,
        # What is benign informs, whatever else the model says; it lowers nothing that others said.
        severity="informational" if benign else answer.severity,
        confidence=answer.confidence,
        techniques=() if benign else techniques,
        claims=tuple(claims),
        action=line(answer.action),
        unknown=unknown,
    )


def line(text: str) -> str:
    """Return a text in one line, what cannot be seen escaped."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in " ".join(text.split()))
