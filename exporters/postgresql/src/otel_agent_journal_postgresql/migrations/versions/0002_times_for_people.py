"""Times that people read, made by the server of the nanoseconds beside them. Version 2."""

from alembic import op

revision = "2"
down_revision = "1"

COLUMNS = {
    "events": {"happened_at": "timestamp_ns"},
    "sessions": {"started_at": "started_ns", "updated_at": "updated_ns", "ended_at": "ended_ns"},
}


def upgrade() -> None:
    """Add them; each table is written anew once."""
    for table, columns in COLUMNS.items():
        added = ", ".join(
            f"ADD COLUMN {name} timestamptz GENERATED ALWAYS AS"
            f" (to_timestamp({nanoseconds}::double precision / 1000000000::double precision)) STORED"
            for name, nanoseconds in columns.items()
        )
        op.execute(f"ALTER TABLE {table} {added}")
