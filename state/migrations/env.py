"""What Alembic runs: the revisions, over the connection and in the transaction that ``state.postgres`` opened."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=None)
with context.begin_transaction():
    context.run_migrations()
