"""A message's kind without decoding it, for those who only ask whether a rule concerns it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from state.events import Event, Kind, Rejected

from . import FORMATS
from .base import Format
from .decoder import Decoder
from .settings import FormatSettings


class Peeked(msgspec.Struct, frozen=True, gc=False):
    """A message whose kind is known and whose time and host were not asked for; ``fields`` takes it as an event."""

    origin: str
    offset: int
    kind: Kind
    raw: bytes
    format: str
    header: str = ""

    @property
    def id(self) -> str:
        """Return the event's id, ``topic-partition-offset``."""
        return f"{self.origin}-{self.offset}"


class Peeker:
    """Tell the kinds of one origin's messages, in order of offset; what no format can peek at is decoded."""

    def __init__(self, origin: str, settings: FormatSettings, format: str = "auto", default_host: str = "") -> None:
        """Prepare for ``origin``. ``format`` is a key of FORMATS or ``auto``; ValueError if it is neither."""
        self._origin = origin
        self._decoder = Decoder(origin, settings, format, default_host)
        self._largest = settings.max_raw_bytes
        #: The formats that can peek, the last that did first.
        self._formats = [f for f in FORMATS.values() if f.peeks and format in ("auto", f.name)]

    def peek_batch(
        self, raws: Sequence[bytes], offsets: Sequence[int], reference: int
    ) -> tuple[list[Peeked | Event], list[Rejected]]:
        """Return the events, in order, and the messages that are none, of those that had to be decoded."""
        events: list[Peeked | Event] = []
        rejected: list[Rejected] = []
        origin, largest = self._origin, self._largest
        likely = self._formats[0] if self._formats else None
        for raw, offset in zip(raws, offsets, strict=True):
            kind = likely.peek(raw) if likely is not None and len(raw) <= largest else None
            if likely is not None and kind is not None:
                events.append(Peeked(origin, offset, kind, raw, likely.name))
            else:
                likely = self._try(likely, raw, offset, reference, events, rejected)
        return events, rejected

    def _try(
        self,
        likely: Format | None,
        raw: bytes,
        offset: int,
        reference: int,
        events: list[Peeked | Event],
        rejected: list[Rejected],
    ) -> Format | None:
        """Take a message that the likely format did not; return the one that is likely now."""
        if len(raw) <= self._largest:
            for place, format in enumerate(self._formats):
                kind = format.peek(raw) if format is not likely else None
                if kind is not None:
                    events.append(Peeked(self._origin, offset, kind, raw, format.name))
                    self._formats.insert(0, self._formats.pop(place))
                    return format
        self._decode(raw, offset, reference, events, rejected)
        return likely

    def _decode(
        self, raw: bytes, offset: int, reference: int, events: list[Peeked | Event], rejected: list[Rejected]
    ) -> None:
        decoded = self._decoder.decode_batch([raw], [offset], reference)
        events += decoded.events
        rejected += decoded.rejected
