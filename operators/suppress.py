"""Mark what is suppressed: signals with their event, signals of none, and sightings for incidents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import structs

from analyzers.incidents.sightings import Heard
from analyzers.suppressions import OF_EVENTS, Suppressions
from operators.formats import fields
from state.alerts import Signal
from state.events import Event

#: Typed fields of an event, by their ECS names, beside the original ones.
_TYPED = {
    "host.name": "host",
    "user.name": "user",
    "source.ip": "source_ip",
    "source.port": "source_port",
    "destination.ip": "destination_ip",
    "destination.port": "destination_port",
    "process.executable": "process",
}


def marked_with(event: Event, signals: Sequence[Signal], known: Suppressions) -> list[Signal]:
    """Return the signals of an event, each with the suppression that it meets; its fields are decoded if need be."""
    decoded: dict[str, Any] | None = None

    def once() -> Mapping[str, Any]:
        nonlocal decoded
        if decoded is None:
            decoded = fields_of(event)
        return decoded

    found = []
    for signal in signals:
        met = known.find(signal.kind, signal.rule, signal.entity, signal.level, signal.time, once)
        found.append(structs.replace(signal, suppressed=met) if met else signal)
    return found


def marked(signal: Signal, known: Suppressions) -> Signal:
    """Return a signal with the suppression that it meets; one of an event has it already, or meets none."""
    if not known or signal.suppressed or signal.kind in OF_EVENTS:
        return signal
    met = known.find(signal.kind, signal.rule, signal.entity, signal.level, signal.time)
    return structs.replace(signal, suppressed=met) if met else signal


def heard_with(heard: Heard, known: Suppressions) -> Heard:
    """Return what a host says with the suppression that each sighting meets, as ``marked``."""
    if not known or not heard.sightings:
        return heard
    sightings = []
    for sighting in heard.sightings:
        if not sighting.suppressed and sighting.kind not in OF_EVENTS:
            met = known.find(sighting.kind, sighting.rule, sighting.host, sighting.level, sighting.time)
            sighting = structs.replace(sighting, suppressed=met) if met else sighting
        sightings.append(sighting)
    return structs.replace(heard, sightings=tuple(sightings))


def fields_of(event: Event) -> dict[str, Any]:
    """Return the fields of an event as rules read them, and the typed ones by their ECS names."""
    typed = {name: value for name, attribute in _TYPED.items() if (value := getattr(event, attribute))}
    try:
        return typed | fields(event)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        # It could be decoded as an event, and all the rest is hostile.
        return typed
