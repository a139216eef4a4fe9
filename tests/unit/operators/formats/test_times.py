"""Times are right to the microsecond, in UTC, whatever way they are written."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.formats import Malformed
from operators.formats.times import EARLIEST, LATEST, from_iso, from_number, from_stamp, yearless

NOON = int(datetime(2020, 9, 13, 12, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2020-09-13T12:00:00Z", 0),
        ("2020-09-13T12:00:00.5Z", 500_000),
        ("2020-09-13T12:00:00.123Z", 123_000),
        ("2020-09-13T12:00:00.123456Z", 123_456),
        ("2020-09-13T12:00:00.123456789Z", 123_456),
        ("2020-09-13T06:00:00.000001-0600", 1),
        ("2020-09-13T17:30:00+05:30", 0),
        ("2020-09-13 12:00:00", 0),
        ("2020-09-13 12:00:00,250", 250_000),
        ("2020-09-13T11:59:60Z", 0),
    ],
)
def test_iso(text: str, micros: int) -> None:
    for _ in range(2):  # the second time from the cache
        assert from_iso(text, UTC) == NOON + micros


@given(
    st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30)),
    st.sampled_from(["Z", "+00:00", "+0530", "-08:00", "+14:00"]),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_iso_agrees_with_the_standard_library(moment: datetime, zone: str, precision: str) -> None:
    text = moment.isoformat(timespec=precision) + zone
    expected = datetime.fromisoformat(text)
    micros = int(expected.replace(microsecond=0).timestamp()) * 1_000_000 + expected.microsecond
    assert from_iso(text, UTC) == micros == from_iso(text, UTC)


def test_a_naive_stamp_belongs_to_the_zone_that_is_set() -> None:
    assert from_iso("2020-09-13 08:00:00", ZoneInfo("America/New_York")) == NOON
    assert from_iso("2020-09-13 14:00:00", ZoneInfo("Europe/Berlin")) == NOON
    assert from_iso("2020-09-13 12:00:00Z", ZoneInfo("Europe/Berlin")) == NOON


@pytest.mark.parametrize("value", [NOON / 1e6, NOON // 1_000_000, NOON // 1_000, NOON, NOON * 1_000, str(NOON / 1e6)])
def test_numbers_tell_their_unit_by_their_size(value: float | str) -> None:
    assert abs(from_stamp(value, UTC) - NOON) <= 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (0, "time_out_of_range"),
        (-1, "time_out_of_range"),
        (10**40, "time_out_of_range"),
        (float("inf"), "time_out_of_range"),
        (float("nan"), "time_out_of_range"),
        (True, "bad_type"),
        ([1], "bad_type"),
        ("9999-12-31T23:59:59Z", "time_out_of_range"),
        ("0001-01-01T00:00:00+14:00", "time_out_of_range"),
        ("2100-01-01T00:00:00Z", "time_out_of_range"),
        ("2020-02-30T00:00:00Z", "bad_time"),
        ("2020-01-01T25:00:00Z", "bad_time"),
        ("2020-01-01T00:00:61Z", "bad_time"),
        ("2020-01-01T00:00:00+99:99", "bad_time"),
        ("２０２０-01-01T00:00:00Z", "bad_time"),
        ("", "bad_time"),
        ("x" * 100_000, "bad_time"),
    ],
)
def test_what_is_no_time(value: object, reason: str) -> None:
    with pytest.raises(Malformed) as error:
        from_stamp(value, UTC)  # type: ignore[arg-type]
    assert error.value.reason == reason


@given(st.floats(min_value=946_684_800, max_value=4_102_444_799))
def test_epoch_seconds_stay_in_range(value: float) -> None:
    assert EARLIEST <= from_number(value) <= LATEST


@pytest.mark.parametrize(
    ("stamp", "reference", "year"),
    [
        ((12, 10), "2024-12-10", 2024),
        ((12, 31), "2025-01-01", 2024),  # yesterday's log, read after midnight of New Year
        ((1, 1), "2024-12-31", 2025),  # a clock ahead by hours, or a zone further east
        ((1, 2), "2024-12-30", 2024),  # but never by more than a day
        ((2, 29), "2023-06-01", 2020),
    ],
)
def test_a_stamp_without_year_is_at_most_a_day_ahead(stamp: tuple[int, int], reference: str, year: int) -> None:
    at = int(datetime.fromisoformat(reference + "T12:00:00+00:00").timestamp()) * 1_000_000
    time = yearless(*stamp, 6, 0, 0, UTC, at)
    assert datetime.fromtimestamp(time / 1e6, UTC).year == year
