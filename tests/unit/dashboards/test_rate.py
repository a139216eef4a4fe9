"""The figure "events a second": wrong, it hides a flow that stands still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dashboards.rate import RateMeter

START = datetime(2026, 2, 3, 2, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_one_reading_is_no_rate() -> None:
    meter = RateMeter()
    assert meter.per_second(at(0)) is None
    meter.add(1_000_000, at(0))
    assert meter.per_second(at(1)) is None


def test_the_rate_is_of_the_last_half_minute_not_of_all_time() -> None:
    meter = RateMeter()
    total = 0
    for second in range(121):
        meter.add(total, at(second))
        total += 100 if second < 60 else 1_000
    rate = meter.per_second(at(120))
    assert rate is not None
    assert abs(rate - 1_000) < 1


def test_reading_twice_between_writes_changes_nothing() -> None:
    meter = RateMeter()
    for second in (0, 0, 5, 5, 10, 10):
        meter.add(second * 50, at(second))
    assert meter.per_second(at(11)) == 50


def test_a_flow_that_stopped_writing_reads_nothing() -> None:
    meter = RateMeter()
    meter.add(0, at(0))
    meter.add(5_000, at(5))
    assert meter.per_second(at(34)) == 1_000
    assert meter.per_second(at(36)) == 0


def test_an_emptied_database_starts_anew() -> None:
    meter = RateMeter()
    meter.add(5_000, at(0))
    meter.add(10, at(5))
    assert meter.per_second(at(6)) is None
    meter.add(30, at(7))
    assert meter.per_second(at(7)) == 10
