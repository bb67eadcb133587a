"""A view of the context of agents, and what these are called. Version 7."""

# ruff: noqa: S608 - made of constants of ours

from alembic import op

revision = "7"
down_revision = "6"

# The server unfolds every escape of what it takes apart, and refuses NUL: what has one stays whole, else it would cost
# the event, or whoever reads the view.
_CAN_BE_READ = r"strpos(details::text, '\u0000') = 0"
_CALL_ID = f"""
    CASE type
        WHEN 'TOOL_CALL' THEN CASE WHEN {_CAN_BE_READ} THEN left(details #>> '{{call,id}}', 512) END
        WHEN 'TOOL_RESULT' THEN CASE WHEN {_CAN_BE_READ} THEN left(details #>> '{{message,tool_call_id}}', 512) END
    END
"""
STATEMENTS = (
    "ALTER TABLE agent_instances RENAME COLUMN instance_id TO id",
    "ALTER TABLE agent_instances ADD COLUMN name text",
    'ALTER TABLE agent_instances ADD COLUMN parent_id text COLLATE "C"',
    f"""
    UPDATE agent_instances
    SET name = first.details #>> '{{agent,name}}', parent_id = first.details #>> '{{agent,parent}}'
    FROM events AS first
    WHERE first.instance_id = agent_instances.id AND first.sequence_number = 0
        AND {_CAN_BE_READ.replace("details", "first.details")}
    """,
    f"CREATE INDEX events_tool_call ON events (({_CALL_ID})) WHERE sequence_number IS NOT NULL",
    f"""
    CREATE VIEW agent_context_events AS
    SELECT event_id AS id, instance_id, sequence_number, type AS event_type,
        CASE WHEN {_CAN_BE_READ} THEN coalesce(details -> 'message', details -> 'call', details) ELSE details END
            AS content,
        {_CALL_ID} AS tool_call_id, happened_at AS created_at
    FROM events WHERE sequence_number IS NOT NULL
    """,
)


def upgrade() -> None:
    """Add what there was none of."""
    for statement in STATEMENTS:
        op.execute(statement)
