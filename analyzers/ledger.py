"""Keep one partition's ledger: what became of every offset. Pure; counted in recovered state, written by SET."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

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
    rule: int = 0
    bert: int = 0
    llm: int = 0
    late: int = 0
    future: int = 0
    sources: dict[str, int] = {}
    versions: dict[str, str] = {}


_COUNTS = ("consumed", "rejected", "skipped", "absent", "rule", "bert", "llm", "late", "future")


class _Saved(msgspec.Struct):
    version: int
    origin: str
    rows: list[LedgerRow]


class LedgerBook:
    """The open rows of one partition. A row is forgotten when nothing can change it any more.

    >>> book = LedgerBook("telemetry-0")
    >>> deltas = [LedgerDelta("telemetry-0", 0, consumed=3, rule=2), LedgerDelta("telemetry-0", 0, rule=1)]
    >>> [row.rule for row in book.add(deltas)]
    [3]
    """

    VERSION = 1

    def __init__(self, origin: str) -> None:
        self._origin = origin
        topic, _, partition = origin.rpartition("-")
        self._topic, self._partition = topic, int(partition)
        self._rows: dict[int, LedgerRow] = {}

    def add(self, deltas: Iterable[LedgerDelta]) -> list[LedgerRow]:
        """Add counts; return the rows that changed, as they now are."""
        touched: dict[int, LedgerRow] = {}
        for delta in deltas:
            row = self._rows.get(delta.bucket)
            if row is None:
                row = self._rows[delta.bucket] = LedgerRow(
                    self._topic, self._partition, delta.bucket, sources={}, versions={}
                )
            for name in _COUNTS:
                value = getattr(delta, name)
                if value:
                    setattr(row, name, getattr(row, name) + value)
            for source, count in delta.sources.items():
                row.sources[source] = row.sources.get(source, 0) + count
            row.versions.update(delta.versions)
            touched[delta.bucket] = row
        changed = [msgspec.convert(msgspec.to_builtins(row), LedgerRow) for row in touched.values()]
        for bucket, row in touched.items():
            settled = row.consumed == row.rejected + row.skipped + row.rule + row.bert + row.llm
            if settled and row.consumed + row.absent >= SPAN:
                del self._rows[bucket]
        return changed

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        return msgspec.msgpack.encode(_Saved(self.VERSION, self._origin, list(self._rows.values())))

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
        return book
