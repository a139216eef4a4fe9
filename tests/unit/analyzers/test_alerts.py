"""Signals in any order, and again after a restart, must add up to the same alert."""

from __future__ import annotations

import random

import msgspec

from analyzers.alerts import OVERFLOW_RULE, AlertBook, AlertSettings
from state.alerts import MAX_EVIDENCE, Alert, Level, Signal
from state.schemas import validate_alert

MINUTE = 60_000_000


def hit(minute: int, rule: str = "r1", level: Level = Level.high) -> Signal:
    return Signal(
        "rule",
        rule,
        "Web shell",
        level,
        "web-1",
        minute * MINUTE,
        f"why {minute}",
        event_id=f"t-0-{minute}",
        raw=b"x" * 99,
    )


def final(book: AlertBook, signals: list[Signal]) -> dict[str, Alert]:
    return {u.alert.id: u.alert for signal in signals for u in book.add([signal])}


def test_order_of_signals_does_not_matter() -> None:
    signals = [hit(m, r) for m in range(100) for r in ("r1", "r2")]
    shuffled = random.Random(1).sample(signals, len(signals))
    assert final(AlertBook(AlertSettings()), signals) == final(AlertBook(AlertSettings()), shuffled)


def test_evidence_is_the_first_events_and_bounded() -> None:
    signals = [hit(m) for m in range(59, -1, -1)]
    (alert,) = final(AlertBook(AlertSettings()), signals).values()
    assert alert.evidence == tuple(f"t-0-{m}" for m in range(MAX_EVIDENCE))
    assert (alert.count, alert.reason) == (60, "why 0")


def test_evidence_copy_is_bounded() -> None:
    book = AlertBook(AlertSettings(evidence_bytes=256))
    (update,) = book.add([msgspec.structs.replace(hit(0), raw=b"x" * 10_000)])
    assert len(update.evidence[0].raw) == 256


def test_restart_goes_on_counting() -> None:
    book = AlertBook(AlertSettings())
    book.add([hit(1), hit(2)])
    book = AlertBook.restore(AlertSettings(), book.snapshot())
    (update,) = book.add([hit(3)])
    assert (update.alert.count, update.is_new) == (3, False)


def test_only_the_first_appearance_is_new_and_its_message_fits_the_schema() -> None:
    book = AlertBook(AlertSettings())
    updates = [book.add([hit(m)])[0] for m in (0, 1, 61)]
    assert [u.is_new for u in updates] == [True, False, True]
    for update in updates:
        validate_alert(update.alert.message())


def test_more_alerts_in_one_window_than_are_kept_apart_gather_in_one() -> None:
    book = AlertBook(AlertSettings(max_open=10))
    updates = [book.add([hit(m, f"r{m}")])[0] for m in range(59)]
    assert len(book) == 11
    assert sum(update.is_new for update in updates) == 11
    last = updates[-1].alert
    assert (last.rule, last.count, last.window_start, book.folded) == (OVERFLOW_RULE, 49, 0, 49)
    validate_alert(last.message())


def test_an_alert_that_went_never_begins_anew_under_its_id() -> None:
    book = AlertBook(AlertSettings(max_open=10))
    signals = [hit(60 * hour + n, f"r{n}") for hour in range(8) for n in range(4)]
    order = random.Random(3).choices(signals, k=2_000)
    counts: dict[str, int] = {}
    for start in range(0, len(order), 7):
        for update in book.add(order[start : start + 7]):
            assert update.alert.count > counts.get(update.alert.id, 0)
            counts[update.alert.id] = update.alert.count
    assert sum(counts.values()) == len(order)
    assert len(book) <= 12


def test_the_oldest_windows_go_first_and_a_restart_changes_nothing() -> None:
    signals = [hit(60 * hour + n, f"r{n}") for hour in range(40) for n in range(3)]
    whole, cut = AlertBook(AlertSettings(max_open=10)), AlertBook(AlertSettings(max_open=10))
    for signal in signals:
        expected = whole.add([signal])
        cut = AlertBook.restore(AlertSettings(max_open=10), cut.snapshot())
        assert cut.add([signal]) == expected
    assert len(cut) == 10


def test_forgotten_alerts_are_the_old_ones() -> None:
    book = AlertBook(AlertSettings())
    book.add([hit(0), hit(90)])
    book.forget(60 * MINUTE)
    assert [update.is_new for update in book.add([hit(91)])] == [False]
    book.forget(10_000 * MINUTE)
    assert len(book) == 0
