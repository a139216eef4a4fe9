"""Ledger: what became of every offset, as a step keyed by partition."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from bytewax.operators import StatefulBatchLogic

from analyzers.ledger import LedgerBook, LedgerDelta
from state.ledger import LedgerRow

#: How often a row that changes is put out, at most. (A row a batch cost an eighth of the flow's time in Postgres.)
INTERVAL = timedelta(milliseconds=250)


class LedgerLogic(StatefulBatchLogic[LedgerDelta, LedgerRow, bytes]):
    """Wrap a LedgerBook for ``op.stateful_batch``. What is not yet put out is part of the snapshot."""

    def __init__(self, state: bytes | None) -> None:
        self._book = LedgerBook.restore(state) if state is not None else None
        self._due: datetime | None = datetime.now(UTC) if state is not None else None

    def on_batch(self, values: list[LedgerDelta]) -> tuple[Iterable[LedgerRow], bool]:
        """Add counts; they are put out when the interval has passed."""
        if self._book is None:
            self._book = LedgerBook(values[0].origin)
        self._book.add(values)
        if self._due is None:
            self._due = datetime.now(UTC) + INTERVAL
        return (), StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[LedgerRow], bool]:
        """Put out the rows that changed."""
        self._due = None
        return self._book.take() if self._book is not None else (), StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[LedgerRow], bool]:
        """Put out the rows that changed: the source has stopped."""
        return self.on_notify()

    def notify_at(self) -> datetime | None:
        """Return when rows are to be put out; there are few partitions, so looking at all of them is cheap."""
        return self._due

    def snapshot(self) -> Any:
        """Return the book's state."""
        return self._book.snapshot() if self._book is not None else None
