"""Where in its session each event arrived, and which of them the session's head knows. Version 4."""

from alembic import op

revision = "4"
down_revision = "3"

STATEMENTS = (
    "ALTER TABLE events ADD COLUMN number bigint",
    """
    CREATE TABLE arrivals (
        session_id text COLLATE "C" PRIMARY KEY, incarnation bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
        last bigint NOT NULL, in_head bigint NOT NULL,
        unsettled boolean GENERATED ALWAYS AS (last > in_head) STORED,
        CONSTRAINT arrivals_key_fits CHECK (octet_length(session_id) <= 512)
    ) WITH (fillfactor = 70)
    """,
    """
    UPDATE events SET number = placed.number FROM (
        SELECT session_id, timestamp_ns, event_id,
            row_number() OVER (PARTITION BY session_id ORDER BY transaction, arrival) AS number FROM events
    ) AS placed
    WHERE (events.session_id, events.timestamp_ns, events.event_id)
        = (placed.session_id, placed.timestamp_ns, placed.event_id)
    """,
    "INSERT INTO arrivals (session_id, last, in_head) SELECT session_id, count(*), 0 FROM events GROUP BY session_id",
    "ALTER TABLE events ALTER COLUMN number SET NOT NULL",
    "DROP INDEX events_of_session_by_arrival",
    "CREATE INDEX events_of_session_by_number ON events (session_id, number)",
    "CREATE INDEX arrivals_unsettled ON arrivals (session_id) WHERE unsettled",
    "ALTER TABLE sessions ADD COLUMN cursor text, ADD COLUMN snapshot bytea NOT NULL DEFAULT ''",
    "CREATE INDEX sessions_by_agent ON sessions (agent, updated_ns DESC, session_id)",
)


def upgrade() -> None:
    """Number the events of each session in the order that followers have had them in; no head knows of them yet."""
    for statement in STATEMENTS:
        op.execute(statement)
