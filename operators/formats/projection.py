"""Some fields of a JSON message, decoded without the others: half the cost of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from analyzers.rules.shortcut import Message, Projector

UNSET = msgspec.UNSET


def structure(names: Sequence[str], nested: Mapping[str, Any] | None = None) -> type[msgspec.Struct]:
    """Return a struct of the named fields of any type, in order, and of ``nested`` ones of the given types."""
    fields: list[tuple[str, Any, Any]] = [
        (f"f{place}", Any, msgspec.field(name=name, default=UNSET)) for place, name in enumerate(names)
    ]
    for place, (name, kind) in enumerate((nested or {}).items()):
        fields.append((f"n{place}", kind | msgspec.UnsetType, msgspec.field(name=name, default=UNSET)))
    return msgspec.defstruct("Projection", fields, gc=False)


def flat(names: Sequence[str], instead: Mapping[str, str]) -> Projector:
    """Return a projector of a flat object; ``EventID`` is the event's kind's code.

    ``instead`` names, for fields that a message may lack, those that stand for them then.
    """
    stand_ins = [(names.index(name), other) for name, other in instead.items() if name in names]
    decode = msgspec.json.Decoder(structure([*names, *(other for _, other in stand_ins)])).decode
    values_of = msgspec.structs.astuple
    if not stand_ins and "EventID" not in names:
        return lambda event: values_of(decode(event.raw))
    code = names.index("EventID") if "EventID" in names else -1

    def project(event: Message) -> tuple[object, ...]:
        values = list(values_of(decode(event.raw)))
        for nth, (place, _) in enumerate(stand_ins):
            if values[place] is UNSET:
                values[place] = values[len(names) + nth]
        if code >= 0:
            values[code] = event.kind.code
        return tuple(values)

    return project


def flattened(names: Sequence[str]) -> Projector:
    """Return a projector of an object whose objects are flattened to dotted names, where they are none in fact.

    It raises where a dotted name is missing, for that may be an object, or a value is one.
    """
    decode = msgspec.json.Decoder(structure(names)).decode
    values_of = msgspec.structs.astuple
    dotted = [place for place, name in enumerate(names) if "." in name]

    def project(event: Message) -> tuple[object, ...]:
        values = values_of(decode(event.raw))
        if dict in map(type, values) or any(values[place] is UNSET for place in dotted):
            raise LookupError("nested")
        return values

    return project
