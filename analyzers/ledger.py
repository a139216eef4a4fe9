"""Keep one partition's ledger: what became of every offset. Pure; counted in recovered state, written by SET."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import structs

from state.ledger import SPAN, LedgerRow


class LedgerDelta(msgspec.Struct, gc=False):
    """What one batch, or one decision, adds to one span of offsets. Same fields as LedgerRow."""

    #: ``topic-partition``.
    origin: str
    bucket: int
    consumed: int = 0
    rejected: int = 0
    skipped: int = 0
    absent: int = 0
    lost: int = 0
    rule: int = 0
    bert: int = 0
    llm: int = 0
    late: int = 0
    future: int = 0
    sources: dict[str, int] = {}
    versions: dict[str, str] = {}
    #: First offset of a batch, from which on ``versions`` hold; -1 where that is not to be told.
    first: int = -1


_COUNTS = ("consumed", "rejected", "skipped", "absent", "lost", "rule", "bert", "llm", "late", "future")


class _Saved(msgspec.Struct):
    version: int
    origin: str
    rows: list[LedgerRow]
    changed: set[int]


class LedgerBook:
    """The open rows of one partition. A row is forgotten when nothing can change it any more.

    >>> book = LedgerBook("telemetry-0")
    >>> deltas = [LedgerDelta("telemetry-0", 0, consumed=3, rule=2), LedgerDelta("telemetry-0", 0, rule=1)]
    >>> book.add(deltas)
    >>> [row.rule for row in book.take()]
    [3]
    """

    VERSION = 1

    def __init__(self, origin: str) -> None:
        self._origin = origin
        topic, _, partition = origin.rpartition("-")
        self._topic, self._partition = topic, int(partition)
        self._rows: dict[int, LedgerRow] = {}
        self._changed: set[int] = set()

    def add(self, deltas: Iterable[LedgerDelta]) -> None:
        """Add counts."""
        for delta in deltas:
            row = self._rows.get(delta.bucket)
            if row is None:
                row = self._rows[delta.bucket] = LedgerRow(
                    self._topic, self._partition, delta.bucket, sources={}, versions={}, rules={}
                )
            for name in _COUNTS:
                value = getattr(delta, name)
                if value:
                    setattr(row, name, getattr(row, name) + value)
            for source, count in delta.sources.items():
                row.sources[source] = row.sources.get(source, 0) + count
            row.versions.update(delta.versions)
            if delta.first >= 0 and "rules" in delta.versions:
                row.rules = _ranges({**row.rules, delta.first: delta.versions["rules"]})
            self._changed.add(delta.bucket)

    @property
    def changed(self) -> bool:
        """Return whether any row was changed since it was last taken."""
        return bool(self._changed)

    def take(self) -> list[LedgerRow]:
        """Return the rows that changed since the last time, as they now are."""
        taken = []
        for bucket in sorted(self._changed):
            row = self._rows[bucket]
            taken.append(
                structs.replace(row, sources=dict(row.sources), versions=dict(row.versions), rules=dict(row.rules))
            )
            settled = row.consumed == row.rejected + row.skipped + row.rule + row.bert + row.llm
            if settled and row.consumed + row.absent + row.lost >= SPAN:
                del self._rows[bucket]
        self._changed.clear()
        return taken

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        return msgspec.msgpack.encode(_Saved(self.VERSION, self._origin, list(self._rows.values()), self._changed))

    @classmethod
    def restore(cls, state: bytes) -> LedgerBook:
        """Return a book that goes on from a snapshot.

        Raises:
            ValueError: the snapshot is of another version.
        """
        saved = msgspec.msgpack.decode(state, type=_Saved)
        if saved.version != cls.VERSION:
            raise ValueError(f"ledger: snapshot version {saved.version} cannot be read")
        book = cls(saved.origin)
        book._rows = {row.bucket: row for row in saved.rows}
        book._changed = saved.changed
        return book


def _ranges(rules: dict[int, str]) -> dict[int, str]:
    """Return the versions by first offset, those left out that the one before says already."""
    kept: dict[int, str] = {}
    last = None
    for first in sorted(rules):
        if rules[first] != last:
            last = kept[first] = rules[first]
    return kept
