"""Messages of the control topic: what people and tools tell the flow. Times are integer µs since the epoch, UTC.

Every kind has a JSON schema, ``state/schemas/control.<kind>.v1.json``. What is no valid message is a ``Refusal`` and
never an exception: the topic is open to whoever may write to Kafka.
"""

from __future__ import annotations

import secrets
from abc import abstractmethod
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

#: Version of every kind of message.
CONTROL_VERSION: Literal[1] = 1
#: Largest message, bytes.
MAX_BYTES = 16_384
#: Nothing before 2000 or from 2100 on is believed, µs.
EARLIEST, LATEST = 946_684_800_000_000, 4_102_444_800_000_000

#: Control characters of ASCII and Unicode, line breaks and changes of direction: what a line for people never holds.
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
_LINE = f"^[^{_UNSEEN}]+(?![{_UNSEEN}])$"

Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=_LINE)]
Line = Annotated[str, Meta(min_length=1, max_length=1_000, pattern=_LINE)]
Time = Annotated[int, Meta(ge=EARLIEST, lt=LATEST)]
#: Value that a field of an event must have: equal in any case, ``*`` stands for any text.
Pattern = Annotated[str, Meta(min_length=1, max_length=512, pattern=_LINE)]
#: Fields that a suppression may name.
MAX_FIELDS = 8
_ID = "^c-[0-9a-f]{20}$"


class Control(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every control message has."""

    version: Annotated[Literal[1], Meta(description="Version of this kind of message.")]
    id: Annotated[
        str,
        Meta(max_length=22, pattern=_ID, description="The message's own id; also part of its key."),
    ]
    author: Annotated[Name, Meta(description="Who wrote it.")]
    reason: Annotated[Line, Meta(description="Why, in one line.")]
    written_at: Annotated[Time, Meta(description="When it was written, µs since the epoch.")]
    from_time: Annotated[Time, Meta(description="Event time from which it holds, µs since the epoch.")]

    @property
    @abstractmethod
    def subject(self) -> str:
        """Return what the message is about."""

    @property
    def key(self) -> bytes:
        """Return the Kafka key: unique, so that compaction removes no message and the topic is its own history."""
        return f"{self.__struct_config__.tag}:{self.subject}:{self.id}".encode()

    def encode(self) -> bytes:
        """Return the message as JSON."""
        return msgspec.json.encode(self)


class Setting(Control, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="setting"):
    """A live setting has another value from an event time on."""

    name: Annotated[Name, Meta(description="Dotted name of the setting, such as anomaly.least.")]
    value: Annotated[
        Annotated[int, Meta(ge=-(10**18), le=10**18)] | float | bool | Annotated[str, Meta(max_length=1_000)] | None,
        Meta(description="The new value; null: what the settings file and the environment say."),
    ]

    @property
    def subject(self) -> str:
        """Return the setting's name."""
        return self.name


class Suppression(
    Control,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="kind",
    tag="suppression",
):
    """Alerts of a rule, of an entity, or of both together are not wanted for a while; or an earlier one ends."""

    rule: Annotated[Name | None, Meta(description="Id of the rule or metric; null: any.")]
    entity: Annotated[Name | None, Meta(description="Canonical name of the host; null: any.")]
    until_time: Annotated[Time | None, Meta(description="Event time at which it ends, µs; null: it does not.")]
    fields: Annotated[
        dict[Name, Pattern],
        Meta(
            max_length=MAX_FIELDS,
            description="Fields that the event must have, by name, with their values: equal in any case, * for any "
            "text. What is said of no single event has none.",
        ),
    ] = {}
    removes: Annotated[
        Annotated[str, Meta(max_length=22, pattern=_ID)] | None,
        Meta(description="Id of an earlier suppression, which ends at from_time; then there is nothing else to say."),
    ] = None

    def __post_init__(self) -> None:
        if self.removes is not None:
            if self.rule is not None or self.entity is not None or self.until_time is not None or self.fields:
                raise ValueError("what removes another has no rule, entity, until_time or fields")
            return
        if self.rule is None and self.entity is None:
            raise ValueError("rule and entity are both null: that would suppress every alert")
        if self.until_time is not None and self.until_time <= self.from_time:
            raise ValueError("until_time is not after from_time")

    @property
    def subject(self) -> str:
        """Return rule and entity, or what it removes."""
        return self.removes or f"{self.rule or '*'}@{self.entity or '*'}"


class Verdict(Control, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="verdict"):
    """An analyst has judged an alert or an incident."""

    target: Annotated[Name, Meta(description="Id of the alert or incident.")]
    verdict: Literal["true_positive", "false_positive", "benign"]

    @property
    def subject(self) -> str:
        """Return the id of what was judged."""
        return self.target


class Activation(Control, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="activation"):
    """A version of what decides comes into force."""

    what: Literal["rules", "metrics", "model", "calibration"]
    artifact: Annotated[Name, Meta(description="Version that comes into force.")]

    @property
    def subject(self) -> str:
        """Return what gets a new version."""
        return self.what


#: Every kind of message, by its name.
KINDS: dict[str, type[Control]] = {
    "setting": Setting,
    "suppression": Suppression,
    "verdict": Verdict,
    "activation": Activation,
}


class Refusal(msgspec.Struct, frozen=True):
    """Why something is no control message."""

    #: One of: ``empty``, ``too_large``, ``not_utf8``, ``malformed_json``, ``bad_message``, ``unknown_kind``,
    #: ``unknown_version``; of what is read well but cannot be: ``unknown_setting``, ``unknown_suppression``,
    #: ``bad_value``, ``too_many``.
    reason: str
    #: What exactly was wrong, one line, at most 300 characters.
    detail: str

    limit: ClassVar[int] = 300


class _Head(msgspec.Struct):
    kind: str
    version: int


def decode(raw: bytes | None) -> Control | Refusal:
    """Return the message, or why it is none.

    >>> decode(b'{"kind":"wish","version":1}')
    Refusal(reason='unknown_kind', detail='unknown kind wish; known: setting, suppression, verdict, activation')
    """
    if not raw:
        return Refusal("empty", "no value")
    if len(raw) > MAX_BYTES:
        return Refusal("too_large", f"{len(raw):,} bytes; the limit is {MAX_BYTES:,}")
    try:
        raw.decode()
        head = msgspec.json.decode(raw, type=_Head)
        kind = KINDS.get(head.kind)
        if kind is None:
            return refuse("unknown_kind", f"unknown kind {head.kind}; known: {', '.join(KINDS)}")
        if head.version != CONTROL_VERSION:
            return refuse("unknown_version", f"version {head.version} of {head.kind}; known: {CONTROL_VERSION}")
        return msgspec.json.decode(raw, type=kind)
    except UnicodeDecodeError as error:
        return refuse("not_utf8", str(error))
    except msgspec.ValidationError as error:
        return refuse("bad_message", str(error))
    except (msgspec.DecodeError, RecursionError) as error:
        return refuse("malformed_json", str(error))


def refuse(reason: str, detail: str) -> Refusal:
    """Return a refusal whose detail is one bounded, printable line."""
    line = "".join(char if char.isprintable() else "?" for char in detail[: Refusal.limit])
    return Refusal(reason, line)


def new_id() -> str:
    """Return an id for a new message."""
    return f"c-{secrets.token_hex(10)}"
