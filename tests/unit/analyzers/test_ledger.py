"""The ledger must add up, survive a restart, and let go of what is settled."""

from __future__ import annotations

from analyzers.ledger import LedgerBook, LedgerDelta
from state.ledger import SPAN


def test_restart_goes_on_counting() -> None:
    book = LedgerBook("web-logs-3")
    book.add([LedgerDelta("web-logs-3", 0, consumed=10, rule=9, sources={"zeek.conn": 10}, versions={"rules": "a"})])
    book = LedgerBook.restore(book.snapshot())
    book.add([LedgerDelta("web-logs-3", 0, bert=1, sources={"zeek.conn": 1, "zeek.dns": 2})])
    (row,) = book.take()
    assert (row.topic, row.partition, row.consumed, row.rule, row.bert) == ("web-logs", 3, 10, 9, 1)
    assert row.sources == {"zeek.conn": 11, "zeek.dns": 2}


def test_settled_row_is_forgotten_and_an_open_one_kept() -> None:
    book = LedgerBook("t-0")
    book.add([LedgerDelta("t-0", 0, consumed=SPAN - 5, absent=5, rule=SPAN - 6)])
    book.take()
    assert len(book._rows) == 1
    book.add([LedgerDelta("t-0", 0, llm=1)])
    (row,) = book.take()
    assert row.consumed == row.rule + row.llm
    assert len(book._rows) == 0


def test_rows_given_out_do_not_change_afterwards() -> None:
    book = LedgerBook("t-0")
    book.add([LedgerDelta("t-0", 0, consumed=1)])
    (row,) = book.take()
    book.add([LedgerDelta("t-0", 0, consumed=1, sources={"x": 1})])
    assert (row.consumed, row.sources) == (1, {})


def test_row_that_was_not_yet_put_out_is_not_lost_in_a_restart() -> None:
    book = LedgerBook("t-0")
    book.add([LedgerDelta("t-0", 0, consumed=1)])
    book = LedgerBook.restore(book.snapshot())
    assert book.changed
    assert [row.consumed for row in book.take()] == [1]
    assert not book.changed
