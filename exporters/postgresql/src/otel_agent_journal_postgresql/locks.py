"""Changing tables that others use: nobody waits in line behind us, and where it cannot be done it is said why.

A lock that cannot be had waits in a queue, and whoever comes later waits behind it, readers too. So one is waited for
for a moment alone; then everything is let go of, and tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

import psycopg
from sqlalchemy import Connection, text

from otel_agent_journal.errors import StoreUnreachable
from otel_agent_journal_postgresql.database import Database
from otel_agent_journal_postgresql.statements import PREPARING_LOCK
from otel_agent_journal_postgresql.tables import VERSION_TABLE, metadata

LOCK_WAIT_S: Final = 0.25  # how long others may have to wait behind us, for one table
PATIENCE_S: Final = 30.0  # all in all
_PAUSE_S: Final = 0.5  # between two attempts, in which those who waited go on

Result = TypeVar("Result")

_HOLDERS: Final = text(
    """
    SELECT pid, coalesce(usename, '?'), coalesce(nullif(application_name, ''), '?'), coalesce(state, '?'),
        coalesce(to_char(xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '?')
    FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND pid IN (
        SELECT pid FROM pg_locks
        WHERE granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND (relation IN (SELECT to_regclass(name) FROM unnest(CAST(:tables AS text[])) AS name)
                OR locktype = 'advisory' AND (classid::bigint << 32) + objid::bigint = :preparing)
    )
    ORDER BY xact_start NULLS LAST LIMIT 3
    """
)


def take(connection: Connection) -> None:
    """Lock all tables of the journal that are there, before the first of them is changed."""
    there = connection.execute(_THERE, {"tables": _names()}).scalars().all()
    if there:
        connection.exec_driver_sql(f"LOCK TABLE {', '.join(there)} IN ACCESS EXCLUSIVE MODE")


def insist(database: Database, work: Callable[[Connection], Result], *, patience_s: float = PATIENCE_S) -> Result:
    """Run work that needs locks in one transaction, again and again until it has them all within a moment.

    Its statements may take any time once they have.

    Raises:
        StoreUnreachable: others hold them, who are named; nothing was changed.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return database.transaction(work, prepared=False, bounded=False, lock_wait_s=LOCK_WAIT_S)
        except StoreUnreachable as error:
            if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                raise
            if time.monotonic() >= deadline:
                raise StoreUnreachable(
                    f"database {database.address.database} (store {database.address.url}): others hold the journal's"
                    f" tables, for {patience_s:g} s by now{_said(database)}; nothing was changed: end them, or repeat"
                ) from error
        time.sleep(_PAUSE_S)


_THERE: Final = text(
    "SELECT to_regclass(name)::text FROM unnest(CAST(:tables AS text[])) AS name WHERE to_regclass(name) IS NOT NULL"
)


def _names() -> list[str]:
    return sorted([*metadata.tables, VERSION_TABLE])


def _said(database: Database) -> str:
    """Return who has been in a transaction with these tables, the longest first."""
    values = {"tables": _names(), "preparing": PREPARING_LOCK}
    found = database.transaction(lambda connection: connection.execute(_HOLDERS, values).all(), prepared=False)
    holders = [
        f"pid {pid} ({user}, application {name}, {state}) since {since}" for pid, user, name, state, since in found
    ]
    return f": {'; '.join(holders)}" if holders else ""
