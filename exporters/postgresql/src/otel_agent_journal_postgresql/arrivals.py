"""`follow` and `tip`, in an order that stays.

Of all sessions what came between two moments of the server (docs/adr/0015), of one what is behind a number (0026).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from otel_agent_journal.errors import StoreError, StoreUnreachable
from otel_agent_journal.store.protocol import Page
from otel_agent_journal_postgresql import statements
from otel_agent_journal_postgresql.cursor import Cursor, Place, cursor_of, durable, xmax_of
from otel_agent_journal_postgresql.rows import event_of, is_hash

_FIRST_COLUMN = 4  # of the event, behind the moment, the newest transaction and the event's place


def page_of(connection: Connection, cursor: Cursor, limit: int) -> Page:
    """Return the next events of all sessions after a cursor, at most `limit`, at least 1."""
    statement = statements.follow(until=cursor.until is not None, open_before=bool(cursor.open))
    rows = connection.exec_driver_sql(statement, _parameters(cursor, limit)).all()
    _require_reached(connection, cursor, rows[0][0])
    moment = cursor.until or durable(rows[0][0], rows[0][1], cursor.xmax)
    found = [row for row in rows if row[2] is not None]
    since = cursor_of(moment) if cursor.until is not None and not found else None
    if since is not None:  # the page before ended just there: what has come since is wanted
        return page_of(connection, since, limit)
    if len(found) < limit:
        end = moment
    else:
        end = cursor.on_the_way(moment, found[-1][2], found[-1][3])
    return Page(tuple(event_of(row[_FIRST_COLUMN:]) for row in found), end)


def page_of_session(connection: Connection, key: str, place: Place, limit: int) -> Page:
    """Return the next events of a session after a place, at most `limit`; the cursor of none is the place."""
    parameters = {"session": key, "incarnation": place.incarnation, "number": place.number, "limit": limit}
    rows = connection.exec_driver_sql(statements.FOLLOW_SESSION, parameters).all()
    if rows and rows[0][0] == place.incarnation and rows[0][1] < place.number:
        raise _ahead(connection, str(place), str(place._replace(number=rows[0][1])))
    found = [row for row in rows if row[2] is not None]
    end = Place(found[-1][0], found[-1][2]) if found else place
    return Page(tuple(event_of(row[3:]) for row in found), str(end))


def place_in_session(connection: Connection, cursor: Cursor, key: str) -> Place:
    """Return where in a session a cursor of all is."""
    parameters = {
        "session": key,
        "start": cursor.start,
        "until": cursor.until or cursor.start,
        "transaction": cursor.transaction,
        "arrival": cursor.arrival,
    }
    moment, incarnation, number = connection.exec_driver_sql(statements.PLACE_IN_SESSION, parameters).one()
    _require_reached(connection, cursor, moment)
    return Place() if incarnation is None else Place(incarnation, number)


def now(connection: Connection) -> str:
    """Return the cursor of now."""
    return durable(*connection.exec_driver_sql(statements.TIP).one())


def tip_of_session(connection: Connection, key: str) -> str | None:
    """Return the cursor behind a session's last event, None where it has none."""
    row = connection.exec_driver_sql(statements.TIP_OF_SESSION, (key,)).first()
    return None if row is None or row[1] is None else str(Place(*row))


def names_of(connection: Connection, keys: Sequence[str]) -> list[str]:
    """Return the ids of the sessions of some keys; one that is too long or strange for a key stands in its events."""
    names: list[str] = []
    for key in keys:
        if is_hash(key):
            names += [event_of(row).session_id for row in connection.exec_driver_sql(statements.READ, (key, 1))]
        else:
            names.append(key)
    return names


def _require_reached(connection: Connection, cursor: Cursor, now: str) -> None:
    """Raise where the server has not come as far as a cursor, also as far as the moment that it is on the way to."""
    wanted = cursor.start if cursor.until is None else cursor.until
    if xmax_of(now) >= max(cursor.xmax, xmax_of(wanted)):
        return
    raise _ahead(connection, wanted, now)


def _ahead(connection: Connection, wanted: str, now: str) -> StoreError:
    if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
        return StoreUnreachable(
            f"cursor '{wanted}' is ahead of this replica, which is at {now}: it is of the primary, or of a replica that"
            " is further; retry when the replica has caught up"
        )
    return StoreError(
        f"cursor '{wanted}' is ahead of the server, which is at {now}: it is of another server, or of this one before"
        " it lost transactions; start at None"
    )


def _parameters(cursor: Cursor, limit: int) -> dict[str, Any]:
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
    return parameters
