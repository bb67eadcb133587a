"""The statements of the hot paths, as text: what is prepared once a connection and executed for every batch and page.

All that varies is a parameter. Listings, whose conditions vary, are made of `tables` with SQLAlchemy.
"""

# ruff: noqa: S608 - made of constants of ours

from __future__ import annotations

from typing import Final

from otel_agent_journal_postgresql.rows import EVENT_COLUMNS, READ_COLUMNS
from otel_agent_journal_postgresql.tables import HEAD_FIELDS

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
# The events of the sessions that are in `places`: each is numbered by its place in the batch, behind what was there.
_INSERT: Final = f"""
INSERT INTO events ({EVENT_COLUMNS}, number)
SELECT given.session_id, given.timestamp_ns, given.event_id, given.type, given.level, given.name, given.writer,
    given.instance_id, given.seq, given.step_id, given.parent_step_id, given.attempt, given.trace_id, given.span_id,
    given.outcome, given.duration_ns, {_ERROR}, {_TOKENS},
    coalesce(given.details, given.details_text::json), given.digest, given.schema_version, given.exact::json,
    places.last - spans.length + given.ordinality
FROM ROWS FROM (json_to_recordset(%(batch)s::json) AS ({_FIELDS})) WITH ORDINALITY AS given
    JOIN spans USING (session_id) JOIN places USING (session_id)
ORDER BY given.ordinality"""


def _arrive(*, condition: str = "", conflict: str = "") -> str:
    """Return what appends a batch, and what each session that took part in it has then, and how many of it are new.

    The row of each session is locked, in the order of `keys`, which is one for all: within a session numbers are given
    in the order of commits. Named parameters: `keys`, and for each the place of its last event in the `batch`,
    `lengths`; `batch`.
    """
    return f"""
spans AS (
    SELECT * FROM unnest(%(keys)s::text[], %(lengths)s::bigint[]) AS span (session_id, length) {condition}
), places AS (
    INSERT INTO arrivals AS place (session_id, last, in_head) SELECT session_id, length, 0 FROM spans
    ON CONFLICT (session_id) DO UPDATE SET last = place.last + excluded.last
    RETURNING place.session_id, place.incarnation, place.last
), added AS ({_INSERT} {conflict} RETURNING session_id)
SELECT places.session_id, places.incarnation, places.last, count(added.session_id)
FROM places LEFT JOIN added USING (session_id) GROUP BY places.session_id, places.incarnation, places.last"""


APPEND: Final = f"WITH {_arrive(conflict='ON CONFLICT (session_id, timestamp_ns, event_id) DO NOTHING')}"

# One statement, one winner: the row of the instance is locked, and looked at again after any wait for the lock.
# Parameters: those of the events; `instance`, `session`, its `next` number and the `last` that it has then; of a new
# one the `name` and the `parent`.
_WON: Final = "WHERE EXISTS (SELECT FROM won)"
BEGIN_CONTEXT: Final = f"""
WITH won AS (
    INSERT INTO agent_instances (id, session_id, last_seq, name, parent_id)
    VALUES (%(instance)s, %(session)s, %(last)s, %(name)s, %(parent)s)
    ON CONFLICT (id) DO NOTHING RETURNING 1
), {_arrive(condition=_WON)}"""
EXTEND_CONTEXT: Final = f"""
WITH won AS (
    UPDATE agent_instances SET last_seq = %(last)s
    WHERE id = %(instance)s AND session_id = %(session)s AND last_seq = %(next)s - 1 RETURNING 1
), {_arrive(condition=_WON)}"""

# A batch with events that were there already took more numbers than it has new events. Both in one transaction.
LOCK_ARRIVALS: Final = "SELECT FROM arrivals WHERE session_id = ANY(%s) ORDER BY session_id FOR UPDATE"
STRAIGHTEN: Final = """
UPDATE arrivals SET last = coalesce((SELECT max(number) FROM events WHERE session_id = arrivals.session_id), 0)
WHERE session_id = ANY(%s)"""

_HEAD_COLUMNS: Final = (*HEAD_FIELDS, "exact")
# The head and what of its session it knows, in one statement; whoever appends waits, or is waited for.
_SETTLE: Final = """
, settled AS (
    UPDATE arrivals SET in_head = CASE WHEN incarnation = %(incarnation)s THEN %(number)s ELSE 0 END
    WHERE session_id = %(session_id)s AND EXISTS (SELECT FROM written)
)
SELECT version FROM written"""
ADD_HEAD: Final = f"""
WITH written AS (
    INSERT INTO sessions ({", ".join(_HEAD_COLUMNS)}) VALUES ({", ".join(f"%({name})s" for name in _HEAD_COLUMNS)})
    ON CONFLICT DO NOTHING RETURNING version
){_SETTLE}"""
REPLACE_HEAD: Final = f"""
WITH written AS (
    UPDATE sessions SET {", ".join(f"{name} = %({name})s" for name in _HEAD_COLUMNS)}
    WHERE session_id = %(session_id)s AND version = %(version)s - 1 RETURNING version
){_SETTLE}"""

READ: Final = f"SELECT {READ_COLUMNS} FROM events WHERE session_id = %s ORDER BY timestamp_ns, event_id LIMIT %s"
READ_AFTER: Final = (
    f"SELECT {READ_COLUMNS} FROM events WHERE session_id = %s AND (timestamp_ns, event_id) > (%s::bigint, %s)"
    " ORDER BY timestamp_ns, event_id LIMIT %s"
)
# Parameters: the instance, the first and the last number, how many at most.
READ_CONTEXT: Final = (
    f"SELECT {READ_COLUMNS} FROM events WHERE instance_id = %s AND sequence_number BETWEEN %s::bigint AND %s::bigint"
    " AND sequence_number IS NOT NULL ORDER BY sequence_number LIMIT %s"
)
READ_CONTEXT_DOWN: Final = READ_CONTEXT.replace("ORDER BY sequence_number", "ORDER BY sequence_number DESC")

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


# A session's place, and the events behind another one; of an earlier incarnation all. Named parameters: `session`,
# `incarnation`, `number`, `limit`.
FOLLOW_SESSION: Final = f"""
SELECT place.incarnation, place.last, came.number, {READ_COLUMNS}
FROM (SELECT incarnation, last FROM arrivals WHERE session_id = %(session)s) AS place LEFT JOIN LATERAL (
    SELECT * FROM events WHERE session_id = %(session)s
        AND number > CASE WHEN place.incarnation = %(incarnation)s THEN %(number)s ELSE 0 END
    ORDER BY number LIMIT %(limit)s
) AS came ON true
ORDER BY came.number"""
TIP_OF_SESSION: Final = """
SELECT incarnation, (SELECT max(number) FROM events WHERE session_id = place.session_id) FROM arrivals AS place
WHERE session_id = %s"""
# Where in a session a cursor of all is: of the events that it has not had, in front of the first. What a moment has of
# a session is its beginning; on the way to another moment there may be some more.
PLACE_IN_SESSION: Final = f"""
WITH moment AS MATERIALIZED (SELECT ({_NOW}) AS now), had AS (
    SELECT number FROM events WHERE session_id = %(session)s
        AND pg_visible_in_snapshot(transaction, %(start)s::pg_snapshot)
    ORDER BY number DESC LIMIT 1
)
SELECT moment.now::text, place.incarnation, coalesce((
    SELECT number - 1 FROM events WHERE session_id = %(session)s AND number > coalesce((SELECT number FROM had), 0)
        AND NOT (
            pg_visible_in_snapshot(transaction, %(until)s::pg_snapshot)
            AND (transaction, arrival) <= (%(transaction)s::xid8, %(arrival)s::bigint)
        )
    ORDER BY number LIMIT 1
), place.last)
FROM moment LEFT JOIN arrivals AS place ON place.session_id = %(session)s"""


def sessions(*, unsettled: bool, first: bool) -> str:
    """Return the statement of one page of the keys of sessions that have events: from one, or behind one, on."""
    condition = "unsettled AND " if unsettled else ""
    place = f"session_id {'>=' if first else '>'} %s"
    return f"SELECT session_id FROM arrivals WHERE {condition}{place} ORDER BY session_id LIMIT %s"


def follow(*, until: bool, open_before: bool) -> str:
    """Return the statement of one page: now, the newest event's transaction, and the events between two moments.

    Named parameters: `begun` and `begun_arrival`, behind which are the events of transactions that began later;
    with `open_before`, `xip` of the moment it starts from, and `transaction` and `arrival`, the place of the last event
    had; `until`, the moment it goes to, where that is not now; `limit`.
    """
    moment = "%(until)s::pg_snapshot" if until else "moment.now"
    # Of two comparisons with different places the index would be read from the lower one; the first tells the planner
    # that a part of the events is wanted.
    later = "transaction >= %(begun)s::xid8 AND (transaction, arrival) > (%(begun)s::xid8, %(begun_arrival)s::bigint)"
    parts = [_came(later, moment)]
    if open_before:
        place = "(transaction, arrival) > (%(transaction)s::xid8, %(arrival)s::bigint)"
        parts.append(_came(f"transaction = ANY(%(xip)s::xid8[]) AND {place}", moment))
    came = " UNION ALL ".join(f"({part})" for part in parts)
    return f"""
WITH moment AS MATERIALIZED (SELECT ({_NOW}) AS now, ({_NEWEST}) AS newest)
SELECT moment.now::text, moment.newest::text, came.transaction::text, came.arrival, {READ_COLUMNS}
FROM moment LEFT JOIN LATERAL (
    SELECT * FROM ({came}) AS part ORDER BY transaction, arrival LIMIT %(limit)s
) AS came ON true
ORDER BY came.transaction, came.arrival"""


def _came(condition: str, moment: str) -> str:
    return (
        f"SELECT * FROM events WHERE {condition} AND pg_visible_in_snapshot(transaction, {moment})"
        " ORDER BY transaction, arrival LIMIT %(limit)s"
    )
