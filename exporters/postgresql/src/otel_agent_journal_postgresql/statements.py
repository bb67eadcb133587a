"""The statements of the hot paths, as text: what is prepared once a connection and executed for every batch and page.

All that varies is a parameter. Listings and heads, whose conditions vary, are made of `tables` with SQLAlchemy.
"""

# ruff: noqa: S608 - made of constants of ours

from __future__ import annotations

from typing import Final

from otel_agent_journal_postgresql.rows import EVENT_COLUMNS, READ_COLUMNS

CHANNEL: Final = "agent_journal"  # of NOTIFY
FOLLOWERS_LOCK: Final = 0x4F414A31_464F4C4C  # "OAJ1FOLL": held shared by whoever listens
PREPARING_LOCK: Final = 0x4F414A31_494E4954  # "OAJ1INIT": held by whoever makes tables

_FIELDS: Final = (
    "session_id text, timestamp_ns bigint, event_id text, type text, level text, name text, writer text,"
    " instance_id text, seq bigint, step_id text, parent_step_id text, attempt bigint, trace_id text, span_id text,"
    " outcome text, duration_ns bigint, error json, usage json, details json, details_text text, digest text,"
    " schema_version integer, exact text"
)
_TOKENS: Final = ", ".join(
    f"coalesce(given.usage ->> '{name}', CASE WHEN json_typeof(given.usage) = 'object' THEN '0' END)::bigint"
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
)
_ERROR: Final = (
    "given.error ->> 'type',"
    " coalesce(given.error ->> 'message', CASE WHEN json_typeof(given.error) = 'object' THEN '' END),"
    " given.error ->> 'code'"
)
_INSERT: Final = f"""
INSERT INTO events ({EVENT_COLUMNS})
SELECT given.session_id, given.timestamp_ns, given.event_id, given.type, given.level, given.name, given.writer,
    given.instance_id, given.seq, given.step_id, given.parent_step_id, given.attempt, given.trace_id, given.span_id,
    given.outcome, given.duration_ns, {_ERROR}, {_TOKENS},
    coalesce(given.details, given.details_text::json), given.digest, given.schema_version, given.exact::json
FROM json_to_recordset(%s::json) AS given ({_FIELDS})"""

APPEND: Final = f"{_INSERT} ON CONFLICT (session_id, timestamp_ns, event_id) DO NOTHING"

# One statement, one winner: the row of the instance is locked, and looked at again after any wait for the lock.
# Parameters: instance, session, last number; the events.
_BEGIN_INSTANCE: Final = """
WITH won AS (
    INSERT INTO agent_instances (instance_id, session_id, last_seq) VALUES (%s, %s, %s)
    ON CONFLICT (instance_id) DO NOTHING RETURNING 1
)"""
# Parameters: last number, instance, session, the number before the first; the events.
_EXTEND_INSTANCE: Final = """
WITH won AS (
    UPDATE agent_instances SET last_seq = %s WHERE instance_id = %s AND session_id = %s AND last_seq = %s RETURNING 1
)"""
BEGIN_CONTEXT: Final = f"{_BEGIN_INSTANCE}{_INSERT} WHERE EXISTS (SELECT FROM won)"
EXTEND_CONTEXT: Final = f"{_EXTEND_INSTANCE}{_INSERT} WHERE EXISTS (SELECT FROM won)"

READ: Final = f"SELECT {READ_COLUMNS} FROM events WHERE session_id = %s ORDER BY timestamp_ns, event_id LIMIT %s"
READ_AFTER: Final = (
    f"SELECT {READ_COLUMNS} FROM events WHERE session_id = %s AND (timestamp_ns, event_id) > (%s::bigint, %s)"
    " ORDER BY timestamp_ns, event_id LIMIT %s"
)
READ_CONTEXT: Final = (
    f"SELECT {READ_COLUMNS} FROM events WHERE instance_id = %s AND sequence_number >= %s::bigint"
    " AND sequence_number IS NOT NULL ORDER BY sequence_number LIMIT %s"
)

# What is visible now. A replica does not know which transactions are open, only that none is below its xmin.
_NOW: Final = """
SELECT CASE WHEN pg_is_in_recovery() THEN concat(pg_snapshot_xmin(now), ':', pg_snapshot_xmin(now), ':')::pg_snapshot
    ELSE now END
FROM pg_current_snapshot() AS now"""
# No aggregate: max() of xid8 is there from PostgreSQL 15 on.
_NEWEST: Final = "SELECT transaction FROM events ORDER BY transaction DESC LIMIT 1"
TIP: Final = f"SELECT ({_NOW})::text, ({_NEWEST})::text"
# Rows of a cluster that this one was restored from: their transactions are yet to come here.
NEWEST_TRANSACTION: Final = f"SELECT pg_snapshot_xmax(pg_current_snapshot())::text, ({_NEWEST})::text"
ADOPT_TRANSACTIONS: Final = (
    "UPDATE events SET transaction = '2' WHERE transaction >= pg_snapshot_xmax(pg_current_snapshot())"
)


def follow(*, until: bool, open_before: bool, of_session: bool) -> str:
    """Return the statement of one page: now, the newest event's transaction, and the events between two moments.

    Named parameters: `begun` and `begun_arrival`, behind which are the events of transactions that began later;
    with `open_before`, `xip` of the moment it starts from, and `transaction` and `arrival`, the place of the last event
    had; `until`, the moment it goes to, where that is not now; `session`; `limit`.
    """
    moment = "%(until)s::pg_snapshot" if until else "moment.now"
    # Of two comparisons with different places the index would be read from the lower one; the first tells the planner
    # that a part of the events is wanted.
    later = "transaction >= %(begun)s::xid8 AND (transaction, arrival) > (%(begun)s::xid8, %(begun_arrival)s::bigint)"
    parts = [_came(later, moment, of_session)]
    if open_before:
        place = "(transaction, arrival) > (%(transaction)s::xid8, %(arrival)s::bigint)"
        parts.append(_came(f"transaction = ANY(%(xip)s::xid8[]) AND {place}", moment, of_session))
    came = " UNION ALL ".join(f"({part})" for part in parts)
    return f"""
WITH moment AS MATERIALIZED (SELECT ({_NOW}) AS now, ({_NEWEST}) AS newest)
SELECT moment.now::text, moment.newest::text, came.transaction::text, came.arrival, {READ_COLUMNS}
FROM moment LEFT JOIN LATERAL (
    SELECT * FROM ({came}) AS part ORDER BY transaction, arrival LIMIT %(limit)s
) AS came ON true
ORDER BY came.transaction, came.arrival"""


def _came(condition: str, moment: str, of_session: bool) -> str:
    session = "session_id = %(session)s AND " if of_session else ""
    return (
        f"SELECT * FROM events WHERE {session}{condition}"
        f" AND pg_visible_in_snapshot(transaction, {moment}) ORDER BY transaction, arrival LIMIT %(limit)s"
    )
