"""Time stamps of every kind to integer µs since the epoch, UTC. Caches by the second; bounded."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from .base import Malformed

#: Times before and from which nothing is believed: 2000-01-01 and 2100-01-01.
EARLIEST = 946_684_800_000_000
LATEST = 4_102_444_800_000_000
DAY = 86_400_000_000
#: Seconds that each cache holds before it starts afresh.
CACHE = 65_536

MONTHS = {
    m: i
    for i, m in enumerate(
        [
            "jan",
            "feb",
            "mar",
            "apr",
            "may",
            "jun",
            "jul",
            "aug",
            "sep",
            "oct",
            "nov",
            "dec",
        ],
        1,
    )
}

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?\s*(Z|z|UTC|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
#: Stamps with a zone, less their fraction, to µs.
_seconds: dict[str, int] = {}
#: Whole second, zone as written, and the zone of naive stamps, to µs.
_zoned: dict[tuple[str, str, tzinfo], int] = {}


def from_iso(text: str, zone: tzinfo) -> int:
    """Return the time of an ISO 8601 stamp, ``T`` or blank between, any fraction; ``zone`` is that of a naive one.

    Raises Malformed ``bad_time`` or ``time_out_of_range``.

    >>> from_iso("2018-03-24T17:15:20.865716Z", UTC)
    1521911720865716
    >>> from_iso("2017-03-24T11:15:38.5-0600", UTC) == from_iso("2017-03-24 17:15:38.500", UTC)
    True
    """
    # The stamp without its fraction is the key, so that one second is worked out once.
    if text[20:26].isdecimal() and text[19] == ".":
        second = _seconds.get(text[:19] + text[26:])
        if second is not None:
            return second + int(text[20:26])
    elif text[20:23].isdecimal() and text[19] == ".":
        second = _seconds.get(text[:19] + text[23:])
        if second is not None:
            return second + int(text[20:23]) * 1_000
    match = _ISO.fullmatch(text.strip())
    if match is None:
        raise Malformed("bad_time", f"no time stamp: {text[:60]!r}")
    year, month, day, hour, minute, sec, fraction, mark = match.groups()
    text = text.strip()
    key = (text[:19], mark or "", zone)
    time = _zoned.get(key)
    if time is None:
        where = _offset(mark) if mark else zone
        time = _moment(text, int(year), int(month), int(day), int(hour), int(minute), int(sec or 0), where)
        if len(_zoned) >= CACHE:
            _zoned.clear()
            _seconds.clear()
        _zoned[key] = time
        if mark and sec:
            _seconds[text[:19] + mark] = time
    return time + (_micros(fraction) if fraction else 0)


def from_number(value: float) -> int:
    """Return the time of a number of seconds, milliseconds, microseconds or nanoseconds since 1970, told by its size.

    Raises Malformed ``time_out_of_range``.

    >>> from_number(1521911720.865716), from_number(1521911720865)
    (1521911720865716, 1521911720865000)
    """
    if 946_684_800.0 <= value < 4_102_444_800.0:
        return int(value * 1_000_000 + 0.5)
    for scale in (1_000, 1, 0.001):
        if EARLIEST <= value * scale < LATEST:
            return round(value * scale)
    raise Malformed("time_out_of_range", f"time is {value!r}")


def from_stamp(value: str | float, zone: tzinfo) -> int:
    """Return the time of a stamp that may be text or a number (also a number in text)."""
    if type(value) is str:
        text = value.strip()
        if text[:1].isdigit() and text.replace(".", "", 1).isdecimal() and len(text) <= 32:
            return from_number(float(text))
        return from_iso(text, zone)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return from_number(value)
    raise Malformed("bad_type", f"time is of type {type(value).__name__}")


def moment(year: int, month: int, day: int, hour: int, minute: int, second: int, zone: tzinfo) -> int:
    """Return the time of a date and clock in a zone. Raises Malformed ``bad_time`` or ``time_out_of_range``."""
    return _moment(f"{year}-{month}-{day} {hour}:{minute}:{second}", year, month, day, hour, minute, second, zone)


def yearless(month: int, day: int, hour: int, minute: int, second: int, zone: tzinfo, reference: int) -> int:
    """Return the time of a stamp without year: the latest that is at most a day past ``reference`` (µs).

    A 29th of February goes to the latest leap year.
    """
    latest = reference + DAY
    this = datetime.fromtimestamp(latest // 1_000_000, UTC).year + 1
    for year in range(this, this - 10, -1):
        try:
            time = moment(year, month, day, hour, minute, second, zone)
        except Malformed as error:
            if error.reason == "bad_time" and (month, day) != (2, 29):
                raise
            continue
        if time <= latest:
            return time
    raise Malformed("time_out_of_range", f"no year fits {month}-{day} before {this}")


def _micros(fraction: str) -> int:
    return int(fraction[:6].ljust(6, "0"))


def _offset(mark: str) -> tzinfo:
    if mark in ("Z", "z", "UTC"):
        return UTC
    hours, minutes = int(mark[1:3]), int(mark[-2:]) if len(mark) > 3 else 0
    if hours > 18 or minutes > 59:
        raise Malformed("bad_time", f"no zone: {mark}")
    distance = timedelta(hours=hours, minutes=minutes)
    return timezone(-distance if mark[0] == "-" else distance)


def _moment(text: str, year: int, month: int, day: int, hour: int, minute: int, second: int, zone: tzinfo) -> int:
    if year < 2000 or year >= 2101:
        raise Malformed("time_out_of_range", f"time is {text[:60]!r}")
    try:
        # A leap second counts as the second after it, as in POSIX.
        at = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
    except ValueError as error:
        raise Malformed("bad_time", f"no time stamp: {text[:60]!r}") from error
    if second > 60:
        raise Malformed("bad_time", f"no time stamp: {text[:60]!r}")
    time = (int(at.timestamp()) + (second == 60)) * 1_000_000
    if not EARLIEST <= time < LATEST:
        raise Malformed("time_out_of_range", f"time is {text[:60]!r}")
    return time
