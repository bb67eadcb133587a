"""What is done to a database before a journal is in it: looked at, and given tables by Alembic's migrations.

The migrations are shipped in this package. Two processes that prepare one database at once wait for one another.
Tables of other programs are left as they are, and so are those of a newer version.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from otel_agent_journal.errors import NewerSchema, StoreError, StoreUnreachable, StoreUnusable
from otel_agent_journal_postgresql import locks
from otel_agent_journal_postgresql.address import Address
from otel_agent_journal_postgresql.statements import ADOPT_TRANSACTIONS, NEWEST_TRANSACTION, PREPARING_LOCK
from otel_agent_journal_postgresql.tables import TABLES_VERSION, VERSION_TABLE, metadata

MIGRATIONS: Final = Path(__file__).parent / "migrations"
OLDEST_SERVER: Final = 13_00_00  # the first with xid8 and pg_snapshot

_LOOK: Final = text(
    """
    SELECT current_schema(), current_setting('server_version_num')::integer, current_setting('server_encoding'),
        to_regclass(:version_table)::text,
        ARRAY(SELECT name FROM unnest(CAST(:tables AS text[])) AS name WHERE to_regclass(name) IS NOT NULL)
    """
)


def version_of(connection: Connection, address: Address) -> int | None:
    """Return the version of the journal's tables, None where there are none; raise where they are not for us.

    Raises:
        NewerSchema: a newer version of this package made them.
        StoreUnusable: there are tables of another program by our names, or the database cannot hold a journal.
    """
    tables = sorted(metadata.tables)
    schema, server, encoding, version_table, there = connection.execute(
        _LOOK, {"version_table": VERSION_TABLE, "tables": tables}
    ).one()
    journal = f"database {address.database} (store {address.url})"
    if server < OLDEST_SERVER:
        raise StoreUnusable(f"{journal} is PostgreSQL {server // 10_000}; 13 is the oldest that can hold a journal")
    if encoding != "UTF8":
        raise StoreUnusable(f"{journal} is encoded in {encoding}; create one with: createdb -E UTF8 -T template0 NAME")
    if version_table is None:
        if there:
            raise StoreUnusable(
                f"{journal} has tables of another program in schema {schema}: {', '.join(there)}; they were left"
                " untouched: name another database, or a schema of the journal's own with ?schema=NAME"
            )
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()  # noqa: S608
    if not found:
        return None
    version = int(found[0]) if found[0].isdecimal() else -1
    if version > TABLES_VERSION:
        raise NewerSchema(f"journal in {journal}", version, TABLES_VERSION)
    if version < 1:
        raise StoreUnusable(f"{journal}: the table {VERSION_TABLE} says '{found[0]}', which no version of ours wrote")
    return version


def require_prepared(connection: Connection, address: Address) -> None:
    """Raise unless the tables are there and of this version."""
    version = version_of(connection, address)
    if version is None:
        raise StoreUnreachable(
            f"there is no journal in database {address.database} yet; make its tables with"
            f" agent-journal store init '{address.url}'"
        )
    if version < TABLES_VERSION:
        raise StoreUnreachable(
            f"the journal in database {address.database} is of version {version}, this package writes {TABLES_VERSION};"
            f" bring it up to date with agent-journal store init '{address.url}'"
        )


def prepare(connection: Connection, address: Address) -> None:
    """Make or bring up to date what is missing, in the transaction the connection is in."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": PREPARING_LOCK})
    _make_schema(connection, address)
    if version_of(connection, address) != TABLES_VERSION:
        locks.take(connection)
        _migrate(connection)
    if restored(connection):
        connection.exec_driver_sql(ADOPT_TRANSACTIONS)


def plan(connection: Connection, address: Address) -> list[str]:
    """Return what `prepare` would do, a line each."""
    steps: list[str] = []
    if address.schema is not None and not _has_schema(connection, address.schema):
        return [f"create schema {address.schema}", *(f"create table {address.schema}.{name}" for name in _all_tables())]
    version = version_of(connection, address)
    if version is None:
        schema = connection.execute(text("SELECT current_schema()")).scalar_one()
        steps += [f"create table {schema}.{name}" for name in _all_tables()]
    elif version < TABLES_VERSION:
        steps += [f"migrate the tables to version {number}" for number in range(version + 1, TABLES_VERSION + 1)]
    elif restored(connection):
        steps.append("adopt events that were restored from another server")
    return steps


def restored(connection: Connection) -> bool:
    """Tell whether there are events of another server's transactions, which readers here would not see."""
    xmax, newest = connection.exec_driver_sql(NEWEST_TRANSACTION).one()
    return newest is not None and int(newest) >= int(xmax)


def _all_tables() -> list[str]:
    return sorted([*metadata.tables, VERSION_TABLE])


def _has_schema(connection: Connection, schema: str) -> bool:
    found = connection.execute(text("SELECT 1 FROM pg_namespace WHERE nspname = :schema"), {"schema": schema})
    return found.first() is not None


def _make_schema(connection: Connection, address: Address) -> None:
    if address.schema is not None:
        if not _has_schema(connection, address.schema):
            quoted = address.schema.replace('"', '""')
            connection.exec_driver_sql(f'CREATE SCHEMA "{quoted}"')
    elif connection.execute(text("SELECT current_schema()")).scalar_one() is None:
        raise StoreError(
            f"database {address.database} has no schema in its search path that the user may use; name one with"
            " ?schema=NAME"
        )


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")
