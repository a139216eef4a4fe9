"""The revisions of the database's schema: which are missing, and applying them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from state.postgres import SCHEMA_LOCK, DatabaseError, conninfo, explained


def migrate(dsn: str) -> list[str]:
    """Bring the schema to the newest revision; return what was applied, oldest first, as ``0001 what it does``.

    Everything happens in one transaction under an advisory lock: processes that start together apply each revision
    once, and a revision that fails leaves nothing behind. Raise ``DatabaseError``.
    """
    with explained(), schema_connection(dsn) as connection:
        config = alembic_config(connection)
        missing = _pending(connection, config)
        if missing:
            command.upgrade(config, "head")
    return missing


def pending(dsn: str) -> list[str]:
    """Return the revisions that ``migrate`` would apply, oldest first; changes nothing. Raise ``DatabaseError``."""
    info = conninfo(dsn, read_only=True)
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(info), poolclass=NullPool)
    with explained(), engine.connect() as connection:
        return _pending(connection, alembic_config(connection))


def _pending(connection: Connection, config: Config) -> list[str]:
    script = ScriptDirectory.from_config(config)
    now = MigrationContext.configure(connection).get_current_revision()
    if now is not None and now not in {revision.revision for revision in script.walk_revisions()}:
        raise DatabaseError(f"the database is at revision {now}, which this version of Winnow does not know")
    return [f"{r.revision} {r.doc}" for r in script.iterate_revisions("head", now or "base")][::-1]


@contextmanager
def schema_connection(dsn: str) -> Iterator[Connection]:
    """Lend a connection in a transaction that holds the schema lock; commit at the end, roll back on an error."""
    info = conninfo(dsn, statement_timeout=0)
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(info), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
            yield connection
    except DBAPIError as error:
        raise (error.orig or error) from None  # psycopg's own error, which ``explained`` knows


def alembic_config(connection: Connection) -> Config:
    """Return Alembic's configuration for Winnow's revisions over an open connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
