"""summaries of incidents by an LLM, and which escalations are about the same event"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# ``incident_summaries`` belongs to ``winnow triage``: neither the flow nor analysts write it. ``severity`` and
# ``tactics`` are what the incident had when the summary was last asked for.
UPGRADE = (
    "ALTER TABLE escalations ADD COLUMN subject bytea",
    "CREATE INDEX escalations_event ON escalations (event_id)",
    """
    CREATE TABLE incident_summaries (
        incident_id text PRIMARY KEY,
        status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'asking', 'written', 'refused')),
        severity smallint NOT NULL CHECK (severity BETWEEN 0 AND 4),
        tactics text[] NOT NULL,
        text text NOT NULL DEFAULT '',
        citations jsonb NOT NULL DEFAULT '[]',
        model text NOT NULL DEFAULT '',
        prompt text NOT NULL DEFAULT '',
        reason text NOT NULL DEFAULT '',
        cost double precision NOT NULL DEFAULT 0,
        received_at timestamptz NOT NULL DEFAULT now(),
        not_before timestamptz NOT NULL DEFAULT now(),
        attempts integer NOT NULL DEFAULT 0,
        owner text,
        lease_until timestamptz,
        written_at timestamptz,
        CHECK ((status = 'asking') = (owner IS NOT NULL AND lease_until IS NOT NULL)),
        CHECK ((text <> '') = (written_at IS NOT NULL))
    )
    """,
    "CREATE INDEX incident_summaries_open ON incident_summaries (severity DESC, received_at) "
    "WHERE status IN ('waiting', 'asking')",
)


def upgrade() -> None:
    """Create them."""
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TABLE incident_summaries")
    op.execute("DROP INDEX escalations_event")
    op.execute("ALTER TABLE escalations DROP COLUMN subject")
