"""What PostgreSQL and libpq report, as our errors: what is the matter, and what to do next. Pure.

What may pass (away, full, read-only, without permission) is `StoreUnreachable`, which the drain retries. A server's
answer is known by its SQLSTATE; of a connection that did not come about libpq gives the text alone.
"""

from __future__ import annotations

import re
from typing import Final

import psycopg

from otel_agent_journal.errors import EventTooLarge, StoreError, StoreUnreachable, StoreUnusable
from otel_agent_journal_postgresql.address import Address

_GRANTS: Final = "see 'Roles' in the README of otel-agent-journal-postgresql"
_PASSWORD: Final = "refuses the user or the password; check the URL, PGPASSWORD or ~/.pgpass, and pg_hba.conf"
_FULL: Final = "has no connection left; close some, raise max_connections, or put a pooler in front of it"

# By SQLSTATE, or its class of two characters.
_PASSING: Final = {
    "08": "cannot be reached; check that the server runs and the URL's host and port",
    "25006": "is read-only, a replica perhaps; name the primary, or several hosts with target_session_attrs=read-write",
    "28": _PASSWORD,
    "3D000": "does not exist; create it with createdb, or check the URL",
    "40": "is contended: other transactions were first, several times; retry",
    "42501": f"does not permit this to the user; {_GRANTS}",
    "53100": "cannot grow, the disk is full; free space there",
    "53200": "is out of memory; retry",
    "53300": _FULL,
    "53": "is short of resources; retry",
    "55P03": "is locked by another transaction; end it, or retry",
    "57014": "did not answer in time; retry, or raise ?timeout=SECONDS",
    "57": "is shutting down or starting; retry",
    "58": "cannot be read or written; check the disk it lies on",
    "42P01": "has no journal any more: a table is gone; agent-journal store init makes it",
    "3F000": "has no such schema; agent-journal store init makes it",
}
_TOO_LARGE: Final = frozenset(("54000", "53400", "22001"))
_DAMAGED: Final = "XX00"
_TRANSIENT: Final = frozenset(("40001", "40P01"))
# What a refused connection says, in the server's or libpq's English; in another language it is known by nothing.
_CONNECTING: Final = (
    (re.compile(r"password authentication failed|no password supplied|pg_hba|role .* does not exist|SCRAM"), _PASSWORD),
    (re.compile(r"database .* does not exist"), _PASSING["3D000"]),
    (re.compile(r"too many (clients|connections)|remaining connection slots"), _FULL),
    (re.compile(r"permission denied for database"), _PASSING["42501"]),
    (re.compile(r"starting up|shutting down|in recovery mode"), _PASSING["57"]),
)


def is_transient(error: psycopg.Error) -> bool:
    """Tell whether the same statement may succeed at once: a deadlock, a serialization failure."""
    return error.sqlstate in _TRANSIENT


def explained(error: psycopg.Error, address: Address) -> StoreError:
    """Return our error for one of psycopg's."""
    text = address.scrubbed(" ".join(str(error).split()))
    state = error.sqlstate
    journal = f"database {address.database} (store {address.url})"
    if state is None and not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreError(f"{journal}: {text}")  # the driver itself refuses a value
    if state is None:
        why = next((why for pattern, why in _CONNECTING if pattern.search(text)), _PASSING["08"])
        return StoreUnreachable(f"{journal} {why}: {text}")
    why = _PASSING.get(state) or _PASSING.get(state[:2])
    if why is not None:
        return StoreUnreachable(f"{journal} {why}: {text}")
    if state.startswith(_DAMAGED) and state != "XX000":
        return StoreUnusable(f"{journal} is damaged; have it looked at before anything is written: {text}")
    return StoreError(f"{journal}: {text} (SQLSTATE {state})")


def is_too_large(error: psycopg.Error) -> bool:
    """Tell whether a value was over a limit of the server's."""
    return error.sqlstate in _TOO_LARGE


def too_large(event_id: str, size_bytes: int, limit_bytes: int) -> EventTooLarge:
    """Return the error of an event over the limit."""
    return EventTooLarge(event_id, size_bytes, limit_bytes, "lower the field limit, so that large values become blobs")
