"""ledger: messages lost before they were read"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what was counted before had no losses apart from those entered as absent."""
    op.execute("ALTER TABLE ledger ADD COLUMN lost bigint NOT NULL DEFAULT 0")


def downgrade() -> None:
    """Enter losses as absent again, as revision 0001 does."""
    op.execute("UPDATE ledger SET absent = absent + lost")
    op.execute("ALTER TABLE ledger DROP COLUMN lost")
