"""Ledger: what became of every offset, as a step keyed by partition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bytewax.operators import StatefulBatchLogic

from analyzers.ledger import LedgerBook, LedgerDelta
from state.ledger import LedgerRow


class LedgerLogic(StatefulBatchLogic[LedgerDelta, LedgerRow, bytes]):
    """Wrap a LedgerBook for ``op.stateful_batch``."""

    def __init__(self, state: bytes | None) -> None:
        self._book = LedgerBook.restore(state) if state is not None else None

    def on_batch(self, values: list[LedgerDelta]) -> tuple[Iterable[LedgerRow], bool]:
        """Add counts; emit each row touched once."""
        if self._book is None:
            self._book = LedgerBook(values[0].origin)
        return self._book.add(values), StatefulBatchLogic.RETAIN

    def snapshot(self) -> Any:
        """Return the book's state."""
        return self._book.snapshot() if self._book is not None else None
