"""what an LLM is asked about, its answers, and what they cost"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Messages are kept as they were read and as they are published: bytes, whatever characters they hold. Money is in
# thousand-millionths of the currency of the settings. Rows of ``escalations`` are updated a few times each, most of
# them while they are young.
UPGRADE = (
    """
    CREATE TABLE escalations (
        id text PRIMARY KEY,
        event_id text NOT NULL,
        host text NOT NULL,
        stakes float8 NOT NULL,
        message bytea NOT NULL,
        status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'asking', 'answered', 'refused')),
        received_at timestamptz NOT NULL DEFAULT now(),
        not_before timestamptz NOT NULL DEFAULT now(),
        owner text,
        lease_until timestamptz,
        attempts integer NOT NULL DEFAULT 0,
        fault text NOT NULL DEFAULT '',
        question bytea,
        verdict bytea,
        label text NOT NULL DEFAULT '',
        severity text NOT NULL DEFAULT '',
        reason text NOT NULL DEFAULT '',
        cached boolean NOT NULL DEFAULT false,
        decided_at timestamptz,
        published boolean NOT NULL DEFAULT false,
        CHECK ((status IN ('answered', 'refused')) = (verdict IS NOT NULL)),
        CHECK ((status = 'asking') = (owner IS NOT NULL AND lease_until IS NOT NULL))
    ) WITH (fillfactor = 80)
    """,
    "CREATE INDEX escalations_waiting ON escalations (stakes DESC, received_at, id) WHERE status = 'waiting'",
    "CREATE INDEX escalations_asking ON escalations (lease_until) WHERE status = 'asking'",
    "CREATE INDEX escalations_question ON escalations (question) WHERE status = 'waiting' AND question IS NOT NULL",
    "CREATE INDEX escalations_unpublished ON escalations (decided_at) WHERE verdict IS NOT NULL AND NOT published",
    "CREATE INDEX escalations_decided ON escalations (decided_at DESC)",
    """
    CREATE TABLE llm_answers (
        question bytea PRIMARY KEY,
        prompt text NOT NULL,
        model text NOT NULL,
        owner text,
        lease_until timestamptz,
        answer bytea,
        answered_at timestamptz,
        expires_at timestamptz,
        CHECK ((answer IS NULL) = (owner IS NOT NULL AND lease_until IS NOT NULL)),
        CHECK ((answer IS NULL) = (expires_at IS NULL))
    )
    """,
    "CREATE INDEX llm_answers_expires ON llm_answers (expires_at)",
    """
    CREATE TABLE llm_budget (
        hour timestamptz PRIMARY KEY,
        spent bigint NOT NULL CHECK (spent >= 0),
        calls integer NOT NULL CHECK (calls >= 0)
    )
    """,
    """
    CREATE TABLE llm_calls (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        hour timestamptz NOT NULL,
        escalation_id text NOT NULL,
        reserved bigint NOT NULL CHECK (reserved >= 0),
        spent bigint CHECK (spent >= 0),
        outcome text NOT NULL DEFAULT '',
        asked_at timestamptz NOT NULL DEFAULT now(),
        settled_at timestamptz
    )
    """,
    "CREATE INDEX llm_calls_asked ON llm_calls (asked_at)",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    for table in ("llm_calls", "llm_budget", "llm_answers", "escalations"):
        op.execute(f"DROP TABLE {table}")
