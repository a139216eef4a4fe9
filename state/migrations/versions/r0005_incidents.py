"""incidents, what is part of them, and what analysts say of them"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# ``incident_reviews`` belongs to analysts: the flow never writes it.
UPGRADE = (
    """
    CREATE TABLE incidents (
        id text PRIMARY KEY,
        state text NOT NULL CHECK (state IN ('open', 'closed', 'merged')),
        severity smallint NOT NULL CHECK (severity BETWEEN 0 AND 4),
        score float8 NOT NULL,
        entities text[] NOT NULL,
        first_seen timestamptz NOT NULL,
        last_seen timestamptz NOT NULL,
        opened timestamptz,
        tactics text[] NOT NULL,
        techniques text[] NOT NULL,
        alert_count bigint NOT NULL,
        evidence text[] NOT NULL,
        title text NOT NULL,
        explanation text NOT NULL,
        aliases text[] NOT NULL,
        merged_into text NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX incidents_queue ON incidents (severity DESC, last_seen DESC, id DESC) WHERE state <> 'merged'",
    "CREATE INDEX incidents_newest ON incidents (last_seen DESC, id DESC)",
    """
    CREATE TABLE incident_alerts (
        incident_id text NOT NULL,
        alert_id text NOT NULL,
        "position" integer NOT NULL,
        PRIMARY KEY (incident_id, alert_id)
    )
    """,
    "CREATE INDEX incident_alerts_alert ON incident_alerts (alert_id)",
    """
    CREATE TABLE incident_reviews (
        incident_id text PRIMARY KEY,
        state text NOT NULL CHECK (state IN ('open', 'acknowledged', 'closed')),
        verdict text NOT NULL DEFAULT '' CHECK (verdict IN ('', 'true_positive', 'false_positive', 'benign')),
        severity smallint NOT NULL,
        author text NOT NULL,
        reason text NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    for table in ("incident_reviews", "incident_alerts", "incidents"):
        op.execute(f"DROP TABLE {table}")
