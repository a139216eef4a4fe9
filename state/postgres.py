"""Postgres: its settings, connections that never show a password, and text that Postgres accepts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout
from pydantic import BaseModel, ConfigDict, Field, SecretStr

#: Advisory lock held while the schema changes. Stored data of a kind: every version of Winnow takes the same.
SCHEMA_LOCK = 0x57494E4E4F57  # "WINNOW"
#: Longest text that is part of a key, characters: four bytes each fit an index entry (2,704 bytes) with room to spare.
MAX_KEY_CHARS = 512

_REFUSED = re.compile("[\x00\ud800-\udfff]")
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@/\s]*@|(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)", re.IGNORECASE)


class PostgresSettings(BaseModel):
    """Where Winnow's database is and how it is used."""

    model_config = ConfigDict(extra="forbid")

    #: Connection URI or libpq conninfo; none means that no database is configured.
    dsn: SecretStr | None = Field(default=None, description="Connection URI or libpq conninfo; unset: no database.")
    pool_size: int = Field(default=4, ge=1, le=100, description="Most connections one process holds.")
    connect_timeout: float = Field(default=5.0, gt=0, le=120, description="Seconds to wait for a connection.")
    statement_timeout: float = Field(default=60.0, gt=0, description="Seconds after which the server ends a statement.")
    retention_days: int = Field(
        default=30, ge=1, description="Days of host windows, alerts and evidence that a prune keeps."
    )

    def required_dsn(self) -> str:
        """Return the DSN in the clear; raise ``DatabaseError`` if none is configured."""
        if self.dsn is None or not self.dsn.get_secret_value().strip():
            raise DatabaseError("no database is configured: set postgres.dsn or WINNOW_POSTGRES__DSN")
        return self.dsn.get_secret_value()

    def conninfo(self, *, read_only: bool = False) -> str:
        """Return libpq conninfo with the time-outs set; raise ``DatabaseError`` if no or a malformed DSN is set."""
        return conninfo(
            self.required_dsn(),
            connect_timeout=self.connect_timeout,
            statement_timeout=self.statement_timeout,
            read_only=read_only,
        )

    def reachable(self) -> None:
        """Open and close one connection; raise ``DatabaseError`` that says why it cannot be had."""
        with explained(), psycopg.connect(self.conninfo()) as connection:
            connection.execute("SELECT 1")


class DatabaseError(Exception):
    """The database cannot be reached or refused what was asked. One line, without any password."""


class DatabaseAway(DatabaseError):
    """The database cannot be reached, or broke off: the same may go through later."""


def conninfo(
    dsn: str, *, connect_timeout: float = 5.0, statement_timeout: float = 60.0, read_only: bool = False
) -> str:
    """Return ``dsn`` as libpq conninfo with time-outs in seconds and, if asked, a session that cannot write.

    What the DSN sets stays: it wins over the time-outs and the keepalive of TCP, never over ``read_only``.
    """
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.Error:
        # libpq's message quotes the part it could not read, which may be the password.
        raise DatabaseError("the database's DSN is no connection URI and no libpq conninfo") from None
    own = f"-c timezone=UTC -c statement_timeout={int(statement_timeout * 1000)}"
    options = f"{own} {given.pop('options', None) or ''}".strip()
    if read_only:
        options += " -c default_transaction_read_only=on"
    given.setdefault("connect_timeout", str(max(2, round(connect_timeout))))
    given.setdefault("application_name", "winnow")
    # A server that is gone without a word is given up after some 30 s; the kernel of one that is frozen still answers.
    given.setdefault("keepalives_idle", "10")
    given.setdefault("keepalives_interval", "5")
    given.setdefault("keepalives_count", "4")
    given.setdefault("tcp_user_timeout", "30000")
    return make_conninfo("", options=options, **given)


def redact(text: str) -> str:
    """Return ``text`` in one line with passwords of URIs and conninfo replaced.

    >>> redact("postgresql://winnow:secret@db/winnow password='a b' host=db")
    'postgresql://winnow:***@db/winnow password=*** host=db'
    """
    hidden = _PASSWORD.sub(lambda m: f"{m[1]}***@" if m[1] else f"{m[2]}***", text)
    return " ".join(hidden.split())


@contextmanager
def explained() -> Iterator[None]:
    """Turn what psycopg or its pool raise into a ``DatabaseError`` of one line without a password."""
    try:
        yield
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise DatabaseAway(_told(error)) from None
    except psycopg.Error as error:
        raise DatabaseError(_told(error)) from None


def _told(error: BaseException) -> str:
    # Bounded: Postgres quotes the row that it refuses.
    return f"Postgres: {redact(str(error))[:500] or type(error).__name__}"


def connect(dsn: str, *, read_only: bool = False, autocommit: bool = False) -> psycopg.Connection[Any]:
    """Open one connection; raise ``DatabaseError`` if that fails."""
    with explained():
        return psycopg.connect(conninfo(dsn, read_only=read_only), autocommit=autocommit)


def pool(settings: PostgresSettings, *, read_only: bool = False) -> ConnectionPool:
    """Return an open pool that grows to ``pool_size``. Close it when done.

    Its connections commit by themselves: open a transaction by ``connection.transaction()``.
    """
    return ConnectionPool(
        settings.conninfo(read_only=read_only),
        kwargs={"autocommit": True},
        min_size=1,
        max_size=settings.pool_size,
        timeout=settings.connect_timeout,
        # A new attempt for each who asks: on its own the pool doubles its pauses for five minutes, and after a long
        # outage sleeps on while the database is there again.
        reconnect_timeout=settings.connect_timeout,
        open=True,
    )


def clean(text: str) -> str:
    r"""Return ``text`` as Postgres takes it: NUL and lone surrogates become U+FFFD, visibly.

    >>> clean("a\x00b\ud800")
    'a\ufffdb\ufffd'
    """
    if text.isascii() and "\x00" not in text:
        return text
    return _REFUSED.sub("\ufffd", text)


def clean_key(text: str) -> str:
    """Return ``text`` clean and short enough for an index: a longer one is cut and ends in a digest of the whole.

    Two long keys that begin alike stay two keys.
    """
    if len(text) <= MAX_KEY_CHARS:
        return clean(text)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{clean(text[: MAX_KEY_CHARS - 20])}…{digest}"


def clean_json(value: Mapping[str, str | int]) -> str:
    """Return a flat mapping as JSON text that ``jsonb`` takes."""
    return json.dumps(
        {clean(k): clean(v) if isinstance(v, str) else v for k, v in value.items()}, ensure_ascii=False, sort_keys=True
    )
