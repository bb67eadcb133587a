"""`follow` and `tip`: what came between two moments of the server, in an order that stays (docs/adr/0015)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from otel_agent_journal.errors import StoreError, StoreUnreachable
from otel_agent_journal.store.protocol import Page
from otel_agent_journal_postgresql import statements
from otel_agent_journal_postgresql.cursor import Cursor, cursor_of, durable, xmax_of
from otel_agent_journal_postgresql.rows import event_of, key_of

_FIRST_COLUMN = 4  # of the event, behind the moment, the newest transaction and the event's place


def page_of(connection: Connection, cursor: Cursor, session_id: str | None, limit: int) -> Page:
    """Return the next events after a cursor, at most `limit`, at least 1."""
    statement = statements.follow(
        until=cursor.until is not None, open_before=bool(cursor.open), of_session=session_id is not None
    )
    rows = connection.exec_driver_sql(statement, _parameters(cursor, session_id, limit)).all()
    _require_reached(connection, cursor, rows[0][0])
    moment = cursor.until or durable(rows[0][0], rows[0][1], cursor.xmax)
    found = [row for row in rows if row[2] is not None]
    since = cursor_of(moment) if cursor.until is not None and not found else None
    if since is not None:  # the page before ended just there: what has come since is wanted
        return page_of(connection, since, session_id, limit)
    if len(found) < limit:
        end = moment
    else:
        end = cursor.on_the_way(moment, found[-1][2], found[-1][3])
    return Page(tuple(event_of(row[_FIRST_COLUMN:]) for row in found), end)


def now(connection: Connection) -> str:
    """Return the cursor of now."""
    return durable(*connection.exec_driver_sql(statements.TIP).one())


def _require_reached(connection: Connection, cursor: Cursor, now: str) -> None:
    """Raise where the server has not come as far as a cursor, also as far as the moment that it is on the way to."""
    wanted = cursor.start if cursor.until is None else cursor.until
    if xmax_of(now) >= max(cursor.xmax, xmax_of(wanted)):
        return
    if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
        raise StoreUnreachable(
            f"cursor '{wanted}' is ahead of this replica, which is at {now}: it is of the primary, or of a replica that"
            " is further; retry when the replica has caught up"
        )
    raise StoreError(
        f"cursor '{wanted}' is ahead of the server, which is at {now}: it is of another server, or of this one before"
        " it lost transactions; start at None"
    )


def _parameters(cursor: Cursor, session_id: str | None, limit: int) -> dict[str, Any]:
    among_later = int(cursor.transaction) >= cursor.xmax
    parameters: dict[str, Any] = {
        "begun": cursor.transaction if among_later else str(cursor.xmax),
        "begun_arrival": cursor.arrival if among_later else 0,  # arrivals are counted from 1
        "limit": limit,
    }
    if cursor.open:
        parameters.update(xip=list(cursor.open), transaction=cursor.transaction, arrival=cursor.arrival)
    if cursor.until is not None:
        parameters["until"] = cursor.until
    if session_id is not None:
        parameters["session"] = key_of(session_id)
    return parameters
