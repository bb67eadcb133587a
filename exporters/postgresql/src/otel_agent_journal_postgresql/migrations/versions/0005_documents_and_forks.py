"""What a value apart is, documents, and from which session another was forked. Version 5."""

from alembic import op

revision = "5"
down_revision = "4"

STATEMENTS = (
    "ALTER TABLE blobs ADD COLUMN media_type text NOT NULL DEFAULT 'application/json'",
    "ALTER TABLE sessions ADD COLUMN forked_from text, ADD COLUMN forks json NOT NULL DEFAULT '[]'",
    """
    CREATE TABLE documents (
        scope text COLLATE "C", name text COLLATE "C", data bytea NOT NULL, version bigint NOT NULL, exact json,
        PRIMARY KEY (scope, name)
    )
    """,
)


def upgrade() -> None:
    """Add what there was none of."""
    for statement in STATEMENTS:
        op.execute(statement)
