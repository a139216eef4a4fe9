"""Daily partitions of ``host_windows``: made when a window of that day is first written, dropped by age."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from state.postgres import SCHEMA_LOCK

#: Advisory lock held while partitions are made or dropped.
PARTITION_LOCK = SCHEMA_LOCK + 1
PARENT = "host_windows"

_NAME = re.compile(rf"{PARENT}_(\d{{8}})")
_DAY = 86_400 * 1_000_000


def day_of(time: int) -> int:
    """Return the UTC day of a time in µs, as days since the epoch.

    >>> day_of(86_400_000_000), day_of(-1)
    (1, -1)
    """
    return time // _DAY


def partition_name(day: int) -> str:
    """Return the name of a day's partition.

    >>> partition_name(18518)
    'host_windows_20200913'
    """
    return f"{PARENT}_{_date(day):%Y%m%d}"


def existing_days(connection: psycopg.Connection[Any]) -> set[int]:
    """Return the days that have a partition."""
    rows = connection.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass",
        (PARENT,),
    )
    epoch = date(1970, 1, 1)
    days = set()
    for (name,) in rows:
        if match := _NAME.fullmatch(name):
            days.add((datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC).date() - epoch).days)
    return days


def ensure_days(connection: psycopg.Connection[Any], days: Iterable[int]) -> set[int]:
    """Make the partitions of ``days`` that are missing, in one transaction; return all days that have one.

    A partition is built apart and attached, which, unlike ``CREATE TABLE … PARTITION OF``, lets readers and writers of
    the other days go on. Safe from many processes at once.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (PARTITION_LOCK,))
        existing = existing_days(connection)
        missing = sorted(set(days) - existing)
        for day in missing:
            parent, child = sql.Identifier(PARENT), sql.Identifier(partition_name(day))
            connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(child, parent))
            connection.execute(
                sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                    parent, child, _bound(day), _bound(day + 1)
                )
            )
    return existing.union(missing)


def drop_before(connection: psycopg.Connection[Any], day: int) -> int:
    """Drop the partitions of days before ``day``, each in its own transaction; return how many.

    A drop waits at most 5 s for its lock, because everybody else queues behind it; then it raises
    ``psycopg.errors.LockNotAvailable``.
    """
    dropped = 0
    for old in sorted(d for d in existing_days(connection) if d < day):
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (PARTITION_LOCK,))
            connection.execute("SET LOCAL lock_timeout = '5s'")
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(partition_name(old))))
        dropped += 1
    return dropped


def _bound(day: int) -> sql.Literal:
    return sql.Literal(f"{_date(day):%Y-%m-%d} 00:00:00+00")


def _date(day: int) -> date:
    return date(1970, 1, 1) + timedelta(days=day)
