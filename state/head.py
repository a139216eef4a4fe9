"""Whether a database has all tables, without Alembic, which takes most of a second to import."""

from __future__ import annotations

import pkgutil

import psycopg

import state.migrations.versions
from state.postgres import connect, explained

#: The newest revision of the schema.
NEWEST = max(module.name for module in pkgutil.iter_modules(state.migrations.versions.__path__))[1:5]


def at_newest(dsn: str) -> bool:
    """Say whether a database is at the newest revision; if not, ``state.revisions.pending`` says why.

    Raises:
        DatabaseError: it is not configured or cannot be reached.
    """
    with connect(dsn, read_only=True, autocommit=True) as database, explained():
        try:
            rows = database.execute("SELECT version_num FROM alembic_version").fetchall()
        except psycopg.errors.UndefinedTable:
            return False
    return rows == [(NEWEST,)]
