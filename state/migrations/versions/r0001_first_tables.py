"""alerts, evidence, hosts, host windows, ledger, alert reviews"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# What the flow owns is written by SET on the keys below. ``alert_reviews`` belongs to analysts: the flow never writes
# it, and it names alerts without a foreign key, so that neither side waits for or deletes the other's rows.
UPGRADE = (
    """
    CREATE TABLE alerts (
        id text PRIMARY KEY,
        kind text NOT NULL,
        rule text NOT NULL,
        name text NOT NULL,
        level smallint NOT NULL CHECK (level BETWEEN 0 AND 4),
        entity text NOT NULL,
        window_start timestamptz NOT NULL,
        first_seen timestamptz NOT NULL,
        last_seen timestamptz NOT NULL,
        count bigint NOT NULL,
        reason text NOT NULL,
        techniques text[] NOT NULL,
        tactics text[] NOT NULL,
        evidence text[] NOT NULL,
        versions jsonb NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX alerts_newest ON alerts (last_seen DESC, id DESC)",
    "CREATE INDEX alerts_entity ON alerts (entity, last_seen DESC)",
    """
    CREATE TABLE evidence (
        event_id text NOT NULL,
        alert_id text NOT NULL,
        entity text NOT NULL,
        time timestamptz NOT NULL,
        raw bytea NOT NULL,
        PRIMARY KEY (event_id, alert_id)
    )
    """,
    "CREATE INDEX evidence_alert ON evidence (alert_id, time)",
    "CREATE INDEX evidence_time ON evidence USING brin (time)",
    """
    CREATE TABLE hosts (
        host text PRIMARY KEY,
        events bigint NOT NULL,
        first_seen timestamptz NOT NULL,
        last_seen timestamptz NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX hosts_newest ON hosts (last_seen DESC, host)",
    """
    CREATE TABLE host_windows (
        host text NOT NULL,
        start timestamptz NOT NULL,
        seconds integer NOT NULL CHECK (seconds > 0),
        metrics text[] NOT NULL,
        "values" float8[] NOT NULL,
        scores float4[] NOT NULL,
        PRIMARY KEY (host, seconds, start)
    ) PARTITION BY RANGE (start)
    """,
    "CREATE INDEX host_windows_start ON host_windows (seconds, start)",
    """
    CREATE TABLE ledger (
        topic text NOT NULL,
        "partition" integer NOT NULL,
        bucket bigint NOT NULL,
        consumed bigint NOT NULL,
        rejected bigint NOT NULL,
        skipped bigint NOT NULL,
        absent bigint NOT NULL,
        rule bigint NOT NULL,
        bert bigint NOT NULL,
        llm bigint NOT NULL,
        late bigint NOT NULL,
        future bigint NOT NULL,
        sources jsonb NOT NULL,
        versions jsonb NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (topic, "partition", bucket)
    )
    """,
    "CREATE INDEX ledger_newest ON ledger (updated_at)",
    """
    CREATE TABLE alert_reviews (
        alert_id text PRIMARY KEY,
        status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'investigating', 'closed')),
        assignee text NOT NULL DEFAULT '',
        note text NOT NULL DEFAULT '',
        verdict text NOT NULL DEFAULT '' CHECK (verdict IN ('', 'true_positive', 'false_positive', 'benign')),
        author text NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
)

TABLES = ("alert_reviews", "ledger", "host_windows", "hosts", "evidence", "alerts")


def upgrade() -> None:
    """Create the first tables."""
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Drop them, with every partition of ``host_windows``."""
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
