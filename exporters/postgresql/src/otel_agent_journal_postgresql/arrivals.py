"""`follow` and `tip`: what came between two moments of the server, in an order that stays (docs/adr/0015)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from otel_agent_journal.errors import StoreError
from otel_agent_journal.store.protocol import Page
from otel_agent_journal_postgresql import statements
from otel_agent_journal_postgresql.cursor import Cursor, cursor_of, xmax_of
from otel_agent_journal_postgresql.rows import event_of, key_of

_FIRST_COLUMN = 3  # of the event, behind the moment and the event's place


def page_of(connection: Connection, cursor: Cursor, session_id: str | None, limit: int) -> Page:
    """Return the next events after a cursor, at most `limit`, at least 1."""
    statement = statements.follow(
        until=cursor.until is not None, open_before=bool(cursor.open), of_session=session_id is not None
    )
    rows = connection.exec_driver_sql(statement, _parameters(cursor, session_id, limit)).all()
    moment: str = rows[0][0]
    if xmax_of(moment) < cursor.xmax:
        raise StoreError(
            f"cursor '{cursor.start}' is ahead of the server, which is at {moment}: it is of another server, or of the"
            " primary that this replica follows; start at None, or wait for the replica"
        )
    found = [row for row in rows if row[1] is not None]
    since = cursor_of(moment) if cursor.until is not None and not found else None
    if since is not None:  # the page before ended just there: what has come since is wanted
        return page_of(connection, since, session_id, limit)
    if len(found) < limit:
        end = moment
    else:
        end = cursor.on_the_way(moment, found[-1][1], found[-1][2])
    return Page(tuple(event_of(row[_FIRST_COLUMN:]) for row in found), end)


def now(connection: Connection) -> str:
    """Return the cursor of now."""
    moment: str = connection.exec_driver_sql(statements.TIP).scalar_one()
    return moment


def _parameters(cursor: Cursor, session_id: str | None, limit: int) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "xmax": str(cursor.xmax),
        "transaction": cursor.transaction,
        "arrival": cursor.arrival,
        "limit": limit,
    }
    if cursor.open:
        parameters["xip"] = list(cursor.open)
    if cursor.until is not None:
        parameters["until"] = cursor.until
    if session_id is not None:
        parameters["session"] = key_of(session_id)
    return parameters
