"""suppressions, and what each of them suppressed"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# ``suppressions`` belongs to analysts: the flow never writes it.
UPGRADE = (
    """
    CREATE TABLE suppressions (
        id text PRIMARY KEY,
        rule text,
        entity text,
        fields jsonb NOT NULL,
        author text NOT NULL,
        reason text NOT NULL,
        created_at timestamptz NOT NULL,
        from_time timestamptz NOT NULL,
        until_time timestamptz,
        told_at timestamptz,
        removed_at timestamptz,
        removed_from timestamptz,
        removed_by text,
        removed_reason text,
        CHECK (rule IS NOT NULL OR entity IS NOT NULL)
    )
    """,
    """
    CREATE TABLE suppressed (
        id text PRIMARY KEY,
        suppression text NOT NULL,
        entity text NOT NULL,
        kind text NOT NULL,
        rule text NOT NULL,
        day timestamptz NOT NULL,
        count bigint NOT NULL,
        first_seen timestamptz NOT NULL,
        last_seen timestamptz NOT NULL,
        last_event text NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX suppressed_by ON suppressed (suppression)",
    "CREATE INDEX suppressed_last ON suppressed (last_seen)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    for table in ("suppressed", "suppressions"):
        op.execute(f"DROP TABLE {table}")
