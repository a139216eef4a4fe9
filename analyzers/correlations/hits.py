"""What the rules step tells correlations: events that met a rule which a correlation refers to."""

from __future__ import annotations

import msgspec

from analyzers.rules.correlation import Correlation
from state.alerts import MAX_EVIDENCE

#: Time, id and raw bytes of an event.
Cite = tuple[int, str, bytes]
#: Longest copy of an event that is kept until a correlation holds, bytes.
MAX_COPY = 1_024


class Matched(msgspec.Struct, frozen=True, gc=False):
    """A rule that an event met, and the fields that correlations read of it there; those that it lacks are left out."""

    #: Id of the rule.
    rule: str
    values: dict[str, str]


class Hit(msgspec.Struct, frozen=True, gc=False):
    """An event that met rules which correlations refer to."""

    #: Its place in the order of time, µs: its own time, or its partition's watermark if it came late.
    place: int
    origin: str
    offset: int
    #: Event time, µs.
    time: int
    host: str
    raw: bytes
    matches: tuple[Matched, ...]
    #: Digests of the correlations to be asked, in the order in which they are decided.
    concerns: tuple[str, ...]
    #: Version of the rules that judged the event.
    version: str

    @property
    def order(self) -> tuple[int, str, int]:
        """Return the canonical order: time, then origin and offset of the event."""
        return (self.place, self.origin, self.offset)

    @property
    def id(self) -> str:
        """Return the event's id."""
        return f"{self.origin}-{self.offset}"

    def cite(self, copy: bool = True) -> Cite:
        """Return the event as evidence."""
        return (self.time, self.id, self.raw if copy else b"")


class Hits(msgspec.Struct, frozen=True, gc=False):
    """What a batch has for correlations, and how far its partition has come."""

    #: ``topic-partition``.
    origin: str
    #: µs.
    watermark: int
    hits: list[Hit] = []
    #: The correlations that the hits name.
    correlations: tuple[Correlation, ...] = ()


def first_cites(cites: list[Cite]) -> tuple[Cite, ...]:
    """Return the first events in canonical order, as many as an alert keeps.

    >>> first_cites([(2, "b", b""), (1, "a", b""), (2, "b", b"")])
    ((1, 'a', b''), (2, 'b', b''))
    """
    unique = {cite[:2]: cite for cite in cites}
    return tuple(unique[mark] for mark in sorted(unique)[:MAX_EVIDENCE])
