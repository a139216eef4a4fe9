"""Alembic's revisions of Winnow's schema; ``state.postgres.migrate`` applies them."""
