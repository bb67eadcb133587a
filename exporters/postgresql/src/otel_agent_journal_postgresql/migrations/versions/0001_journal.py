"""The tables of the journal, version 1. Never changed again: what is new is another migration."""

from alembic import op

revision = "1"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE events (
        session_id text COLLATE "C" NOT NULL, timestamp_ns bigint NOT NULL, event_id text COLLATE "C" NOT NULL,
        type text NOT NULL, level text NOT NULL, name text, writer text,
        instance_id text COLLATE "C", sequence_number bigint,
        step_id text, parent_step_id text, attempt bigint, trace_id text, span_id text,
        outcome text, duration_ns bigint, error_type text, error_message text, error_code text,
        input_tokens bigint, output_tokens bigint, cache_read_tokens bigint, cache_write_tokens bigint,
        reasoning_tokens bigint, details json, digest text, schema_version integer NOT NULL, exact json,
        transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
        arrival bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
        PRIMARY KEY (session_id, timestamp_ns, event_id),
        CONSTRAINT events_sequence_of_an_instance
            CHECK (sequence_number IS NULL OR sequence_number >= 0 AND instance_id IS NOT NULL),
        CONSTRAINT events_keys_fit CHECK (
            octet_length(session_id) <= 512 AND octet_length(event_id) <= 512 AND octet_length(instance_id) <= 512
        )
    )
    """,
    "CREATE INDEX events_by_arrival ON events (transaction, arrival)",
    "CREATE INDEX events_of_session_by_arrival ON events (session_id, transaction, arrival)",
    """
    CREATE UNIQUE INDEX events_sequence ON events (instance_id, sequence_number) WHERE sequence_number IS NOT NULL
    """,
    """
    CREATE UNIQUE INDEX events_in_instance ON events (instance_id, event_id) WHERE sequence_number IS NOT NULL
    """,
    """
    CREATE TABLE agent_instances (
        instance_id text COLLATE "C" PRIMARY KEY, session_id text COLLATE "C" NOT NULL, last_seq bigint NOT NULL,
        CONSTRAINT agent_instances_last_seq CHECK (last_seq >= 0)
    )
    """,
    "CREATE INDEX agent_instances_of_session ON agent_instances (session_id)",
    """
    CREATE TABLE sessions (
        session_id text COLLATE "C" PRIMARY KEY, status text NOT NULL, reason text, agent text COLLATE "C",
        stage text, progress double precision,
        events bigint NOT NULL, steps bigint NOT NULL, errors bigint NOT NULL,
        input_tokens bigint NOT NULL, output_tokens bigint NOT NULL, cache_read_tokens bigint NOT NULL,
        cache_write_tokens bigint NOT NULL, reasoning_tokens bigint NOT NULL,
        started_ns bigint NOT NULL, updated_ns bigint NOT NULL, ended_ns bigint,
        writers json NOT NULL, open_writers json NOT NULL, version bigint NOT NULL, exact json,
        CONSTRAINT sessions_version CHECK (version > 0),
        CONSTRAINT sessions_key_fits CHECK (octet_length(session_id) <= 512)
    )
    """,
    "CREATE INDEX sessions_by_time ON sessions (updated_ns DESC, session_id)",
    "CREATE INDEX sessions_by_status ON sessions (status, updated_ns DESC, session_id)",
    """
    CREATE TABLE blobs (
        session_id text COLLATE "C" NOT NULL, digest text COLLATE "C" NOT NULL, data bytea NOT NULL,
        PRIMARY KEY (session_id, digest)
    )
    """,
)


def upgrade() -> None:
    """Make them."""
    for statement in STATEMENTS:
        op.execute(statement)
