"""Postgres's binary COPY format, field by field: a third of the time of text, and nothing in it needs escaping.

The format is that of the manual's page on COPY, "Binary Format"; values as each type's ``send`` function writes them.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping, Sequence

from state.postgres import clean, clean_json

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"

#: Microseconds between the Unix epoch and Postgres's, 2000-01-01.
_EPOCH = 946_684_800_000_000
_TEXT, _FLOAT4, _FLOAT8 = 25, 700, 701

_length = struct.Struct(">i").pack
_fields = struct.Struct(">h").pack
_int2 = struct.Struct(">ih").pack
_int4 = struct.Struct(">ii").pack
_int8 = struct.Struct(">iq").pack
_float8 = struct.Struct(">id").pack


#: A field without a value.
NULL = struct.pack(">i", -1)


def row(*fields: bytes) -> bytes:
    """Return a row of encoded fields."""
    return _fields(len(fields)) + b"".join(fields)


def text(value: str) -> bytes:
    """Encode ``text``.

    >>> text("ab")
    b'\\x00\\x00\\x00\\x02ab'
    """
    return binary(clean(value).encode())


def binary(value: bytes) -> bytes:
    """Encode ``bytea``, or any other type from its bytes."""
    return _length(len(value)) + value


def boolean(value: bool) -> bytes:
    """Encode ``boolean``."""
    return binary(b"\x01" if value else b"\x00")


def int2(value: int) -> bytes:
    """Encode ``smallint``."""
    return _int2(2, value)


def int4(value: int) -> bytes:
    """Encode ``integer``."""
    return _int4(4, value)


def int8(value: int) -> bytes:
    """Encode ``bigint``."""
    return _int8(8, value)


def timestamp(value: int) -> bytes:
    """Encode ``timestamptz`` from µs since the Unix epoch."""
    return _int8(8, value - _EPOCH)


def timestamp_or_null(value: int) -> bytes:
    """Encode ``timestamptz``, 0 as null."""
    return timestamp(value) if value else _length(-1)


def double(value: float) -> bytes:
    """Encode ``float8``."""
    return _float8(8, value)


def jsonb(value: Mapping[str, str | int]) -> bytes:
    """Encode a flat mapping as ``jsonb``."""
    return binary(b"\x01" + clean_json(value).encode())


@functools.lru_cache(maxsize=4096)
def texts(values: tuple[str, ...]) -> bytes:
    """Encode ``text[]``. Hosts share their tuples of metric names, hence the cache."""
    return binary(_array(_TEXT, len(values)) + b"".join(text(value) for value in values))


def float8s(values: Sequence[float]) -> bytes:
    """Encode ``float8[]``."""
    return _floats("d", _FLOAT8, 8, values)


def float4s(values: Sequence[float]) -> bytes:
    """Encode ``float4[]``; raise ``OverflowError`` on a value beyond its range."""
    return _floats("f", _FLOAT4, 4, values)


def _floats(code: str, oid: int, size: int, values: Sequence[float]) -> bytes:
    flat: list[float] = []
    for value in values:
        flat += (size, value)
    return binary(_array(oid, len(values)) + _pairs(code, len(values)).pack(*flat))


@functools.cache
def _array(oid: int, count: int) -> bytes:
    # Dimensions, whether there are nulls, element type; then length and lower bound of the one dimension.
    return struct.pack(">iiiii", 1, 0, oid, count, 1) if count else struct.pack(">iii", 0, 0, oid)


@functools.cache
def _pairs(code: str, count: int) -> struct.Struct:
    return struct.Struct(">" + f"i{code}" * count)
