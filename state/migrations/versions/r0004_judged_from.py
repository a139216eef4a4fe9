"""hosts: from when on their metrics tell anomalies"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; it is unknown until the host is seen again."""
    op.execute("ALTER TABLE hosts ADD COLUMN judged_from timestamptz")


def downgrade() -> None:
    """Forget it."""
    op.execute("ALTER TABLE hosts DROP COLUMN judged_from")
