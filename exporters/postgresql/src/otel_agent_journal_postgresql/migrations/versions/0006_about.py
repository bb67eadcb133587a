"""Whose a session is, and which processes wrote it. Version 6."""

from alembic import op

revision = "6"
down_revision = "5"


def upgrade() -> None:
    """Add what there was none of."""
    op.execute("ALTER TABLE sessions ADD COLUMN about json NOT NULL DEFAULT '{}'")
