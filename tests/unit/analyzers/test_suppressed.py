"""What is suppressed is counted: the same in any order, after a restart, and within bounds."""

from __future__ import annotations

import random

from analyzers.alerts import AlertBook, AlertSettings
from analyzers.suppressed import MAX_KEPT, OVERFLOW_RULE, SuppressedBook
from state.alerts import Level, Signal
from state.suppressions import DAY, Suppressed


def hit(time: int, rule: str = "r1", by: str = "c-1", **more: int) -> Signal:
    return Signal("rule", rule, "Rule", Level.high, "web-1", time, "why", event_id=f"t-0-{time}", suppressed=by, **more)  # type: ignore[arg-type]


def test_counts_do_not_depend_on_order_or_on_restarts_and_make_no_alert() -> None:
    signals = [hit(n * DAY // 10, rule, by) for n in range(20) for rule in ("r1", "r2") for by in ("c-1", "c-2")]
    results = []
    for seed in range(3):
        book = AlertBook(AlertSettings())
        counts: dict[tuple[str, str, int], Suppressed] = {}
        shuffled = random.Random(seed).sample(signals, len(signals))
        for first in range(0, len(shuffled), 7):
            counts |= {(c.suppression, c.rule, c.day): c for c in book.suppress(shuffled[first : first + 7])}
            book = AlertBook.restore(AlertSettings(), book.snapshot())
        assert len(book) == len(counts) == 8
        results.append(counts)
    assert results[0] == results[1] == results[2]
    one = results[0]["c-1", "r1", DAY]
    assert (one.count, one.first_seen, one.last_seen, one.last_event) == (
        10,
        DAY,
        19 * DAY // 10,
        f"t-0-{one.last_seen}",
    )


def test_what_stands_for_many_counts_as_many_and_an_event_wins_over_none() -> None:
    book = SuppressedBook()
    book.add([hit(5, count=7, last=60)])
    metric = Signal("rule", "r1", "Rule", Level.low, "web-1", 99, "why", suppressed="c-1")
    (count,) = book.add([metric])
    assert (count.count, count.last_seen, count.last_event) == (8, 99, "t-0-5")


def test_a_flood_of_rules_is_bounded_and_nothing_goes_uncounted() -> None:
    book = SuppressedBook()
    last: dict[tuple[str, int], Suppressed] = {}
    for number in range(2_000):
        for count in book.add([hit(DAY * (number // 1_000), f"r{number}")]):
            last[count.rule, count.day] = count
    assert len(book) <= MAX_KEPT + 1
    assert sum(count.count for count in last.values()) == 2_000
    assert {day for rule, day in last if rule == OVERFLOW_RULE} == {0, DAY}
    book.forget(DAY)
    assert all(count.day == DAY for count in book.snapshot())
