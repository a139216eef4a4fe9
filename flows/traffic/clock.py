"""Times as each format writes them, and the rhythm of a week. Times are integer µs since the epoch, UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 3_600 * SECOND
DAY: Final = 24 * HOUR
WEEK_HOURS: Final = 168

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=4096)
def _iso_seconds(second: int, separator: str) -> str:
    return datetime.fromtimestamp(second, UTC).strftime(f"%Y-%m-%d{separator}%H:%M:%S")


def iso_millis(time: int) -> str:
    """Return ``2020-09-13T12:26:40.000Z``, as Winlogbeat writes it."""
    second, micros = divmod(time, SECOND)
    return f"{_iso_seconds(second, 'T')}.{micros // 1000:03d}Z"


def iso_micros(time: int, zone: str = "+0000") -> str:
    """Return ``2020-09-13T12:26:40.000000+0000``, as Suricata writes it."""
    second, micros = divmod(time, SECOND)
    return f"{_iso_seconds(second, 'T')}.{micros:06d}{zone}"


def spaced(time: int, millis: bool = False) -> str:
    """Return ``2020-09-13 12:26:40``, with ``.000`` where asked, as NXLog and Sysmon write it."""
    second, micros = divmod(time, SECOND)
    text = _iso_seconds(second, " ")
    return f"{text}.{micros // 1000:03d}" if millis else text


@lru_cache(maxsize=4096)
def _bsd_second(second: int) -> str:
    at = datetime.fromtimestamp(second, UTC)
    return f"{_MONTHS[at.month - 1]} {at.day:2d} {at:%H:%M:%S}"


def bsd(time: int) -> str:
    """Return ``Sep 13 12:26:40``, the year-less stamp of RFC 3164."""
    return _bsd_second(time // SECOND)


@lru_cache(maxsize=4096)
def _access_second(second: int) -> str:
    at = datetime.fromtimestamp(second, UTC)
    return f"{at.day:02d}/{_MONTHS[at.month - 1]}/{at:%Y:%H:%M:%S} +0000"


def access(time: int) -> str:
    """Return ``13/Sep/2020:12:26:40 +0000``, as web servers write it."""
    return _access_second(time // SECOND)


def _week(day: tuple[float, ...], weekend: tuple[float, ...]) -> tuple[float, ...]:
    """Return the 168 hourly weights of a week that starts on Monday 00:00, scaled to a mean of 1."""
    hours = day * 5 + weekend * 2
    mean = sum(hours) / WEEK_HOURS
    return tuple(hour / mean for hour in hours)


_NIGHT: Final = 0.06
_OFFICE_DAY: Final = (
    *(_NIGHT,) * 6, 0.15, 0.5, 1.0, 1.15, 1.1, 1.05, 0.7, 0.95, 1.1, 1.05, 0.95, 0.7, 0.3, 0.15, 0.1, *(_NIGHT,) * 3,
)  # fmt: skip
_VISITS: Final = (
    0.45, 0.35, 0.3, 0.25, 0.25, 0.3, 0.4, 0.6, 0.8, 1.0, 1.1, 1.15,
    1.2, 1.2, 1.25, 1.25, 1.2, 1.15, 1.1, 1.1, 1.05, 0.95, 0.8, 0.6,
)  # fmt: skip

#: Rhythms by name: relative load of each hour of a week in local time, mean 1.
RHYTHMS: Final[dict[str, tuple[float, ...]]] = {
    "office": _week(_OFFICE_DAY, tuple(max(_NIGHT, 0.1 * hour) for hour in _OFFICE_DAY)),
    "server": _week(tuple(0.4 + 0.6 * hour for hour in _OFFICE_DAY), tuple(0.4 + 0.05 * hour for hour in _OFFICE_DAY)),
    "visitors": _week(_VISITS, tuple(0.8 * hour for hour in _VISITS)),
    "steady": (1.0,) * WEEK_HOURS,
    "backup": _week((0.0, 1.0, 1.0, *(0.0,) * 21), (0.0, 1.0, 1.0, *(0.0,) * 21)),
    "morning": _week((*(0.0,) * 6, 1.0, *(0.0,) * 17), (*(0.0,) * 6, 1.0, *(0.0,) * 17)),
}


def load(rhythm: str, time: int, utc_offset_hours: float = 0.0) -> float:
    """Return how busy a rhythm is at a time, 1 on average over a week, in a straight line between the hours.

    >>> load("office", 4 * DAY + 10 * HOUR) > 10 * load("office", 4 * DAY + 3 * HOUR)  # Monday 5 January 1970
    True
    """
    # The epoch was a Thursday, three days after a Monday.
    hours = (time / HOUR + utc_offset_hours + 72.0) % WEEK_HOURS
    hour = int(hours)
    table = RHYTHMS[rhythm]
    here, there = table[hour % WEEK_HOURS], table[(hour + 1) % WEEK_HOURS]
    return here + (there - here) * (hours - hour)
