"""ledger: which version of the rules judged which offsets"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column: version by first offset, which JSON writes as text; of older rows nothing is known."""
    op.execute("ALTER TABLE ledger ADD COLUMN rules jsonb NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    """Forget it."""
    op.execute("ALTER TABLE ledger DROP COLUMN rules")
