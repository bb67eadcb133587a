"""Which session another one is part of, and which are part of it. Version 3."""

from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Add the two columns; no table is written anew."""
    op.execute("ALTER TABLE sessions ADD COLUMN part_of text, ADD COLUMN parts json NOT NULL DEFAULT '[]'")
