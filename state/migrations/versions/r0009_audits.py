"""the audit sample of decided texts, and what analysts say of it"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# ``audit_reviews`` belongs to analysts: the flow never writes it.
UPGRADE = (
    """
    CREATE TABLE audits (
        event_id text PRIMARY KEY,
        host text NOT NULL,
        time timestamptz NOT NULL,
        source text NOT NULL,
        text text NOT NULL,
        label text NOT NULL,
        malicious float8 NOT NULL CHECK (malicious BETWEEN 0 AND 1),
        alerts_from float8 NOT NULL,
        model text NOT NULL,
        windows integer NOT NULL,
        screen boolean NOT NULL,
        said text NOT NULL,
        calibration text NOT NULL,
        one_in integer NOT NULL,
        seed bigint NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX audits_time ON audits (time)",
    """
    CREATE TABLE audit_reviews (
        event_id text PRIMARY KEY REFERENCES audits,
        truth text NOT NULL CHECK (truth IN ('malicious', 'benign')),
        author text NOT NULL,
        reason text NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    for table in ("audit_reviews", "audits"):
        op.execute(f"DROP TABLE {table}")
