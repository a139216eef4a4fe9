"""What the flow asks an LLM about, and what comes back: messages of ``winnow.escalations`` and ``winnow.verdicts``.

Times are integer µs since the epoch, UTC. Both kinds have a JSON schema (``state/schemas``). What is no valid message
is refused by ``decode_escalation`` and ``decode_verdict``: the topics are open to whoever may write to Kafka.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

#: Version of both messages.
ESCALATION_VERSION: Literal[1] = 1
VERDICT_VERSION: Literal[1] = 1
#: Largest message, bytes.
MAX_BYTES = 131_072
#: Fields of an event that go along, at most, and the longest name and value, characters.
MAX_FIELDS, MAX_NAME, MAX_VALUE = 64, 128, 2_048
#: Earlier signals of the host that go along, at most.
MAX_RECENT = 20

Id = Annotated[str, Meta(pattern="^x-[0-9a-f]{32}$", max_length=34)]
Short = Annotated[str, Meta(max_length=512)]
Text = Annotated[str, Meta(max_length=4_096)]
Time = Annotated[int, Meta(ge=0, lt=4_102_444_800_000_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Level = Literal["informational", "low", "medium", "high", "critical"]


class Raised(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signal: of this event, or an earlier one of its host."""

    kind: Short
    rule: Short
    name: Short
    level: Level
    time: Time
    reason: Text = ""
    techniques: Annotated[tuple[Short, ...], Meta(max_length=32)] = ()
    #: The event that it is about; empty: a metric's.
    event_id: Short = ""


class HostContext(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was known of the host when the event's turn came."""

    first_seen: Time = 0
    events: Annotated[int, Meta(ge=0)] = 0
    #: Highest probability of anomaly of its last closed window.
    anomaly: Share = 0.0
    risk: Annotated[float, Meta(ge=0)] = 0.0
    #: Times that this very text was asked about here before, decayed.
    seen: Annotated[float, Meta(ge=0)] = 0.0
    #: Its last signals, oldest first.
    recent: Annotated[tuple[Raised, ...], Meta(max_length=MAX_RECENT)] = ()


class Escalation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event that rules and text judge cannot settle, or that matters too much for them."""

    version: Literal[1] = ESCALATION_VERSION
    #: ``escalation_id`` of the event: a flow that reads it again asks nothing new.
    id: Id
    event_id: Short
    host: Short
    time: Time
    #: Log source (``zeek.http``) and format of the event.
    source: Short
    format: Short
    #: Fields of the event by name, as text, bounded; hostile.
    fields: Annotated[
        dict[Annotated[str, Meta(max_length=MAX_NAME)], Annotated[str, Meta(max_length=MAX_VALUE)]],
        Meta(max_length=MAX_FIELDS),
    ]
    #: What rules and text judge said of it.
    raised: Annotated[tuple[Raised, ...], Meta(max_length=64)] = ()
    #: Label and probability of the text judge; empty and 0: it read nothing.
    label: Short = ""
    malicious: Share = 0.0
    context: HostContext = HostContext()
    #: How much is lost if it is decided wrongly; the highest go first.
    stakes: Share = 0.0
    #: Why it is asked about, one line.
    reason: Text = ""
    #: Versions that decided that: rules, model, calibration.
    versions: Annotated[dict[Short, Short], Meta(max_length=16)] = {}

    def encode(self) -> bytes:
        """Return the message as JSON."""
        return msgspec.json.encode(self)


class Citation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a claim rests on: a field of an event."""

    event_id: Short
    field: Annotated[str, Meta(max_length=MAX_NAME)]


class LlmVerdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an escalation ended: answered, or refused with the reason. It raises or informs, and never lowers."""

    version: Literal[1] = VERDICT_VERSION
    #: Id of the escalation. A repeat says the same.
    id: Id
    event_id: Short
    host: Short
    time: Time
    status: Literal["answered", "refused"]
    verdict: Literal["malicious", "suspicious", "benign", ""] = ""
    severity: Level = "informational"
    confidence: Share = 0.0
    techniques: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^T[0-9]{4}(\.[0-9]{3})?(?![\s\S])")], ...], Meta(max_length=32)
    ] = ()
    explanation: Text = ""
    citations: Annotated[tuple[Citation, ...], Meta(max_length=32)] = ()
    action: Text = ""
    #: Why there is no answer; empty if there is one.
    reason: Text = ""
    #: Version of the question (signature and instructions), and name of the model.
    prompt: Short = ""
    model: Short = ""
    #: Whether the answer was remembered; what it cost, in the currency of the settings; how long it took.
    cached: bool = False
    cost: Annotated[float, Meta(ge=0)] = 0.0
    seconds: Annotated[float, Meta(ge=0)] = 0.0
    answered_at: Time

    def encode(self) -> bytes:
        """Return the message as JSON."""
        return msgspec.json.encode(self)


class Escalated(msgspec.Struct, frozen=True, gc=False):
    """An escalation as the flow puts it out."""

    escalation: Escalation
    #: Whether an LLM is to be asked; if not, it would have been, were there one.
    asked: bool


def escalation_id(event_id: str) -> str:
    """Return the id of the escalation of an event.

    >>> escalation_id("winnow.telemetry-0-17")
    'x-2c908fde2aab9e2442620cd5d40940cf'
    """
    return "x-" + hashlib.blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def decode_escalation(raw: bytes) -> Escalation:
    """Return an escalation. Raises ValueError with one line that says what is wrong."""
    return _escalation(_bounded(raw))


def decode_verdict(raw: bytes) -> LlmVerdict:
    """Return a verdict. Raises ValueError with one line that says what is wrong."""
    return _verdict(_bounded(raw))


_escalation = msgspec.json.Decoder(Escalation).decode
_verdict = msgspec.json.Decoder(LlmVerdict).decode


def _bounded(raw: bytes) -> bytes:
    if len(raw) > MAX_BYTES:
        raise ValueError(f"{len(raw):,} bytes; the limit is {MAX_BYTES:,}")
    raw.decode()  # not UTF-8: a ValueError as well
    return raw
