"""Telemetry formats: raw messages to events. A format is one module in this package, found by discovery.

>>> decoder = Decoder("demo-0", FormatSettings())
>>> line = b'{"_path":"conn","ts":1600000000.5,"id.orig_h":"10.0.0.1","id.resp_h":"192.0.2.7"}'
>>> decoder.decode_batch([line], [0], 0).events[0].host
'10.0.0.1'
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING, cast

from state.events import Event, Fields

from .base import Format, Malformed, Position, WrongShape
from .settings import FormatSettings, JsonMapping

if TYPE_CHECKING:
    from analyzers.rules.shortcut import Projector


def _discover() -> dict[str, Format]:
    found: list[Format] = []
    for module in pkgutil.iter_modules(__path__):
        if module.name in ("decoder", "peek", "told"):  # need the result
            continue
        members = vars(importlib.import_module(f"{__name__}.{module.name}")).values()
        found.extend(
            member()
            for member in members
            if inspect.isclass(member)
            and issubclass(member, Format)
            and not inspect.isabstract(member)
            and member.__module__ == f"{__name__}.{module.name}"
        )
    return {f.name: f for f in sorted(found, key=lambda f: (f.rank, f.name))}


#: Every format by name, in the order in which sniffing tries them.
FORMATS: dict[str, Format] = _discover()


class Undecoded:
    """What can be told of a message without decoding it whole; ``analyzers.rules`` asks."""

    def verbatim(self, format: str) -> bool:
        """Return whether all names and texts of a format's fields stand in its messages as JSON strings."""
        return FORMATS[format].verbatim

    def project(self, format: str, names: tuple[str, ...]) -> Projector | None:
        """Return what decodes just the named fields of a format's events, or None if it must be decoded whole."""
        return FORMATS[format].project(names)


UNDECODED = Undecoded()


def fields(event: Event | Peeked) -> Fields:
    """Return all original fields of an event as rules read them (Sigma field taxonomy). A new dict each time."""
    return FORMATS[event.format].fields(cast("Event", event))


from .decoder import Decoded, Decoder  # noqa: E402 - needs FORMATS
from .peek import Peeked, Peeker  # noqa: E402

__all__ = [
    "FORMATS",
    "UNDECODED",
    "Decoded",
    "Decoder",
    "Format",
    "FormatSettings",
    "JsonMapping",
    "Malformed",
    "Peeked",
    "Peeker",
    "Position",
    "WrongShape",
    "fields",
]
